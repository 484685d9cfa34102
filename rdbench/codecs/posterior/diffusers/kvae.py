"""AutoencoderKLKVAEAudio: the audio VAE of Kandinsky Lab, DAC's convolutions with self-attention.

The published model: 48 kHz mono, hop 960 (50 frames/s), 64 channels. Mean and scale come from
`latent_dist` (σ from a log-variance that is held within -30 and 20). No factor scales the latent.
The encoder attends to the whole clip, so a frame depends on all of it.
"""

from __future__ import annotations

import math
from typing import ClassVar

from rdbench.codecs.posterior.diffusers.config import (
    Autoencoder,
    Channels,
    Depth,
    Layout,
    SampleRate,
    Strides,
    Width,
)


class Kvae(Autoencoder):
    """`config.json` of an AutoencoderKLKVAEAudio."""

    builds: ClassVar[str] = "AutoencoderKLKVAEAudio"
    citation: ClassVar[str] = "Kandinsky Lab: KVAE-Audio, https://huggingface.co/kandinskylab"

    encoder_dim: Width
    encoder_rates: Strides
    latent_dim: Width
    codebook_dim: Width
    decoder_dim: Width
    decoder_rates: Strides
    sample_rate: SampleRate
    num_channels: Channels
    attn_num_heads: Depth

    @property
    def layout(self) -> Layout:
        """Audio and latent."""
        hop = math.prod(self.encoder_rates)
        return Layout(self.sample_rate, self.num_channels, hop, self.codebook_dim)
