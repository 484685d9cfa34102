"""Crops that stay the same through a run, and what a model in training makes of them.

They are drawn as the batches are, of steps that no run reaches. What is measured on them leaves
the model's mode and torch's generators as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

from rdbench.models.bottleneck import DEAD_NATS, GaussianBottleneck, kl_nats
from rdbench.models.config import GaussianConfig
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


class Reconstruction(NamedTuple):
    """What a model makes of crops, on the CPU.

    audio: decoded of a sample, or of the codes. mean, scale: of a Gaussian. codes: of a quantizer.
    """

    audio: torch.Tensor
    mean: torch.Tensor | None = None
    scale: torch.Tensor | None = None
    codes: torch.Tensor | None = None


def reconstruct(model: Autoencoder, audio: torch.Tensor, seed: int) -> Reconstruction:
    """What `model` makes of audio (clips, channels, time); noise is a function of `seed` alone."""
    mean = scale = codes = None
    with evaluating(model):
        given = audio.to(_device(model))
        if isinstance(model.bottleneck, GaussianBottleneck):
            mean, scale = (part.cpu() for part in model.posterior(given))
            noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
            latent = (mean + scale * noise).to(given.device)
        else:
            codes = model.codes(given)
            latent, codes = model.dequantize(codes), codes.cpu()
        made = model.decode(latent)[..., : audio.shape[-1]].cpu()
    return Reconstruction(made, mean, scale, codes)


def measure(model: Autoencoder, losses: Losses, crops: torch.Tensor, seed: int) -> dict[str, float]:
    """The losses of samples, the rate `kbps` (KL, or nominal) and how much of a latent is `dead`.

    Dead are channels whose KL is below 0.01 nat per frame, over all crops; of a quantizer entries
    of its codebooks that no frame chose. losses: of a reference and its reconstruction, by name.
    """
    sums: dict[str, float] = {}
    used: list[torch.Tensor] = []
    for number, audio in enumerate(torch.split(crops, _AT_ONCE)):
        made = reconstruct(model, audio, seed + number)
        device = _device(model)
        with torch.no_grad():
            found = losses(reference=audio.to(device), reconstruction=made.audio.to(device))
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(audio) / len(crops)
        used.append(_used(model, made) * len(audio) / len(crops))
    total = torch.stack(used).sum(0)
    return {**sums, **_latent(model, total)}


def _used(model: Autoencoder, made: Reconstruction) -> torch.Tensor:
    """Means over frames: the KL of each channel in nats, or the choices of each codebook entry."""
    if made.codes is None:
        assert made.mean is not None
        assert made.scale is not None
        return kl_nats(made.mean, made.scale).mean((0, 2))
    bottleneck = model.config.bottleneck
    assert not isinstance(bottleneck, GaussianConfig)
    parts = torch.split(made.codes, [*bottleneck.indices], dim=1)
    counts = [torch.bincount(part.flatten(), minlength=bottleneck.codebook_size) for part in parts]
    return torch.cat([count / part.numel() for count, part in zip(counts, parts, strict=True)])


def _latent(model: Autoencoder, used: torch.Tensor) -> dict[str, float]:
    config = model.config
    if config.bits_per_frame is None:
        kbps = kbps_of(float(used.sum()), config.frame_rate)
        return {"kbps": kbps, "dead": float((used < DEAD_NATS).sum())}
    kbps = config.bits_per_frame * config.frame_rate / 1000.0
    return {"kbps": kbps, "dead": float((used == 0.0).sum())}


def _device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device
