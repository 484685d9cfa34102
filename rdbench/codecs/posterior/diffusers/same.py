"""AutoencoderSAME: the semantically aligned music encoder of Stable Audio 3 (arXiv:2605.17991).

The published models: 44.1 kHz stereo, hop 4096 (10.77 frames/s), 256 channels. Its latent is a
value and no posterior: there is no KL, and the mean alone is decoded. The bottleneck's affine map
and running deviation are inside `encode` and undone by the decoder.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from rdbench.codecs.posterior.diffusers.config import (
    Autoencoder,
    Channels,
    Depth,
    Depths,
    Layout,
    SampleRate,
    Stride,
    Strides,
    Width,
)

if TYPE_CHECKING:
    import torch

Counts = Annotated[list[Annotated[int, Field(ge=0, le=128)]], Field(min_length=1, max_length=12)]


class Same(Autoencoder):
    """`config.json` of an AutoencoderSAME."""

    builds: ClassVar[str] = "AutoencoderSAME"
    citation: ClassVar[str] = "Stability AI: Stable Audio 3 (SAME), arXiv:2605.17991"
    prior: ClassVar[bool] = False

    audio_channels: Channels
    patch_size: Stride
    encoder_channels: Width
    encoder_c_mults: Strides
    encoder_strides: Strides
    encoder_transformer_depths: Depths
    latent_dim: Width
    dim_heads: Width
    ff_mult: Depth
    sliding_window: Depth
    encoder_sinusoidal_blocks: Counts
    decoder_sinusoidal_blocks: Counts
    sampling_rate: SampleRate

    @model_validator(mode="after")
    def _check(self) -> Same:
        levels = (self.encoder_c_mults, self.encoder_strides, self.encoder_transformer_depths)
        if len({len(level) for level in levels}) > 1:
            raise ValueError(
                "encoder_c_mults, encoder_strides and encoder_transformer_depths differ in number"
            )
        return self

    def complete(self, model: Any) -> None:
        """Makes the rotary frequencies anew, as their own class does: no checkpoint has them."""
        for part in model.modules():
            if type(part).__name__ == "RotaryEmbedding":
                part.inv_freq = type(part)(2 * len(part.inv_freq)).inv_freq

    @property
    def layout(self) -> Layout:
        """Audio and latent."""
        hop = self.patch_size * math.prod(self.encoder_strides)
        return Layout(self.sampling_rate, self.audio_channels, hop, self.latent_dim)

    def posterior(self, model: Any, audio: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The latent, which has no scale."""
        return model.encode(audio).latents, None
