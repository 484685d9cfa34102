"""MMAudioVAE with MMAudioVocoder: MMAudio's VAE of mel spectrograms, and the BigVGAN after it.

H. K. Cheng et al., "MMAudio", CVPR 2025 (arXiv:2412.15322). The published model: 44.1 kHz mono, hop
1024 (43.07 frames/s), 40 channels. The package computes the spectrogram itself; audio beyond ±1 is
clipped before it, and by the vocoder. Mean and scale come from `latent_dist` (σ from a log-variance
that is held within -30 and 20). `scaling_factor` (0.417) is for a diffusion model: encoder and
decoder do not apply it, and nor does the KL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.codecs.posterior.diffusers.config import (
    Autoencoder,
    Depth,
    Dilations,
    Layout,
    ModelConfig,
    SampleRate,
    Strides,
    Width,
)

if TYPE_CHECKING:
    import torch


class MMAudioVocoder(ModelConfig):
    """`config.json` of an MMAudioVocoder."""

    builds: ClassVar[str] = "MMAudioVocoder"

    num_mels: Width
    upsample_initial_channel: Width
    upsample_rates: Strides
    upsample_kernel_sizes: Strides
    resblock_kernel_sizes: Strides
    resblock_dilation_sizes: Dilations


class MMAudio(Autoencoder):
    """`config.json` of an MMAudioVAE."""

    builds: ClassVar[str] = "MMAudioVAE"
    citation: ClassVar[str] = "Cheng et al.: MMAudio, 2025, arXiv:2412.15322"
    vocoder: ClassVar[type[ModelConfig] | None] = MMAudioVocoder

    mel_bins: Width
    latent_channels: Width
    hidden_channels: Width
    channel_multipliers: Strides
    layers_per_block: Depth
    sample_rate: SampleRate
    n_fft: Width
    hop_length: Width

    @property
    def layout(self) -> Layout:
        """Audio and latent: a frame of the latent is two of the spectrogram."""
        return Layout(self.sample_rate, 1, 2 * self.hop_length, self.latent_channels)

    def posterior(self, model: Any, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and σ."""
        latent = model["autoencoder"].encode(audio[:, 0]).latent_dist
        return latent.mean, latent.std

    def decode(self, model: Any, z: torch.Tensor) -> torch.Tensor:
        """Audio of frames × hop samples."""
        spectrogram = model["autoencoder"].decode(z).sample
        audio: torch.Tensor = model["vocoder"](spectrogram).sample
        return audio
