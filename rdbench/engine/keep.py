"""Keeps reconstructions and references as FLAC, and takes kept ones up again.

The files are written by workers, so that neither the device nor the writer of rows waits for them.
Audio that cannot be kept (a codec that failed, samples that are not finite) has no row: the rows
of its measurements say why, and the next run that keeps audio tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rdbench.engine.batch import as_array
from rdbench.engine.plan import AUDIO
from rdbench.engine.worker import keep_audio
from rdbench.store.audio import Kept, read_audio
from rdbench.types import AudioBatch, StoreError

if TYPE_CHECKING:
    from rdbench.engine.batch import Batch
    from rdbench.engine.ledger import Ledger
    from rdbench.engine.plan import PlannedClip, Step
    from rdbench.engine.pool import Jobs
    from rdbench.engine.progress import Progress

FROM_KEPT = "scored from audio kept at 24 bits"
"""What rows say whose score was made from a FLAC."""


class Keeper:
    """Writes what the ledger wants to be kept into `folder`; does nothing where that is None."""

    def __init__(
        self,
        folder: Path | None,
        ledger: Ledger,
        pool: Jobs,
        timeout: float,
        progress: Progress,
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._pool = pool
        self._timeout = timeout
        self._progress = progress

    def keep_references(self, batch: Batch) -> None:
        """Keeps the references of a batch that are not kept yet."""
        for index, clip in enumerate(batch.clips):
            if self._folder is not None and self._ledger.wants_reference(clip):
                self._write(
                    self._folder,
                    self._ledger.reference_key(clip),
                    batch.reference,
                    index,
                    kept=partial(self._reference_kept, clip, batch.seconds),
                    lost=partial(self._reference_lost, clip),
                )

    def keep(self, step: Step, batch: Batch, indices: Sequence[int], audio: AudioBatch) -> None:
        """Keeps the reconstructions in `audio`, which belong to `indices` of the batch in order."""
        if self._folder is None:
            return
        finite = torch.isfinite(audio.samples).flatten(1).all(dim=1).tolist()
        for position, index in enumerate(indices):
            clip = batch.clips[index]
            if not self._ledger.wants(step, clip, AUDIO):
                continue
            if not finite[position]:
                self._ledger.audio_lost(step, clip)
                continue
            self._write(
                self._folder,
                self._ledger.audio_key(step, clip),
                audio,
                position,
                kept=partial(self._step_kept, step, clip, batch.seconds),
                lost=partial(self._step_lost, step, clip),
            )

    def _write(
        self,
        folder: Path,
        unit_key: str,
        audio: AudioBatch,
        position: int,
        *,
        kept: Callable[[float], None],
        lost: Callable[[str], None],
    ) -> None:
        self._pool.submit(
            keep_audio,
            folder,
            unit_key,
            as_array(audio, position),
            audio.sample_rate,
            timeout=self._timeout,
            done=kept,
            lost=lost,
        )

    def _step_kept(self, step: Step, clip: PlannedClip, seconds: float, peak: float) -> None:
        self._ledger.audio(step, clip, peak, seconds)

    def _step_lost(self, step: Step, clip: PlannedClip, reason: str) -> None:
        self._progress.say(f"{step}, {clip.clip.name}: the audio is not kept: {reason}")
        self._ledger.audio_lost(step, clip)

    def _reference_kept(self, clip: PlannedClip, seconds: float, peak: float) -> None:
        self._ledger.reference(clip, peak, seconds)

    def _reference_lost(self, clip: PlannedClip, reason: str) -> None:
        self._progress.say(f"{clip.clip.name}: the reference is not kept: {reason}")


def load_kept(kept: Kept, batch: Batch) -> AudioBatch | None:
    """A kept reconstruction on the device of `batch`; None where it is not what belongs there."""
    try:
        samples, rate = read_audio(kept.path)
    except StoreError:
        return None
    reference = batch.reference
    if samples.shape != reference.samples.shape[1:] or rate != reference.sample_rate:
        return None
    lengths = torch.tensor([samples.shape[-1]], dtype=torch.int64)
    return AudioBatch(torch.from_numpy(samples)[None], lengths, rate).to(reference.samples.device)
