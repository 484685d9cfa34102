"""Cosmos3AVAEAudioTokenizer: the audio VAE of NVIDIA's Cosmos3, spectra in and an Oobleck decoder.

The published model: 48 kHz stereo, hop 1920 (25 frames/s), 64 channels. Mean and scale come from
`latent_dist` (σ = softplus + 1e-4); its own `.kl()` lacks the factor 1/2 and is not used. No factor
scales the latent. The decoder clips at ±1.

`normalize_volume`, on in the published configuration, would bring the peak of a whole batch to 0.95
before encoding, and nothing would undo it: a clip would depend on its neighbours in a batch, and
every reconstruction would have another level than its reference. It is turned off here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from rdbench.codecs.posterior.diffusers.config import (
    Autoencoder,
    Channels,
    Depth,
    Layout,
    SampleRate,
    Strides,
    Width,
)

if TYPE_CHECKING:
    import torch


class Cosmos3(Autoencoder):
    """`config.json` of a Cosmos3AVAEAudioTokenizer."""

    builds: ClassVar[str] = "Cosmos3AVAEAudioTokenizer"
    citation: ClassVar[str] = "NVIDIA: Cosmos3, https://huggingface.co/nvidia"

    sampling_rate: SampleRate
    vocoder_input_dim: Width
    dec_dim: Width
    dec_c_mults: Strides
    dec_strides: Strides
    dec_out_channels: Channels
    hop_size: Width | None
    input_channels: Channels
    enc_dim: Width
    enc_num_blocks: Depth
    enc_n_fft: Width
    enc_hop_length: Width
    enc_latent_dim: Width
    enc_c_mults: Strides
    enc_strides: Strides
    encoder_enabled: bool

    @model_validator(mode="after")
    def _check(self) -> Cosmos3:
        if not self.encoder_enabled:
            raise ValueError("encoder_enabled is false; a codec needs the encoder")
        return self

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "normalize_volume": False}

    @property
    def layout(self) -> Layout:
        """Audio and latent."""
        hop = self.hop_size or math.prod(self.dec_strides)
        return Layout(self.sampling_rate, self.dec_out_channels, hop, self.vocoder_input_dim)

    def decode(self, model: Any, z: torch.Tensor) -> torch.Tensor:
        """Audio of frames × hop samples."""
        audio: torch.Tensor = model.decode(z)
        return audio
