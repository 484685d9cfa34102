"""Turns results into rows, and knows which units are still missing.

The ledger is the only part of the engine that writes: it makes a unit's key, skips what the store
has, counts the steps that are finished, and never drops a result without a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Protocol

from rdbench.engine.plan import (
    AUDIO,
    RESIDUAL_DELAY,
    TRACES,
    Metric,
    Step,
    StepId,
    quantities,
)
from rdbench.engine.unit_keys import UnitKeys
from rdbench.store import audio
from rdbench.store.schema import Kind, Row
from rdbench.store.traces import AXES
from rdbench.types import KL_PRIOR, Rate, RateKind, Score, Status, Variant

if TYPE_CHECKING:
    from rdbench.engine.plan import PlannedClip
    from rdbench.engine.progress import Progress
    from rdbench.rate.trace import Trace

MILLISECONDS = "ms"
RATES = f"{Kind.RATE}/"


# Kinds that one payload has beside its headline, and the models under which bits are counted.
_TOGETHER = {RateKind.PAYLOAD: (RateKind.PAYLOAD, RateKind.CONTAINER)}
_MODELS = {RateKind.KL: KL_PRIOR}

ClipStepId = tuple[str, str, Variant, str]


class Writer(Protocol):
    """What takes rows and traces: the writer of a folder, or lists that travel to it."""

    def append(self, rows: Iterable[Row]) -> None:
        """Takes rows."""

    def trace(self, row: Row, trace: Trace) -> None:
        """Takes a trace and the row that stands for it."""

    def when_written(self, tell: Callable[[], None]) -> None:
        """Calls `tell` once the rows appended so far are safe."""


class Ledger:
    """Rows of one run.

    metrics: by domain. done: keys of the units that the store has. kept: audio files by unit key.
    keep_audio: whether the audio of every step is asked for too, and frames: traces along frames.
    """

    def __init__(
        self,
        writer: Writer,
        keys: UnitKeys,
        metrics: Mapping[str, Sequence[Metric]],
        done: set[str],
        progress: Progress,
        *,
        kept: Mapping[str, audio.Kept] | None = None,
        keep_audio: bool = False,
        frames: bool = False,
    ) -> None:
        self._frames = frames
        self._kept = kept or {}
        self.keeps_audio = keep_audio
        self._writer = writer
        self._keys = keys
        self._metrics = metrics
        self._done = done
        self._progress = progress
        self._open: dict[ClipStepId, set[str]] = {}
        self.failed = 0
        self.written = 0

    def missing(self, step: Step, clip: PlannedClip) -> set[str]:
        """The quantities of one step that the store has not."""
        traces = [f"{TRACES}{axis}" for axis in step.axes(frames=self._frames)]
        wanted = [*quantities(step, self._metrics[clip.clip.domain]), *traces]
        keys = self._keys.of_step(step, clip, wanted)
        missing = {what for what, key in zip(wanted, keys, strict=True) if key not in self._done}
        if self.keeps_audio and self.audio_key(step, clip) not in self._kept:
            missing.add(AUDIO)
        return missing

    def open_step(self, step: Step, clip: PlannedClip) -> bool:
        """Notes what is missing of a step; False where nothing is."""
        missing = self.missing(step, clip)
        if missing:
            self._open[_id(step, clip)] = missing
        return bool(missing)

    def reopen(self, clip: PlannedClip, wanted: Mapping[StepId, frozenset[str]]) -> None:
        """Notes as missing what another process's ledger wants of a clip."""
        for step, asked in wanted.items():
            self._open[*step, clip.clip.name] = set(asked)

    def wanted(self, steps: Iterable[Step], clip: PlannedClip) -> dict[StepId, frozenset[str]]:
        """What is open of a clip, by step."""
        missing = {step.id: self._open.get(_id(step, clip), set()) for step in steps}
        return {step: frozenset(asked) for step, asked in missing.items() if asked}

    def take(self, rows: Sequence[Row]) -> None:
        """Writes the rows that another process's ledger made of what was open in this one."""
        self._writer.append(rows)
        self.written += len(rows)
        self.failed += sum(row.status is Status.FAILED for row in rows)
        for row in rows:
            if row.system:
                what = row.key if row.kind is Kind.METRIC else f"{row.kind}/{row.key}"
                self._finish((row.system, row.point, Variant(row.variant), row.clip), what)

    def wants(
        self,
        step: Step,
        clip: PlannedClip,
        what: str | None = None,
    ) -> bool:
        """Whether a step (or one quantity of it) is still open."""
        missing = self._open.get(_id(step, clip), set())
        return bool(missing) if what is None else what in missing

    def axes(self, steps: Iterable[Step], clips: Sequence[PlannedClip]) -> tuple[str, ...]:
        """Along what the rates of some steps and clips are to be traced."""
        pairs = [(step, clip) for step in steps for clip in clips]
        return tuple(
            axis for axis in AXES if any(self.wants(*pair, f"{TRACES}{axis}") for pair in pairs)
        )

    def wants_rates(self, step: Step, clip: PlannedClip) -> bool:
        """Whether the rates of a step are to be written; those of no headline always are."""
        missing = self._open.get(_id(step, clip), set())
        return step.rate_kind is None or any(what.startswith(RATES) for what in missing)

    def kept(self, step: Step, clip: PlannedClip) -> audio.Kept | None:
        """The kept audio of a step of which nothing but scores is missing, where it can give them.

        A file that was clipped cannot.
        """
        missing = self._open.get(_id(step, clip), set())
        scores = {metric.key for metric in self._metrics[clip.clip.domain]}
        found = self._kept.get(self.audio_key(step, clip)) if missing <= scores else None
        return found if found and found.exact else None

    def kept_of(self, clip: PlannedClip, steps: Iterable[Step]) -> dict[str, audio.Kept]:
        """The files that are kept of a clip and some steps, by unit key."""
        keys = [self.reference_key(clip), *(self.audio_key(step, clip) for step in steps)]
        return {key: self._kept[key] for key in keys if key in self._kept}

    def audio_key(self, step: Step, clip: PlannedClip) -> str:
        """The key of a step's kept audio."""
        return self._keys.key(step, clip, AUDIO)

    def wants_reference(self, clip: PlannedClip) -> bool:
        """Whether the reference is to be kept, and is not."""
        return self.keeps_audio and self.reference_key(clip) not in self._kept

    def reference_key(self, clip: PlannedClip) -> str:
        """The key of a clip's kept reference."""
        return self._keys.reference_key(clip)

    def rates(
        self,
        step: Step,
        clip: PlannedClip,
        rates: Iterable[Rate],
    ) -> None:
        """Writes the rates of one clip, all kinds together."""
        rows = []
        for rate in rates:
            what = f"{Kind.RATE}/{rate.kind}"
            score = Score(rate.bits, rate.status, rate.reason)
            rows.append(
                self._row(
                    step, clip, what, score, seconds=rate.seconds, unit="bit", backend=rate.model
                )
            )
        self._write(rows, _id(step, clip), RATES)

    def metric(
        self,
        step: Step,
        clip: PlannedClip,
        metric: Metric,
        score: Score,
        seconds: float,
        *,
        note: str = "",
    ) -> None:
        """Writes one score; `note` is the reason of one that is ok, where there is one."""
        if note and score.status is Status.OK:
            score = Score(score.value, score.status, note)
        row = self._row(
            step,
            clip,
            metric.key,
            score,
            seconds=seconds,
            unit=metric.definition.unit,
            backend=metric.backend.name,
        )
        self._write([row], _id(step, clip), metric.key)

    def delay(
        self,
        step: Step,
        clip: PlannedClip,
        score: Score,
        seconds: float,
    ) -> None:
        """Writes the residual delay, in milliseconds."""
        row = self._row(
            step,
            clip,
            RESIDUAL_DELAY,
            score,
            seconds=seconds,
            unit=MILLISECONDS,
            backend="cross-correlation",
        )
        self._write([row], _id(step, clip), RESIDUAL_DELAY)

    def traces(
        self, step: Step, clip: PlannedClip, traces: Iterable[Trace], seconds: float
    ) -> None:
        """Writes those traces of a step that are open; the value of a row is the sum."""
        for trace in traces:
            what = f"{TRACES}{trace.axis}"
            if self.wants(step, clip, what):
                total = Score(math.fsum(trace.bits))
                row = self._row(step, clip, what, total, seconds=seconds, unit="bit", backend="")
                self.take_trace(row, trace)

    def take_trace(self, row: Row, trace: Trace) -> None:
        """Writes a trace and its row, which another process's ledger may have made."""
        self._writer.trace(row, trace)
        self.written += 1
        opened = (row.system, row.point, Variant(row.variant), row.clip)
        self._finish(opened, f"{TRACES}{trace.axis}")

    def audio(self, step: Step, clip: PlannedClip, peak: float, seconds: float) -> None:
        """Writes that the audio of a step was kept."""
        row = self._row(
            step, clip, AUDIO, Score(peak), seconds=seconds, unit=audio.UNIT, backend=""
        )
        self._write([row], _id(step, clip), AUDIO)

    def audio_lost(self, step: Step, clip: PlannedClip) -> None:
        """Notes that there is no audio to keep: no row says so, and the next run tries again."""
        self._write([], _id(step, clip), AUDIO)

    def reference(self, clip: PlannedClip, peak: float, seconds: float) -> None:
        """Writes that a clip's reference was kept."""
        row = Row(
            unit_key=self.reference_key(clip),
            system="",
            curve="",
            point="",
            variant="",
            clip=clip.clip.name,
            domain=clip.clip.domain,
            group=clip.clip.group,
            seconds=seconds,
            kind=Kind.AUDIO,
            key=audio.KEY,
            value=peak,
            unit=audio.UNIT,
            backend="",
            status=Status.OK,
            reason="",
        )
        self._writer.append([row])
        self.written += 1

    def fail_step(
        self,
        step: Step,
        clip: PlannedClip,
        reason: str,
        seconds: float = 0.0,
        *,
        only: Set[str] | None = None,
    ) -> None:
        """Writes a failed row for all (or `only` some) that is still open of a step."""
        score = Score.failed(reason)
        by_key = {metric.key: metric for metric in self._metrics[clip.clip.domain]}
        missing = self._open.get(_id(step, clip), set())
        for what in sorted(missing if only is None else missing & only):
            if what.startswith(RATES):
                headline = RateKind(what.removeprefix(RATES))
                failed = [
                    Rate(kind, math.nan, seconds, _MODELS.get(kind, ""), score.status, reason)
                    for kind in _TOGETHER.get(headline, (headline,))
                ]
                self.rates(step, clip, failed)
            elif what == RESIDUAL_DELAY:
                self.delay(step, clip, score, seconds)
            elif what == AUDIO:
                self.audio_lost(step, clip)
            elif what.startswith(TRACES):
                self._finish(_id(step, clip), what)
            else:
                self.metric(step, clip, by_key[what], score, seconds)

    def close(self, steps: Iterable[Step], clips: Sequence[PlannedClip]) -> None:
        """Writes a failed row for whatever is still open: no unit ends without one."""
        by_id = {step.id: step for step in steps}
        by_name = {clip.clip.name: clip for clip in clips}
        for system, point, variant, clip in list(self._open):
            step = by_id[system, point, variant]
            self.fail_step(step, by_name[clip], f"{step}: no result came back")

    def _row(
        self,
        step: Step,
        clip: PlannedClip,
        what: str,
        score: Score,
        *,
        seconds: float,
        unit: str,
        backend: str,
    ) -> Row:
        kind, _, key = what.partition("/") if "/" in what else (Kind.METRIC.value, "", what)
        if score.status is Status.OK and not math.isfinite(score.value):
            score = Score.failed(f"{key} came out as {score.value}, which is no measurement")
        return Row(
            unit_key=self._keys.key(step, clip, what),
            system=step.system.name,
            curve=step.system.spec.curve,
            point=step.point.name,
            variant=step.variant.value,
            clip=clip.clip.name,
            domain=clip.clip.domain,
            group=clip.clip.group,
            seconds=seconds,
            kind=Kind(kind),
            key=key,
            value=score.value,
            unit=unit,
            backend=backend,
            status=score.status,
            reason=score.reason,
        )

    def _write(self, rows: Sequence[Row], opened: ClipStepId, finished: str) -> None:
        self._writer.append(rows)
        self.written += len(rows)
        self.failed += sum(row.status is Status.FAILED for row in rows)
        self._finish(opened, finished)

    def _finish(self, opened: ClipStepId, finished: str) -> None:
        missing = self._open.get(opened)
        if missing is None:
            return
        missing -= {what for what in missing if what == finished or _is_rate(what, finished)}
        if not missing:
            del self._open[opened]
            self._writer.when_written(self._progress.advance)


def _id(step: Step, clip: PlannedClip) -> ClipStepId:
    return *step.id, clip.clip.name


def _is_rate(what: str, finished: str) -> bool:
    # All kinds of rate of a step are written together, so that the headline stands for them.
    return finished.startswith(RATES) and what.startswith(RATES)
