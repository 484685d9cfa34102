"""The rate that a trained model really has, over whole clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rdbench.rate.kl import kl_bits
from rdbench.types import Posterior

if TYPE_CHECKING:
    from rdbench.audio.clip import Corpus
    from rdbench.models.autoencoder import Autoencoder


@torch.no_grad()
def evaluate_rate(model: Autoencoder, corpus: Corpus) -> float:
    """Kbps over `corpus`: total bits over total unpadded seconds, each clip alone and whole.

    The KL to N(0, I) for a Gaussian model, the nominal rate of all codebooks for a quantizer.
    """
    from rdbench.audio.load import read
    from rdbench.audio.resample import resample

    config, bits, seconds = model.config, 0.0, 0.0
    for clip in corpus.clips:
        samples, rate = read(clip.path, start=clip.start, duration=clip.duration)
        if samples.shape[0] != config.channels:
            samples = samples.mean(0, keepdim=True).expand(config.channels, -1)
        samples = resample(samples, rate, config.sample_rate)
        seconds += samples.shape[-1] / config.sample_rate
        bits += _bits(model, samples.unsqueeze(0))
    return bits / seconds / 1000.0


def _bits(model: Autoencoder, audio: torch.Tensor) -> float:
    config = model.config
    frames = model.frames(audio.shape[-1])
    if config.bits_per_frame is not None:
        return frames * config.bits_per_frame
    mean, scale = model.posterior(audio)
    posterior = Posterior(mean, scale, torch.tensor([frames]), config.frame_rate)
    return float(kl_bits(posterior).sum())
