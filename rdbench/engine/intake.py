"""Takes what processes measure, and makes rows of it: the only part of the engine that writes.

It knows what is open, never drops a result without a row, moves rows that nobody asks for any more
out of the way only when something stands in their place, and keeps, until a set of clips is
complete, what its values are made of.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.engine.measure.shard import ClipWork
from rdbench.engine.measure.work import Result, SetWork
from rdbench.engine.passes.audio import AUDIO
from rdbench.engine.plan.families import SetUnits
from rdbench.store.atomic import changing, remove
from rdbench.store.features import feature_content
from rdbench.store.manifest import read_manifest
from rdbench.store.schema import BESIDE, Kind, Labels, Quantity, Row
from rdbench.types import Score, Status

if TYPE_CHECKING:
    from rdbench.engine.executors.base import Loss, Provenance
    from rdbench.engine.measure.shard import Shard
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.plan import Plan, Review
    from rdbench.engine.plan.systems import StepId
    from rdbench.engine.progress import Progress
    from rdbench.store.audio import Kept
    from rdbench.store.writer import RunWriter

SCRATCH = "scratch"
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
"""A folder of a run for what is needed until its end alone."""
SHOWN = 3
"""How many clips a line names."""


class RunIntake:
    """The intake of one run (`rdbench.engine.executors.base.Intake`).

    known: keys of rows that the folder has. provenance: of the rows that are written now and have
    no other, as the manifest names it. written: how many that were.
    """

    def __init__(
        self,
        plan: Plan,
        review: Review,
        writer: RunWriter,
        progress: Progress,
        *,
        known: Iterable[str] = (),
        provenance: str = "",
    ) -> None:
        self.written = 0
        self._failed = 0
        self._plan = plan
        self._open = review.open
        self._stale = review.stale
        self._writer = writer
        self._progress = progress
        self._known = set(known)
        self._provenance = provenance
        self._provenances = {provenance}
        self.sets = [_OpenSet(units, set(quantities)) for units, quantities in review.sets]
        self._transient = {
            one.units.feature for one in self.sets if one.units.feature and not one.units.keep
        }
        self._scratch = _Scratch(writer.folder)
        self._failures: dict[tuple[StepId | None, str, Quantity], str] = {}
        self._notes: dict[str, list[str]] = {}

    # -- what executors call

    def take(self, results: Sequence[Result], *, provenance: Provenance | None = None) -> None:
        """Writes results, and finishes what they finish."""
        name = self._named(provenance) if provenance else self._provenance
        for result in results:
            if result.clip:
                self._take_of_clip(result, name)
            else:
                self._take_of_set(result, name)

    def rest(self, shard: Shard) -> Shard | None:
        """What is still open of a shard; None where nothing is."""
        works = []
        for work in shard.clips:
            wanted = {
                step: left
                for step, asked in work.wanted.items()
                if (left := asked & self._open.wanted(step, work.clip.name))
            }
            if wanted:
                works.append(replace(work, wanted=wanted))
        sets = [
            replace(one, quantities=some)
            for one in shard.sets
            if (some := tuple(q for q in one.quantities if q in self.sets[one.number].open))
        ]
        if not works and not sets:
            return None
        return replace(shard, clips=tuple(works), sets=tuple(sets))

    def give_up(self, shard: Shard, loss: Loss) -> None:
        """Takes everything open of a shard as failed."""
        for work in shard.clips:
            for step, quantities in work.wanted.items():
                where = self._plan.steps[step] if step else "the reference"
                score = Score.failed(f"{where}: {loss.reason}")
                self.take(
                    [
                        Result(step, work.clip.name, work.clip.domain, quantity, score, 0.0)
                        for quantity in sorted(quantities)
                    ]
                )
        for one in shard.sets:
            score = Score.failed(f"{self._plan.steps[one.step]}: {loss.reason}")
            self.take(one.failed(score))

    def at(self, system: str, point: str) -> None:
        """Tells the progress."""
        self._progress.at(system, point)

    def at_work(self, workers: int, shards: int) -> None:
        """Tells the progress."""
        self._progress.at_work(workers, shards, self._failed)

    def say(self, message: str) -> None:
        """Tells the progress."""
        self._progress.say(message)

    def flush(self) -> None:
        """Writes rows that have waited."""
        self._writer.flush_if_due()

    # -- what the run calls

    def retire_dropped(self) -> None:
        """Moves the rows of systems that the spec no longer has out of the way."""
        for system in set(self._stale) - {one.name for one in self._plan.systems} - {""}:
            self._retire(system)

    def fail_what_cannot_be_run(self) -> None:
        """Writes why nothing is measured of unbuilt systems and of clips that cannot be read."""
        for step, clip, quantities in self._open:
            system = self._plan.steps[step].system if step else None
            planned = self._plan.by_name[clip]
            reason = system.failure if system and system.codec is None else planned.failure
            if reason:
                score = Score.failed(reason)
                self.take(
                    [Result(step, clip, planned.domain, q, score, 0.0) for q in sorted(quantities)]
                )
        for number, one in enumerate(self.sets):
            system = one.units.step.system
            if system.codec is None:
                self.take(self.set_work(number).failed(Score.failed(system.failure)))

    def clip_work(self, clip: PlannedClip, kept: Mapping[str, Kept]) -> ClipWork | None:
        """What is open of a clip, for a process; None where nothing is.

        kept: files of audio that the folder has, by unit key.
        """
        found = {step: self._open.wanted(step, clip.name) for step in (None, *self._plan.steps)}
        wanted = {step: quantities for step, quantities in found.items() if quantities}
        if not wanted:
            return None
        names = {
            step: self._plan.key(step, clip.name, AUDIO)
            for step, quantities in wanted.items()
            if kept or AUDIO in quantities
        }
        there = {step: kept[key] for step, key in names.items() if step and key in kept}
        return ClipWork(clip, wanted, there, names)

    def set_work(self, number: int) -> SetWork:
        """What a process needs for the units of a set, with the arrays of its clips."""
        one = self.sets[number]
        units, step, feature = one.units, one.units.step.id, one.units.feature
        quantities = tuple(q for q in units.quantities if q in one.open)
        owner = self._plan.families.owner(quantities[0]).name
        work = SetWork(number, owner, step, units.domain, units.clips, quantities)
        if feature is None:
            return work
        arrays = self._arrays(step, units)
        failures = self._failed_features(step, units, feature, arrays)
        references: Mapping[str, Any] = {}
        if units.keep and feature in self._plan.families.owner(feature).of_reference(units.domain):
            references = self._arrays(None, units)
            failures = self._failed_features(None, units, feature, references) | failures
        return replace(work, arrays=arrays, references=references, failures=failures)

    def close(self) -> None:
        """Writes a failed row for whatever is still open: no unit ends without one."""
        for step, clip, quantities in self._open:
            where = self._plan.steps[step] if step else "the reference"
            score = Score.failed(f"{where}: no result came back")
            domain = self._plan.by_name[clip].domain
            self.take([Result(step, clip, domain, q, score, 0.0) for q in sorted(quantities)])
        for number, one in enumerate(self.sets):
            if one.open:
                score = Score.failed(f"{self._plan.steps[one.units.step.id]}: no result came back")
                self.take(self.set_work(number).failed(score))

    def finish(self) -> None:
        """Moves what nobody asks for any more out of the way.

        Says which clips of those that were measured now are worth a look.
        """
        for key, clips in self._notes.items():
            more = ", …" if len(clips) > SHOWN else ""
            count = f"{len(clips)} clip{'s' * (len(clips) != 1)}"
            self.say(f"{key}: {count} ({', '.join(sorted(clips)[:SHOWN])}{more})")
        for system in list(self._stale):
            self._retire(system)

    def clear(self) -> None:
        """Leaves nothing in the folder that only this start needed, however it ends."""
        self._scratch.clear()

    # -- rows

    def _named(self, provenance: Provenance) -> str:
        """The name of a provenance, which the manifest tells of before a row names it."""
        name, told = provenance
        if name not in self._provenances:
            manifest = read_manifest(self._writer.folder)
            self._writer.write_manifest({**manifest, "provenance": {name: told}})
            self._provenances.add(name)
        return name

    def _take_of_clip(self, result: Result, provenance: str) -> None:
        quantity = result.quantity
        asked = self._open.close(result.step, result.clip, quantity)
        key = self._plan.key(result.step, result.clip, quantity)
        if not asked and key in self._known:
            return
        if quantity.kind is Kind.NOTE:
            self._notes.setdefault(quantity.key, []).append(result.clip)
        score = self._sound(result)
        if quantity.kind in BESIDE and score.status is Status.FAILED:
            self._failures[result.step, result.clip, quantity] = score.reason
        elif quantity in self._transient:
            self._scratch.put(result.step, result.clip, quantity, result.attachment)
        else:
            self._write(result, score, key, self._labels(result), provenance)
        subject_done = asked and not self._open.wanted(result.step, result.clip)
        if subject_done and result.step is not None:
            self._writer.when_written(self._progress.advance)

    def _take_of_set(self, result: Result, provenance: str) -> None:
        one = self.sets[result.set_number]
        if result.quantity not in one.open:
            return
        one.open.discard(result.quantity)
        score = self._sound(result)
        if result.quantity.kind in BESIDE and score.status is Status.FAILED:
            return  # the row of the value says why there is nothing to lie beside it
        units = self._plan.units_of_set(one.units)
        (unit,) = [unit for unit in units if unit.quantity == result.quantity]
        self._write(result, score, unit.key, unit.labels, provenance)

    def _sound(self, result: Result) -> Score:
        """The score of a result; a failure where it is no measurement, or cannot be kept."""
        quantity, score = result.quantity, result.score
        if score.status is not Status.OK:
            return score
        if not math.isfinite(score.value):
            return Score.failed(
                f"{quantity.key} came out as {score.value}, which is no measurement"
            )
        if quantity.kind is Kind.FEATURE and quantity not in self._transient:
            try:
                feature_content(result.attachment)
            except ValueError as error:
                return Score.failed(f"{quantity.key}: {error}")
        return score

    def _write(
        self, result: Result, score: Score, key: str, labels: Labels, provenance: str
    ) -> None:
        if score.status is not Status.FAILED:
            self._retire(labels.system)
        columns = self._plan.families.owner(result.quantity).columns(result.quantity)
        row = Row(
            unit_key=key,
            system=labels.system,
            curve=labels.curve,
            point=labels.point,
            variant=labels.variant,
            clip=labels.clip,
            domain=labels.domain,
            group=labels.group,
            seconds=result.seconds,
            kind=result.quantity.kind,
            key=result.quantity.key,
            value=score.value,
            unit=columns.unit,
            backend=columns.backend,
            status=score.status,
            reason=score.reason,
            provenance=provenance,
        )
        self._known.add(key)
        self.written += 1
        self._failed += score.status is Status.FAILED
        if result.quantity.kind is Kind.TRACE and result.attachment is not None:
            self._writer.trace(row, result.attachment)
        elif result.quantity.kind is Kind.FEATURE and result.attachment is not None:
            self._writer.feature(row, result.attachment)
        else:
            self._writer.append([row])

    def _retire(self, system: str) -> None:
        """Moves the rows of a system that others now stand for out of the way."""
        if keys := self._stale.pop(system, None):
            self._writer.retire(keys)

    def _labels(self, result: Result) -> Labels:
        clip = self._plan.by_name[result.clip]
        step = self._plan.steps[result.step] if result.step else None
        return Labels(
            system=step.system.name if step else "",
            curve=step.system.spec.curve if step else "",
            point=step.point.name if step else "",
            variant=step.decoded if step else "",
            clip=clip.name,
            domain=clip.domain,
            group=clip.clip.group,
        )

    # -- sets

    def _arrays(self, step: StepId | None, units: SetUnits) -> Mapping[str, Any]:
        """By clip, what the values of a set are made of."""
        assert units.feature is not None
        if not units.keep:
            return self._scratch.get(step, units.feature, [clip.name for clip in units.clips])
        from rdbench.store.features import read_features

        self._writer.flush()
        keys = {self._plan.key(step, clip.name, units.feature): clip.name for clip in units.clips}
        found = read_features(self._writer.folder, units.feature, keys)
        return {keys[one.unit_key]: one.array for one in found}

    def _failed_features(
        self, step: StepId | None, units: SetUnits, feature: Quantity, there: Mapping[str, Any]
    ) -> dict[str, str]:
        """Why clips have no feature, those left out that can have none and have a row about it."""
        return {
            clip.name: self._failures.get((step, clip.name, feature), "it has no value")
            for clip in units.clips
            if clip.name not in there
            and self._plan.key(step, clip.name, feature) not in self._known
        }


@dataclass
class _OpenSet:
    """Units of a set, and which of them are open."""

    units: SetUnits
    open: set[Quantity]


class _Scratch:
    """Things by step, clip and quantity, in one file for each step and quantity."""

    def __init__(self, run: Path) -> None:
        self._run, self._folder = run, run / SCRATCH
        self._places: dict[tuple[StepId | None, str, Quantity], tuple[Path, int, int]] = {}
        self.clear()

    def put(self, step: StepId | None, clip: str, quantity: Quantity, thing: Any) -> None:
        """Keeps a thing; raises StoreError where that fails."""
        name = hashlib.sha256(repr((step, quantity)).encode()).hexdigest()[:32]
        path, content = self._folder / name, pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
        with (
            changing(path, self._run, make=True) as folder,
            os.fdopen(os.open(path.name, _APPEND, 0o600, dir_fd=folder), "ab") as file,
        ):
            self._places[step, clip, quantity] = (path, file.tell(), len(content))
            file.write(content)

    def get(self, step: StepId | None, quantity: Quantity, clips: Iterable[str]) -> dict[str, Any]:
        """What was kept of some clips."""
        found = {}
        for clip in clips:
            if place := self._places.get((step, clip, quantity)):
                path, start, length = place
                with path.open("rb") as file:
                    file.seek(start)
                    found[clip] = pickle.loads(file.read(length))
        return found

    def clear(self) -> None:
        """Forgets everything, and what a killed run has left."""
        self._places.clear()
        if self._folder.is_symlink():
            remove(self._folder, within=self._run)
        shutil.rmtree(self._folder, ignore_errors=True)
