"""AutoencoderOobleck: the VAE of Stable Audio, of ACE-Step 1.5, and others of its architecture.

Z. Evans, J. Parker, C. Carr, Z. Zukowski, J. Taylor, J. Pons, "Stable Audio Open", 2024
(arXiv:2407.14358). The published model: 44.1 kHz stereo, hop 2048 (21.53 frames/s), 64 channels;
ACE-Step's: 48 kHz stereo, hop 1920 (25 frames/s), 64 channels.

Mean and scale come from `latent_dist` (σ = softplus + 1e-4); its own `.kl()` lacks the factor 1/2
and is not used. No factor scales the latent.
"""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import model_validator

from rdbench.codecs.credits import CREDITS
from rdbench.codecs.posterior.diffusers.config import (
    Autoencoder,
    Channels,
    Layout,
    SampleRate,
    Strides,
    Width,
)


class Oobleck(Autoencoder):
    """`config.json` of an AutoencoderOobleck."""

    builds: ClassVar[str] = "AutoencoderOobleck"
    citation: ClassVar[str] = CREDITS["oobleck"].citation

    encoder_hidden_size: Width
    downsampling_ratios: Strides
    channel_multiples: Strides
    decoder_channels: Width
    decoder_input_channels: Width
    audio_channels: Channels
    sampling_rate: SampleRate

    @model_validator(mode="after")
    def _check(self) -> Oobleck:
        if len(self.downsampling_ratios) != len(self.channel_multiples):
            raise ValueError("downsampling_ratios and channel_multiples differ in number")
        return self

    @property
    def layout(self) -> Layout:
        """Audio and latent."""
        hop = math.prod(self.downsampling_ratios)
        latents = self.decoder_input_channels
        return Layout(self.sampling_rate, self.audio_channels, hop, latents)
