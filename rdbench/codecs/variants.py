"""The variants by name: what may be decoded from an `Encoded`, and how a latent is made for it.

A variant of a posterior has a function that makes the decoder's latent: the mean, a sample, what
a decodable stream decodes to, the mean with noise of a stated size,

    z = μ + k σ ε,    ε ~ N(0, I) from a generator seeded for each clip (k = 1: a sample)

A variant with a stream has a coder too (`rdbench.rate.coded`), and so a rate of its own.

A package adds variants by entry points of the group `rdbench.variants`: the name is the variant's,
the value names a `LatentVariant` (`module:NAME`). Specs name variants under `variants`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from rdbench.suggest import nearest
from rdbench.types import (
    CODED,
    CODES,
    MEAN,
    SAMPLE,
    Posterior,
    RateKind,
    SpecError,
    Variant,
)

if TYPE_CHECKING:
    import torch

    from rdbench.rate.coded import LatentCoder
    from rdbench.rate.coded.fitted import FittedLatent, MakeCoder


ENTRY_POINT_GROUP = "rdbench.variants"


@dataclass(frozen=True)
class LatentRequest:
    """For what a latent is made.

    clip_seeds: one for each clip of the posterior. coder: what codes the latent of this codec under
    this variant.
    """

    posterior: Posterior
    clip_seeds: Sequence[int]
    coder: LatentCoder


@dataclass(frozen=True)
class LatentVariant:
    """A variant of a continuous latent.

    make: makes what the decoder is given, (clips, channels, frames). It is timed as the decoder's
    work, but for what it charges to the encoder (`rdbench.stopwatch`), as `LatentCoder.code` does.
    needs_scale: whether the posterior must have a scale. coder: makes the coder of a stream, of
    what was fitted to the latent; None is plain rounding.
    """

    variant: Variant
    make: Callable[[LatentRequest], torch.Tensor]
    needs_scale: bool = False
    coder: MakeCoder | None = None


def variant(name: str) -> Variant:
    """The variant called `name`; raises SpecError with the nearest name where there is none."""
    if name == CODES.name:
        return CODES
    return _latent_variant(name).variant


def variants_of_latents(*, scale: bool) -> tuple[Variant, ...]:
    """The variants of a latent with a trained scale, or of one without."""
    return tuple(one.variant for one in _latents().values() if scale or not one.needs_scale)


def make_latent(variant: Variant, request: LatentRequest) -> torch.Tensor:
    """What the decoder is given under `variant`, (clips, channels, frames)."""
    return _latent_variant(variant.name).make(request)


def latent_coder(variant: Variant, fitted: FittedLatent) -> LatentCoder:
    """The coder of a variant's stream; raises CodecError where it needs what was not fitted."""
    from rdbench.rate.coded.fitted import rounding

    return (_latent_variant(variant.name).coder or rounding)(fitted)


def _latent_variant(name: str) -> LatentVariant:
    known = _latents()
    if name not in known:
        raise SpecError(f"there is no variant {name!r}; {nearest(name, [CODES.name, *known])}")
    return known[name]


@cache
def _latents() -> dict[str, LatentVariant]:
    """Those of rdbench, then those of installed packages, which replace none of them."""
    known = {one.variant.name: one for one in _BUILT_IN}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        found = entry.load()
        if not isinstance(found, LatentVariant) or found.variant.name != entry.name:
            raise SpecError(
                f"the entry point {entry.name!r} of {ENTRY_POINT_GROUP} names {entry.value}, which "
                "is no LatentVariant of this name"
            )
        known.setdefault(entry.name, found)
    return known


def _mean(request: LatentRequest) -> torch.Tensor:
    return request.posterior.mean


def _stream(request: LatentRequest) -> torch.Tensor:
    import torch

    from rdbench.codecs.batches import pad_stack

    posterior = request.posterior
    clips = request.coder.code(posterior, seeds=request.clip_seeds)
    coded = [torch.from_numpy(clip.values) for clip in clips]
    return pad_stack(coded)[0].to(posterior.mean.device)


def _noisy(request: LatentRequest, *, factor: float) -> torch.Tensor:
    import torch

    posterior = request.posterior
    assert posterior.scale is not None, "posterior() must give a scale where there is a prior"
    noise = torch.zeros_like(posterior.mean, device="cpu")
    for clip, seed in enumerate(request.clip_seeds):
        frames = int(posterior.frames[clip])
        generator = torch.Generator().manual_seed(seed)
        noise[clip, :, :frames] = torch.randn(
            noise.shape[1], frames, generator=generator, dtype=noise.dtype
        )
    return posterior.mean + factor * posterior.scale * noise.to(posterior.mean.device)


def _noise(variant: Variant, factor: float) -> LatentVariant:
    return LatentVariant(variant, partial(_noisy, factor=factor), needs_scale=True)


def _coded(name: str, coder: str, *, seeded: bool = True, scale: bool = False) -> LatentVariant:
    """coder: the name of its maker in `rdbench.rate.coded.fitted`, which loads compiled code."""

    def make(fitted: FittedLatent) -> LatentCoder:
        from rdbench.rate.coded import fitted as makers

        found: LatentCoder = getattr(makers, coder)(fitted)
        return found

    kind = Variant(name, "stream", transmitted=True, rate=RateKind.CODED, seeded=seeded)
    return LatentVariant(kind, _stream, needs_scale=scale, coder=make)


_BUILT_IN = (
    _noise(SAMPLE, 1.0),
    LatentVariant(MEAN, _mean),
    LatentVariant(CODED, _stream),
    _coded("coded_rd", "water", seeded=False),
    _coded("coded_dither", "dithered"),
    _coded("coded_trellis", "trellis"),
    _coded("coded_sample", "relative", scale=True),
    _noise(Variant("noise_0.5", "noise", seeded=True), 0.5),
    _noise(Variant("noise_2", "noise", seeded=True), 2.0),
)
