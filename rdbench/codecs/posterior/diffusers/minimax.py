"""AutoencoderKLMiniMaxH3Audio: the audio VAE of MiniMax-H3, an encoder like DAC's and a BigVGAN.

The published model: 32 kHz mono, hop 800 (40 frames/s), 32 channels. Mean and scale come from
`latent_dist`; the second head is log σ, no log-variance. `latents_mean` and `latents_std` of
`config.json` are for a diffusion model: encoder and decoder do not apply them, and nor does the KL.
The decoder clips at ±1.
"""

from __future__ import annotations

import math
from typing import ClassVar

from rdbench.codecs.posterior.diffusers.config import (
    Autoencoder,
    Depth,
    Dilations,
    Layout,
    SampleRate,
    Strides,
    Width,
)


class MiniMaxH3(Autoencoder):
    """`config.json` of an AutoencoderKLMiniMaxH3Audio."""

    builds: ClassVar[str] = "AutoencoderKLMiniMaxH3Audio"
    citation: ClassVar[str] = "MiniMax: MiniMax-H3, https://huggingface.co/MiniMaxAI"

    encoder_dim: Width
    encoder_rates: Strides
    latent_dim: Width
    latent_channels: Width
    num_attention_heads: Depth
    decoder_dim: Width
    decoder_rates: Strides
    decoder_kernel_sizes: Strides
    resblock_kernel_sizes: Strides
    resblock_dilation_sizes: Dilations
    sampling_rate: SampleRate

    @property
    def layout(self) -> Layout:
        """Audio and latent."""
        return Layout(self.sampling_rate, 1, math.prod(self.encoder_rates), self.latent_channels)
