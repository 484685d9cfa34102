"""The variants by name: what may be decoded from an `Encoded`, and how a latent is made for it.

A variant of a posterior has a function that makes the decoder's latent
(`rdbench.codecs.decode_paths`): the mean, a sample, what a decodable stream decodes to, the mean
with noise of a stated size, a part of a sample, what a generator predicted. Names of families end
in a parameter: `noise_0.5` and `noise_3` are of `noise_K`. A variant with a stream has a coder too
(`rdbench.rate.coded`), and so a rate of its own.

A package adds variants by entry points of the group `rdbench.variants`: the name is the variant's,
the value names a `LatentVariant` (`module:NAME`). Specs name variants under `variants`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from rdbench.codecs import decode_paths as paths
from rdbench.suggest import nearest
from rdbench.types import (
    CODED,
    CODES,
    MEAN,
    SAMPLE,
    CodecError,
    Posterior,
    RateKind,
    SpecError,
    Variant,
)

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from rdbench.rate.coded import LatentCoder
    from rdbench.rate.coded.fitted import FittedLatent, MakeCoder
    from rdbench.rate.latent_moments import LatentMoments


ENTRY_POINT_GROUP = "rdbench.variants"
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class LatentRequest:
    """For what a latent is made.

    clip_seeds: one for each clip of the posterior. coder: what codes the latent of this codec under
    this variant. moments: of the codec's latent on other clips, where the variant needs them.
    given: of a variant that is predicted, a latent (channels, frames) for each clip. reencode: what
    the codec's encoder gives as the mean of what its decoder makes of a latent.
    """

    posterior: Posterior
    clip_seeds: Sequence[int]
    coder: LatentCoder
    moments: LatentMoments | None = None
    given: Sequence[NDArray[np.float32]] = ()
    reencode: Callable[[torch.Tensor], torch.Tensor] | None = None


@dataclass(frozen=True)
class LatentVariant:
    """A variant of a continuous latent.

    make: makes what the decoder is given, (clips, channels, frames). It is timed as the decoder's
    work, but for what it charges to the encoder (`rdbench.stopwatch`), as `LatentCoder.code` does.
    needs_scale: whether the posterior must have a scale. coder: makes the coder of a stream, of
    what was fitted to the latent; None is plain rounding. needs_moments: whether the latent's
    moments must have been fitted. predicted: whether latents from outside must be given.
    """

    variant: Variant
    make: Callable[[LatentRequest], torch.Tensor]
    needs_scale: bool = False
    coder: MakeCoder | None = None
    needs_moments: bool = False
    predicted: bool = False


@dataclass(frozen=True)
class VariantFamily:
    """Variants whose names differ in the number K at their end.

    form: the name with K. source: as in `Variant`. make: as in `LatentVariant`, of the request and
    the number as `parameter`, which is whole (and may be 0) where that is `count`.
    """

    form: str
    source: str
    make: Callable[..., torch.Tensor]
    parameter: str = "count"
    needs_scale: bool = False
    needs_moments: bool = True

    def member(self, text: str) -> LatentVariant:
        """The variant with the number in `text`; raises SpecError for another text than one."""
        name = f"{self.form[:-1]}{text}"
        whole = self.parameter == "count"
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        plain = f"{number:.0f}" if whole else f"{number:g}"
        if text != plain or not number >= (0 if whole else 1e-9):
            what = "a whole number" if whole else "a number above 0, without zeros at its end"
            raise SpecError(
                f"there is no variant {name!r}; K of {self.form} is {what}, as in "
                f"{self.form[:-1]}{2 if whole else 0.5}"
            )
        made: Any = partial(self.make, **{self.parameter: int(number) if whole else number})
        return LatentVariant(
            Variant(name, self.source, seeded=True),
            made,
            needs_scale=self.needs_scale,
            needs_moments=self.needs_moments,
        )


def variant(name: str) -> Variant:
    """The variant called `name`; raises SpecError with the nearest name where there is none."""
    if name == CODES.name:
        return CODES
    return _latent_variant(name).variant


def is_of_latents(variant: Variant, *, scale: bool) -> bool:
    """Whether it is a variant of a latent with a trained scale, or of one without."""
    try:
        found = _latent_variant(variant.name)
    except SpecError:
        return False
    return found.variant == variant and (scale or not found.needs_scale)


def names_of_latents(*, scale: bool) -> tuple[str, ...]:
    """The names of such variants, those of a family once, with a K."""
    single = [name for name, one in _latents().items() if scale or not one.needs_scale]
    return (*single, *(one.form for one in _FAMILIES if scale or not one.needs_scale))


def is_predicted(variant: Variant) -> bool:
    """Whether it is made of latents that come from outside of the codec."""
    return variant != CODES and _latent_variant(variant.name).predicted


def make_latent(variant: Variant, request: LatentRequest) -> torch.Tensor:
    """What the decoder is given under `variant`, (clips, channels, frames)."""
    return _latent_variant(variant.name).make(request)


def latent_coder(variant: Variant, fitted: FittedLatent) -> LatentCoder:
    """The coder of a variant's stream; raises CodecError where it needs what was not fitted."""
    from rdbench.rate.coded.fitted import rounding

    return (_latent_variant(variant.name).coder or rounding)(fitted)


def latent_moments(variant: Variant, fitted: FittedLatent) -> LatentMoments | None:
    """What a variant takes of the latent's moments; raises CodecError where they were not fitted.

    None where it takes nothing.
    """
    if not _latent_variant(variant.name).needs_moments:
        return None
    if fitted.moments is None:
        raise CodecError(
            f"the variant {variant.name} needs the moments of this codec's latent on other clips; "
            "run `rdbench fit-entropy` with it, and name the file as entropy.tables"
        )
    return fitted.moments


def _latent_variant(name: str) -> LatentVariant:
    known = _latents()
    if name in known:
        return known[name]
    stem, _, number = name.rpartition("_")
    for family in _FAMILIES:
        if family.form == f"{stem}_K":
            return family.member(number)
    names = [CODES.name, *known, *(family.form for family in _FAMILIES)]
    raise SpecError(f"there is no variant {name!r}; {nearest(name, names)}")


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


def _coded(name: str, coder: str, *, seeded: bool = True, scale: bool = False) -> LatentVariant:
    """coder: the name of its maker in `rdbench.rate.coded.fitted`, which loads compiled code."""

    def make(fitted: FittedLatent) -> LatentCoder:
        from rdbench.rate.coded import fitted as makers

        found: LatentCoder = getattr(makers, coder)(fitted)
        return found

    kind = Variant(name, "stream", transmitted=True, rate=RateKind.CODED, seeded=seeded)
    return LatentVariant(kind, paths.stream, needs_scale=scale, coder=make)


def _fitted(name: str, source: str, make: paths.Make) -> LatentVariant:
    return LatentVariant(Variant(name, source, seeded=True), make, needs_moments=True)


def _projections() -> Iterator[LatentVariant]:
    """Of a sample and of what was predicted."""
    for name, project in (
        ("clamp", paths.clamp),
        ("whiten_clip", paths.whiten_clip),
        ("reencode", paths.reencode),
    ):
        for source, make in (("sample", paths.sample), ("predicted", paths.predicted)):
            yield LatentVariant(
                Variant(f"{source}_{name}", f"projected {source}", seeded=source == "sample"),
                partial(paths.projected, source=make, project=project),
                needs_moments=name != "reencode",
                predicted=source == "predicted",
            )


_BUILT_IN = (
    LatentVariant(SAMPLE, partial(paths.noisy, factor=1.0), needs_scale=True),
    LatentVariant(MEAN, paths.mean),
    LatentVariant(CODED, paths.stream),
    _coded("coded_rd", "water", seeded=False),
    _coded("coded_dither", "dithered"),
    _coded("coded_trellis", "trellis"),
    _coded("coded_sample", "relative", scale=True),
    _fitted("collapse_all", "prior", paths.collapse_all),
    LatentVariant(Variant("rolled", "rolled sample", seeded=True), paths.rolled),
    LatentVariant(Variant("predicted", "predicted"), paths.predicted, predicted=True),
    LatentVariant(
        Variant("calibrated_noise", "noise", seeded=True), paths.calibrated_noise, predicted=True
    ),
    *_projections(),
)
_FAMILIES = (
    VariantFamily("noise_K", "noise", paths.noisy, "factor", needs_scale=True, needs_moments=False),
    VariantFamily("latent_noise_K", "noise", paths.latent_noisy, "factor"),
    VariantFamily("keep_K", "truncated sample", paths.keep_first),
    VariantFamily("keep_kl_K", "truncated sample", paths.keep_kl, needs_scale=True),
    VariantFamily("keep_random_K", "truncated sample", paths.keep_random),
    VariantFamily("collapse_channel_K", "collapsed sample", paths.collapse_channel),
    VariantFamily("collapse_frame_K", "collapsed sample", paths.collapse_frame),
)
