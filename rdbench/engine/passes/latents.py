"""Statistics of continuous latents, by the place of a frame in its clip.

The sums of each clip (`rdbench.latent.statistics`) are kept as a feature, from which heat maps,
spectra and histograms are made of any set of clips (`rdbench.latent.stored`) without encoding
anything again. Beside them
stand rows: per clip the KL by place and the norm, which average over clips; and per domain what
only follows from the sums of all clips. One variant stands for what was encoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.engine.measure.channels import spread_seeds
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Result, SetWork, Work
from rdbench.engine.plan.families import Columns, Needs, SetUnits
from rdbench.latent import statistics
from rdbench.latent.places import PLACES, frame_levels, places
from rdbench.latent.statistics import LatentSums
from rdbench.latent.stored import SUMS
from rdbench.store.schema import Kind, Quantity
from rdbench.types import SAMPLE, CodecError, Posterior, RateKind, Score

if TYPE_CHECKING:
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.measure.encoding import Encoding
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import Step

EACH, ALL = "each clip", "all clips"
"""Models of rows: over the frames of one clip, and of all clips of a domain."""
NORM = "norm"
_KL = tuple(f"kl_{place}" for place in PLACES)
UNITS = {
    **dict.fromkeys(_KL, "nat/frame"),
    NORM: "",
    "effective_rank": "channels",
    "active_kl": "channels",
    "active_variance": "channels",
    "wasserstein": "",
    "kolmogorov_smirnov": "",
    "outlier_rate": "share",
    "autocorrelation": "",
    "flatness": "",
    "time_slope": "",
    "channel_slope": "",
}
"""By key, the unit of a row; `statistics_of` says what each is."""
_NO_SCALE = "the latent has no trained posterior scale, so it has no KL"


@dataclass(frozen=True, eq=False)
class LatentsPass(Pass):
    """enabled: whether anything is asked. seed: of the protocol, with which samples are drawn."""

    enabled: bool
    seed: int = 0
    name = "latents"

    def owns(self, quantity: Quantity) -> bool:
        """Statistics of latents, and the sums that they are made of."""
        return quantity.kind is Kind.LATENT or quantity == SUMS

    def of_clip(self, step: Step, domain: str) -> Sequence[Quantity]:
        """The sums, the KL by place and the norm."""
        if not self._has_latent(step):
            return []
        return [SUMS, *(Quantity(Kind.LATENT, key, EACH) for key in (*_KL, NORM))]

    def of_set(self, step: Step, clips: Sequence[PlannedClip]) -> Sequence[SetUnits]:
        """Everything that follows from the sums of all clips of a domain."""
        if not self._has_latent(step):
            return []
        wanted = tuple(Quantity(Kind.LATENT, key, ALL) for key in UNITS)
        by_domain: dict[str, list[PlannedClip]] = {}
        for clip in sorted(clips, key=lambda clip: clip.name):
            by_domain.setdefault(clip.domain, []).append(clip)
        return [
            SetUnits(step, domain, tuple(members), wanted, SUMS, keep=True)
            for domain, members in by_domain.items()
        ]

    def needs(self, quantity: Quantity) -> Needs:
        """All of it is measured on what was encoded."""
        return Needs.ENCODED

    def columns(self, quantity: Quantity) -> Columns:
        """The unit, and over which frames it is."""
        return Columns(UNITS.get(quantity.key, ""), quantity.model)

    def depends(self, step: Step | None, quantity: Quantity) -> Any:
        """The version of the sums, and the seed of the samples."""
        return [self.name, statistics.VERSION, self.seed]

    def on_encoded(self, work: Work, encoding: Encoding) -> None:
        """Records the sums and the rows of every clip."""
        for position, sums in enumerate(_sums(work, encoding)):
            work.record(position, SUMS, Score(float(sums.frames.sum())), sums.pack())
            for key in (*_KL, NORM):
                quantity = Quantity(Kind.LATENT, key, EACH)
                work.record(position, quantity, _of_frames(key, sums))

    def on_set(self, work: SetWork, step: Step, desk: Desk) -> Iterator[Result]:
        """Every statistic of all clips; failed where a clip has no sums."""
        sums: LatentSums | None = None
        if not work.failures:
            for array in work.arrays.values():
                one = LatentSums.unpack(array)
                sums = one if sums is None else sums + one
        if sums is None:
            clip, why = next(iter(work.failures.items()), ("", "there is no clip"))
            text = f"{len(work.failures)} of {len(work.clips)} clips have no latent ({clip}: {why})"
            yield from work.failed(Score.failed(text))
            return
        found = statistics_of(sums)
        for quantity in work.quantities:
            yield Result(step.id, "", work.domain, quantity, found[quantity.key], 0.0)

    def _has_latent(self, step: Step) -> bool:
        from rdbench.codecs.posterior.base import PosteriorCodec

        codec = step.system.codec
        if not (self.enabled and codec and step.first):
            return False
        return isinstance(codec, PosteriorCodec) or codec.info.headline is RateKind.KL


def statistics_of(sums: LatentSums) -> dict[str, Score]:
    """The rows of all clips by key.

    kl_…: nats per frame at a place. norm: E ‖z‖²/D. effective_rank: of Cov μ. active_kl,
    active_variance: channels with a KL of at least 0.01 nat per frame, with Var μ > 0.01.
    wasserstein, kolmogorov_smirnov: distances of z from N(0, 1), and outlier_rate: of z beyond
    4 s_c, each the mean over all channels. autocorrelation (of lag 1), flatness: of the trajectory
    of μ, mean over channels weighted by Var μ. time_slope, channel_slope: of the power spectra of
    μ, ln power over ln frequency.
    """
    whole = statistics.by_place(sums)
    wasserstein, smirnov = statistics.distances(sums)
    spectrum = statistics.time_spectrum(sums).sum(axis=0)
    short = f"no clip has the {statistics.SEGMENT} frames of a spectrum, or nothing moves"
    few = "the latent has too few channels for a spectrum along them, or nothing moves"
    far = f"the latent goes beyond ±{statistics.EDGES[-1]:.0f}, where its histogram ends"
    still = "no channel moves from frame to frame"
    active = math.nan
    if np.isfinite(whole.kl).all():
        active = float(statistics.active_by_kl(sums).sum())
    return {
        **{key: _of_frames(key, sums) for key in (*_KL, NORM)},
        "effective_rank": _score(statistics.effective_rank(sums), still),
        "active_kl": _score(active, _NO_SCALE),
        "active_variance": Score(float(statistics.active_by_variance(sums).sum())),
        "wasserstein": Score(float(wasserstein.mean())),
        "kolmogorov_smirnov": Score(float(smirnov.mean())),
        "outlier_rate": _score(float(statistics.outlier_rate(sums).mean()), far),
        "autocorrelation": _score(_mean(whole.correlation, whole.spread**2), still),
        "flatness": _score(_mean(statistics.flatness(sums), whole.spread**2), short),
        "time_slope": _score(statistics.slope(spectrum), short),
        "channel_slope": _score(statistics.slope(statistics.channel_spectrum(sums)), few),
    }


def _of_frames(key: str, sums: LatentSums) -> Score:
    """The KL at a place, or the norm."""
    if key == NORM:
        return Score(float(sums.norm.sum() / sums.frames.sum()))
    place = _KL.index(key)
    if not sums.frames[place]:
        return Score.undefined(f"there is no frame of {PLACES[place]}")
    return _score(float(statistics.by_place(sums, place).kl.sum()), _NO_SCALE)


def _score(value: float, otherwise: str) -> Score:
    return Score(value) if math.isfinite(value) else Score.undefined(otherwise)


def _mean(values: statistics.Floats, weights: statistics.Floats) -> float:
    there = np.isfinite(values) & (weights > 0)
    return float(np.average(values[there], weights=weights[there])) if there.any() else math.nan


def _sums(work: Work, encoding: Encoding) -> Iterator[LatentSums]:
    """The sums of each clip; of one whose channels were encoded one by one, over all of them.

    Raises CodecError for a latent that is none, and PayloadError for one that is not finite.
    """
    from rdbench.codecs.variants import LatentRequest, latent_coder, make_latent
    from rdbench.rate.coded.fitted import FittedLatent
    from rdbench.rate.validate import check_posterior

    posterior = encoding.encoded.payload
    if not isinstance(posterior, Posterior):
        raise CodecError(f"{type(posterior).__name__} is no continuous latent")
    check_posterior(
        posterior, [c.name for i, c in enumerate(work.clips) for _ in encoding.items(i)]
    )
    sample = posterior.mean
    if posterior.scale is not None:
        seeds = spread_seeds([clip.seed for clip in work.clips], encoding.policy, encoding.channels)
        request = LatentRequest(posterior, seeds, latent_coder(SAMPLE, FittedLatent()))
        sample = make_latent(SAMPLE, request)
    for position in range(len(work.clips)):
        parts = [_of_item(encoding, posterior, sample, item) for item in encoding.items(position)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        yield total


def _of_item(encoding: Encoding, posterior: Posterior, sample: Any, item: int) -> LatentSums:
    frames, audio = int(posterior.frames[item]), encoding.audio

    def rows(values: Any) -> statistics.Floats:
        found: statistics.Floats = values[item, :, :frames].detach().cpu().double().numpy()
        return found

    samples = audio.samples[item, :, : int(audio.lengths[item])].cpu().numpy()
    levels = frame_levels(samples, audio.sample_rate, posterior.frame_rate, frames)
    scale = None if posterior.scale is None else rows(posterior.scale)
    return LatentSums.of(rows(posterior.mean), scale, rows(sample), places(levels), levels)
