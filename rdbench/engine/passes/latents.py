"""Statistics of continuous latents, by the place of a frame in its clip.

The sums of each clip (`rdbench.latent.statistics`) are kept as a feature, from which heat maps,
spectra and histograms are made of any set of clips (`rdbench.latent.stored`) without encoding
anything again. Beside them
stand rows: per clip the KL by place and the norm, which average over clips; and per domain what
only follows from the sums of all clips. One variant stands for what was encoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.engine.measure.channels import spread_seeds
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Result, SetWork, Work
from rdbench.engine.plan.families import Columns, Needs, SetUnits
from rdbench.latent import statistics
from rdbench.latent.places import frame_levels, places
from rdbench.latent.statistics import LatentSums
from rdbench.latent.stored import SUMS
from rdbench.latent.summary import ALL, EACH, OF_FRAMES, UNITS, of_frames, statistics_of
from rdbench.store.schema import Kind, Quantity
from rdbench.types import SAMPLE, CodecError, Posterior, RateKind, Score

if TYPE_CHECKING:
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.measure.encoding import Encoding
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import Step


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
        return [SUMS, *(Quantity(Kind.LATENT, key, EACH) for key in OF_FRAMES)]

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
            for key in OF_FRAMES:
                quantity = Quantity(Kind.LATENT, key, EACH)
                work.record(position, quantity, of_frames(key, sums))

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
