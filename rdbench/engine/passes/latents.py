"""Statistics of continuous latents, by the place of a frame in its clip.

The sums of each clip (`rdbench.latent.statistics`) are kept as a feature, from which heat maps,
spectra and histograms are made of any set of clips (`rdbench.latent.stored`) without encoding
anything again. Beside them stand rows: per clip the KL by place and the norm, which average over
clips; and per domain what only follows from the sums of all clips. One variant stands for what was
encoded. Degraded copies of the clips have the same rows, under their names. What draws a clip
frame by frame is kept, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.audio import copies
from rdbench.audio.channels import spread_seeds
from rdbench.audio.copies import degraded
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Result, SetWork, Work
from rdbench.engine.plan.families import Columns, Needs, SetUnits
from rdbench.latent import frames, statistics
from rdbench.latent.frames import LatentFrames
from rdbench.latent.places import frame_levels, places
from rdbench.latent.statistics import LatentSums
from rdbench.latent.stored import FRAMES, SUMS, sums_of
from rdbench.latent.summary import (
    ALL,
    EACH,
    OF_FRAMES,
    UNITS,
    of_copy,
    of_frames,
    statistics_of,
)
from rdbench.store.schema import Kind, Quantity
from rdbench.types import SAMPLE, AudioBatch, CodecError, Encoded, Posterior, RateKind, Score

if TYPE_CHECKING:
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.measure.encoding import Encoding
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import Step


@dataclass(frozen=True, eq=False)
class LatentsPass(Pass):
    """enabled: whether anything is asked. seed: of the protocol, with which samples are drawn.
    copies: names of degraded copies of the clips (`rdbench.audio.copies`) that have the same rows.
    """

    enabled: bool
    seed: int = 0
    copies: tuple[str, ...] = ()
    name = "latents"

    def owns(self, quantity: Quantity) -> bool:
        """Statistics of latents, the sums that they are made of, and clips frame by frame."""
        kept = quantity.kind is Kind.FEATURE and quantity.key in (SUMS.key, FRAMES.key)
        return kept or quantity.kind is Kind.LATENT

    def of_clip(self, step: Step, domain: str) -> Sequence[Quantity]:
        """The sums, the KL by place and the norm, of each copy too; and the clip's frames."""
        if not self._has_latent(step):
            return []
        return [FRAMES, *(one for copy in self._copies for one in _of_clip(copy))]

    def of_set(self, step: Step, clips: Sequence[PlannedClip]) -> Sequence[SetUnits]:
        """Everything that follows from the sums of all clips of a domain, and of their copies."""
        if not self._has_latent(step):
            return []
        by_domain: dict[str, list[PlannedClip]] = {}
        for clip in sorted(clips, key=lambda clip: clip.name):
            by_domain.setdefault(clip.domain, []).append(clip)
        return [
            SetUnits(step, domain, tuple(members), _of_set(copy), sums_of(copy), keep=True)
            for domain, members in by_domain.items()
            for copy in self._copies
        ]

    def needs(self, quantity: Quantity) -> Needs:
        """All of it is measured on what was encoded."""
        return Needs.ENCODED

    def columns(self, quantity: Quantity) -> Columns:
        """The unit, and over which frames it is."""
        return Columns(UNITS.get(quantity.key, ""), quantity.model)

    def depends(self, step: Step | None, quantity: Quantity) -> Any:
        """The version of the sums, and the seed of the samples; of a copy, how it is made."""
        if quantity == FRAMES:
            return [self.name, frames.VERSION]
        known = [self.name, statistics.VERSION, self.seed]
        clean = quantity.model in ("", EACH, ALL)
        return known if clean else [*known, copies.VERSION]

    def on_encoded(self, work: Work, encoding: Encoding) -> None:
        """Records the sums and the rows of every clip, then of its copies.

        A copy that cannot be encoded costs its own rows.
        """
        _record(work, encoding, encoding.encoded, "")
        for position in range(len(work.clips)):
            if work.wants(FRAMES, position):
                found = _frames(encoding, position)
                work.record(position, FRAMES, Score(float(len(found.kl))), found.pack())
        for copy in self.copies:
            if not any(work.wants(quantity) for quantity in _of_clip(copy)):
                continue
            try:
                _record(work, encoding, _of_copy(work, encoding, copy), copy)
            except CodecError as error:
                if len(work.clips) > 1:
                    raise
                work.fail(0, f"{copy}: {error}", _of_clip(copy))

    def on_set(self, work: SetWork, step: Step, desk: Desk) -> Iterator[Result]:
        """Every statistic of all clips; failed where a clip has no sums."""
        yield from values_of_set(work)

    @property
    def _copies(self) -> tuple[str, ...]:
        """The clip itself, "", and its copies."""
        return ("", *self.copies)

    def _has_latent(self, step: Step) -> bool:
        from rdbench.codecs.posterior.base import PosteriorCodec

        codec = step.system.codec
        if not (self.enabled and codec and step.first):
            return False
        return isinstance(codec, PosteriorCodec) or codec.info.headline is RateKind.KL


def values_of_set(work: SetWork) -> Iterator[Result]:
    """The statistics of a set, from the sums of its clips alone."""
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
        score = found[quantity.key]
        yield Result(work.step, "", work.domain, quantity, score, 0.0)


def _of_clip(copy: str) -> list[Quantity]:
    """What is measured on each clip, or on a copy of it."""
    of_frames = (Quantity(Kind.LATENT, key, of_copy(EACH, copy)) for key in OF_FRAMES)
    return [sums_of(copy), *of_frames]


def _of_set(copy: str) -> tuple[Quantity, ...]:
    return tuple(Quantity(Kind.LATENT, key, of_copy(ALL, copy)) for key in UNITS)


def _record(work: Work, encoding: Encoding, encoded: Encoded, copy: str) -> None:
    """Records the sums and the rows of every clip, or of a copy that was encoded."""
    for position, sums in enumerate(_sums(work, encoding, encoded)):
        work.record(position, sums_of(copy), Score(float(sums.frames.sum())), sums.pack())
        for key in OF_FRAMES:
            quantity = Quantity(Kind.LATENT, key, of_copy(EACH, copy))
            work.record(position, quantity, of_frames(key, sums))


def _of_copy(work: Work, encoding: Encoding, copy: str) -> Encoded:
    """What the codec makes of copies of the clips, at the same point."""
    import torch

    assert work.step is not None
    audio = encoding.audio
    samples = audio.samples.clone()
    seeds = spread_seeds([clip.seed for clip in work.clips], encoding.policy, encoding.channels)
    for item, (length, seed) in enumerate(zip(audio.lengths.tolist(), seeds, strict=True)):
        clean = samples[item, :, :length].cpu().numpy()
        made = degraded(clean, audio.sample_rate, copy, seed=seed)
        samples[item, :, :length] = torch.from_numpy(made).to(samples)
    codec, point = encoding.codec, work.step.point
    batch = AudioBatch(samples, audio.lengths.clone(), audio.sample_rate)
    encoded = codec.encode(batch, codec.points[-1] if codec.nested else point)
    return codec.at(encoded, point) if codec.nested else encoded


def _sums(work: Work, encoding: Encoding, encoded: Encoded) -> Iterator[LatentSums]:
    """The sums of each clip; of one whose channels were encoded one by one, over all of them.

    Places and levels are those of the clip itself, whatever copy of it was encoded.

    Raises CodecError for a latent that is none, and PayloadError for one that is not finite.
    """
    from rdbench.codecs.variants import LatentRequest, latent_coder, make_latent
    from rdbench.rate.coded.fitted import FittedLatent
    from rdbench.rate.validate import check_posterior

    posterior = encoded.payload
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
        total: LatentSums | None = None
        for item in encoding.items(position):
            mean, drawn = (_rows(v, posterior, item) for v in (posterior.mean, sample))
            scale = None if posterior.scale is None else _rows(posterior.scale, posterior, item)
            levels = _levels(encoding, posterior, item)
            sums = LatentSums.of(mean, scale, drawn, places(levels), levels)
            total = sums if total is None else total + sums
        assert total is not None
        yield total


def _frames(encoding: Encoding, position: int) -> LatentFrames:
    """A clip frame by frame; of channels that were encoded one by one the sum of their KL."""
    posterior, audio = encoding.encoded.payload, encoding.audio
    assert isinstance(posterior, Posterior)
    items = encoding.items(position)
    kl = np.zeros(int(posterior.frames[items[0]]))
    power = np.zeros(len(kl))
    for item in items:
        mean = _rows(posterior.mean, posterior, item)
        if posterior.scale is None:
            kl += np.nan
        else:
            variance = np.square(_rows(posterior.scale, posterior, item))
            kl += statistics.kl_to_standard(mean, variance).sum(axis=0)
        power += 10.0 ** (_levels(encoding, posterior, item) / 10.0) / len(items)
    samples = [_samples(audio, item) for item in items]
    return LatentFrames.of(
        np.concatenate(samples), audio.sample_rate, posterior.frame_rate, kl, 10.0 * np.log10(power)
    )


def _rows(values: Any, posterior: Posterior, item: int) -> statistics.Floats:
    """(channels, frames) of one item."""
    frames = int(posterior.frames[item])
    found: statistics.Floats = values[item, :, :frames].detach().cpu().double().numpy()
    return found


def _levels(encoding: Encoding, posterior: Posterior, item: int) -> statistics.Floats:
    samples, rate = _samples(encoding.audio, item), encoding.audio.sample_rate
    return frame_levels(samples, rate, posterior.frame_rate, int(posterior.frames[item]))


def _samples(audio: AudioBatch, item: int) -> Any:
    return audio.samples[item, :, : int(audio.lengths[item])].cpu().numpy()
