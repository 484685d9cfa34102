"""What was fitted to a latent on other clips, and the coder of each kind that it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.rate.coded.profile import Profile
from rdbench.rate.coded.rounding import FittedCoder, SentCoder
from rdbench.rate.coded.water import WATER, fit_water
from rdbench.rate.latent_moments import LatentMoments
from rdbench.rate.prior import Moments
from rdbench.types import CodecError

if TYPE_CHECKING:
    from rdbench.rate.coded.base import Floats, LatentCoder
    from rdbench.types import Posterior


@dataclass(frozen=True)
class FittedLatent:
    """Each None where nothing was fitted.

    rounding: steps √12 σ̄. water: steps by reverse water-filling. profile: of classes of frames.
    moments: what no coder needs, but variants do.
    """

    rounding: FittedCoder | None = None
    water: FittedCoder | None = None
    profile: Profile | None = None
    moments: LatentMoments | None = None

    @classmethod
    def fit(
        cls, posteriors: Sequence[Posterior], moments: Moments, gain: Floats | None = None
    ) -> FittedLatent:
        """Fits on the posteriors of other clips; gain: of the decoder, None where not measured."""
        return cls(
            FittedCoder.fit(posteriors, moments),
            None if gain is None else fit_water(posteriors, gain, moments),
            Profile.fit(posteriors),
            LatentMoments.fit(posteriors),
        )

    def as_json(self) -> dict[str, Any]:
        """Its parts by name."""
        return {
            "latent": self.rounding.as_json() if self.rounding else None,
            "water": self.water.as_json() if self.water else None,
            "profile": self.profile.as_json() if self.profile else None,
            "moments": self.moments.as_json() if self.moments else None,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> FittedLatent:
        """What `as_json` gave, or a part of it; raises PayloadError for damaged parts."""
        latent, water, profile, moments = (
            content.get(key) for key in ("latent", "water", "profile", "moments")
        )
        return cls(
            None if latent is None else FittedCoder.from_json(latent),
            None if water is None else FittedCoder.from_json(water, WATER),
            None if profile is None else Profile.from_json(profile),
            None if moments is None else LatentMoments.from_json(moments),
        )


def rounding(fitted: FittedLatent) -> LatentCoder:
    """Plain rounding; steps and distribution are sent where none were fitted."""
    return fitted.rounding or SentCoder()


def water(fitted: FittedLatent) -> LatentCoder:
    """Steps by reverse water-filling; raises CodecError where none were fitted."""
    if fitted.water is None:
        raise CodecError(
            "the variant coded_rd needs steps that were fitted to this codec on other clips; run "
            "`rdbench fit-entropy` with it, and name the file as entropy.tables"
        )
    return fitted.water


def dithered(fitted: FittedLatent) -> LatentCoder:
    """Uniform steps with dither."""
    from rdbench.rate.coded.dither import DitheredCoder
    from rdbench.rate.coded.trellis import UNIFORM

    return DitheredCoder(UNIFORM, fitted.profile)


def trellis(fitted: FittedLatent) -> LatentCoder:
    """A trellis with dither."""
    from rdbench.rate.coded.dither import DitheredCoder
    from rdbench.rate.coded.trellis import STATES_256

    return DitheredCoder(STATES_256, fitted.profile)


def relative(fitted: FittedLatent) -> LatentCoder:
    """Relative-entropy coding."""
    from rdbench.rate.coded.relative import RelativeCoder

    return RelativeCoder(fitted.profile)


MakeCoder = Callable[[FittedLatent], "LatentCoder"]
