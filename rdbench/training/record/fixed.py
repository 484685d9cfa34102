"""Crops that stay the same through a run, and what a model in training makes of them.

They are drawn as the batches are, of steps that no run reaches. What is measured on them leaves
the model's mode and torch's generators as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch

from rdbench.models.bottleneck import GaussianBottleneck, kl_nats
from rdbench.models.config import RvqConfig
from rdbench.training.objectives import kbps_of

if TYPE_CHECKING:
    from rdbench.models.autoencoder import Autoencoder
    from rdbench.training.data import CropData


class Losses(Protocol):
    """Losses by name, scalars, of audio (clips, channels, time)."""

    def __call__(
        self, *, reference: torch.Tensor, reconstruction: torch.Tensor
    ) -> Mapping[str, torch.Tensor]: ...


_FIRST = 1 << 30
FITTED, DRIFT, EXAMPLES, MEASURED = range(4)
"""What the crops are for; those of one purpose are not those of another."""
_AT_ONCE = 8


def fixed_crops(data: CropData, seed: int, purpose: int, size: int) -> torch.Tensor:
    """`size` crops (size, channels, time) of `data`, the same in every run of that seed."""
    return data.batch(seed=seed, step=_FIRST + purpose, size=size)


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Without gradients, in evaluation mode, and as it was afterwards."""
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was)


def means_of(model: Autoencoder, audio: torch.Tensor) -> torch.Tensor:
    """μ, or the latent before quantization, (clips, channels, frames) on the CPU."""
    with evaluating(model):
        return model.latent_mean(audio.to(_device(model))).cpu()


def relative_change(now: torch.Tensor, before: torch.Tensor) -> float:
    """‖now − before‖ / ‖before‖."""
    return float((now - before).norm() / before.norm().clamp_min(1e-12))


def reconstruct(
    model: Autoencoder, audio: torch.Tensor, seed: int
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """What is decoded of a sample (of the codes, for an RVQ), and mean and scale, on the CPU.

    audio: (clips, channels, time); the noise is a function of `seed` alone.
    """
    mean = scale = None
    with evaluating(model):
        given = audio.to(_device(model))
        if isinstance(model.bottleneck, GaussianBottleneck):
            mean, scale = (part.cpu() for part in model.posterior(given))
            noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
            latent = (mean + scale * noise).to(given.device)
        else:
            latent = model.dequantize(model.codes(given))
        made = model.decode(latent)[..., : audio.shape[-1]].cpu()
    return made, mean, scale


def measure(model: Autoencoder, losses: Losses, crops: torch.Tensor, seed: int) -> dict[str, float]:
    """The rate `kbps` (KL, or nominal) and the losses of samples, over `crops`.

    losses: of a reference and its reconstruction, by name.
    """
    sums: dict[str, float] = {}
    for number, audio in enumerate(torch.split(crops, _AT_ONCE)):
        made, mean, scale = reconstruct(model, audio, seed + number)
        device = _device(model)
        with torch.no_grad():
            found = losses(reference=audio.to(device), reconstruction=made.to(device))
        values = {name: float(value) for name, value in found.items()}
        values["kbps"] = _kbps(model, mean, scale)
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value * len(audio) / len(crops)
    return sums


def _kbps(model: Autoencoder, mean: torch.Tensor | None, scale: torch.Tensor | None) -> float:
    bottleneck, frame_rate = model.config.bottleneck, model.config.frame_rate
    if isinstance(bottleneck, RvqConfig):
        return bottleneck.bits_per_frame * frame_rate / 1000.0
    assert mean is not None
    assert scale is not None
    return kbps_of(float(kl_nats(mean, scale).sum(1).mean()), frame_rate)


def _device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device
