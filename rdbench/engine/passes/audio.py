"""Keeps reconstructions and references as FLAC.

The files are written where native jobs run, so that neither the device nor the writer of rows waits
for them. Audio that cannot be kept (a codec that failed, samples that are not finite) has no row:
the rows of its measurements say why, and the next run that keeps audio tries again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.engine.measure.batch import as_array
from rdbench.engine.measure.native import keep_audio
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Work
from rdbench.engine.plan.families import Columns, Needs
from rdbench.store import audio as store
from rdbench.store.schema import Kind, Quantity
from rdbench.types import AudioBatch, Score

if TYPE_CHECKING:
    from rdbench.engine.measure.batch import Batch
    from rdbench.engine.measure.decoded import Decoded
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.plan.systems import Step

AUDIO = Quantity(Kind.AUDIO, store.KEY)


@dataclass(frozen=True, eq=False)
class AudioPass(Pass):
    """folder: where files are kept; None where none are asked for."""

    folder: Path | None
    name = "audio"

    def owns(self, quantity: Quantity) -> bool:
        """Kept files."""
        return quantity == AUDIO

    def of_clip(self, step: Step, domain: str) -> Sequence[Quantity]:
        """The reconstruction."""
        return [AUDIO] if self.folder else []

    def may_stay(self, step: Step, domain: str) -> Sequence[Quantity]:
        """A reconstruction that an earlier start kept."""
        return [AUDIO]

    def of_reference(self, domain: str) -> Sequence[Quantity]:
        """The reference."""
        return [AUDIO] if self.folder else []

    def reference_may_have(self, domain: str) -> Sequence[Quantity]:
        """A reference that an earlier start kept."""
        return [AUDIO]

    def columns(self, quantity: Quantity) -> Columns:
        """The value is a peak."""
        return Columns(store.UNIT)

    def on_reference(self, work: Work, batch: Batch, desk: Desk) -> None:
        """Keeps the references of a batch that are not kept yet."""
        self._keep(work, batch.part(batch.places(work.clips)), desk)

    def on_decoded(self, work: Work, decoded: Decoded, desk: Desk) -> None:
        """Keeps the reconstructions, as decoded."""
        self._keep(work, decoded.audio, desk)

    def needs(self, quantity: Quantity) -> Needs:
        """A reconstruction."""
        return Needs.DECODED

    def _keep(self, work: Work, audio: AudioBatch, desk: Desk) -> None:
        step = work.step.id if work.step else None
        for position, clip in enumerate(work.clips):
            if self.folder and work.wants(AUDIO, position):
                desk.jobs.submit(
                    keep_audio,
                    self.folder,
                    desk.audio_names[step, clip.name],
                    as_array(audio, position),
                    audio.sample_rate,
                    timeout=desk.timeout,
                    done=partial(_kept, work, position),
                    lost=partial(_lost, work, position, desk),
                )


def _kept(work: Work, position: int, peak: float) -> None:
    work.record(position, AUDIO, Score(peak))


def _lost(work: Work, position: int, desk: Desk, reason: str) -> None:
    what = str(work.step) if work.step else "the reference"
    desk.sink.say(f"{what}, {work.clips[position].name}: the audio is not kept: {reason}")
    work.record(position, AUDIO, Score.failed(reason))
