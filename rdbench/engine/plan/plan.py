"""The plan of a run: every unit that its families ask for, and what a folder has of them.

Keys, resume, the manifest's plan, what is retired and re-labelled, and shards are computed from it
and nowhere else. A unit is one quantity of one subject (a clip, or a set of clips) in one step, or
of a clip's reference. Units are listed by subject, so that a million of them need little memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rdbench.engine.plan.families import Families, Family, SetUnits
from rdbench.engine.plan.open import OpenUnits
from rdbench.store.schema import BESIDE, LABELS, Labels, Quantity

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.keys import Keys
    from rdbench.engine.plan.systems import Step, StepId, System
    from rdbench.store.reader import Index


@dataclass(frozen=True)
class Unit:
    """One quantity of one subject.

    step: None for a reference. clip: None for a set of clips; `of` then lists them. asked: whether
    it is to be measured, or may only stay where an earlier start measured it.
    """

    step: Step | None
    clip: PlannedClip | None
    of: SetUnits | None
    domain: str
    quantity: Quantity
    key: str
    asked: bool

    @property
    def labels(self) -> Labels:
        """What its row says of it beside the value."""
        step = self.step
        return Labels(
            system=step.system.name if step else "",
            curve=step.system.spec.curve if step else "",
            point=step.point.name if step else "",
            variant=step.decoded if step else "",
            clip=self.clip.name if self.clip else "",
            domain=self.domain,
            group=self.clip.clip.group if self.clip else "",
        )


@dataclass
class Review:
    """What a folder has of a plan.

    open: what is to be measured of clips and references. sets: units of sets with something to be
    measured, and those quantities. asked, done: clips in steps, for the progress. relabel: by key,
    rows that say other names. stale: keys of rows that nobody asks for any more, by the system in
    their rows ("" for references). kept: how many good rows a system has that cannot be built.
    """

    open: OpenUnits = field(default_factory=OpenUnits)
    sets: list[tuple[SetUnits, tuple[Quantity, ...]]] = field(default_factory=list)
    asked: int = 0
    done: int = 0
    relabel: dict[str, Labels] = field(default_factory=dict)
    stale: dict[str, set[str]] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)


class Plan:
    """The units of a run."""

    def __init__(
        self,
        systems: Sequence[System],
        clips: Sequence[PlannedClip],
        families: Families[Family],
        keys: Keys,
    ) -> None:
        self.systems = systems
        self.clips = clips
        self.families = families
        self._keys = keys
        self.steps: dict[StepId, Step] = {s.id: s for system in systems for s in system.steps}
        self.by_name = {clip.name: clip for clip in clips}

    def units(self) -> Iterator[list[Unit]]:
        """Every unit, those of one subject together."""
        for clip in self.clips:
            asked = [q for one in self.families.all for q in one.of_reference(clip.domain)]
            more = [q for one in self.families.all for q in one.reference_may_have(clip.domain)]
            yield self._of_clip(None, clip, asked, more)
        for system in self.systems:
            for step in system.steps:
                by_domain = {d: self._of_step(step, d) for d in self._domains(system)}
                for clip in self.clips:
                    if clip.domain in by_domain:
                        yield self._of_clip(step, clip, *by_domain[clip.domain])
        for found in self.sets():
            yield self.units_of_set(found)

    def sets(self) -> Iterator[SetUnits]:
        """Every set of clips of which something is asked, or may be there."""
        for system in self.systems:
            clips = [clip for clip in self.clips if system.takes(clip.domain)]
            for step in system.steps:
                for one in self.families.of_step(step):
                    yield from one.of_set(step, clips)

    def units_of_set(self, found: SetUnits) -> list[Unit]:
        """The units of one set."""
        quantities = list(dict.fromkeys([*found.quantities, *found.may_stay]))
        keys = self._keys.of_set(found.step, found.clips, quantities)
        asked = set(found.quantities)
        return [
            Unit(found.step, None, found, found.domain, quantity, key, quantity in asked)
            for quantity, key in zip(quantities, keys, strict=True)
        ]

    def key(self, step: StepId | None, clip: str, quantity: Quantity) -> str:
        """The key of a unit of a clip or a reference."""
        found = self.steps[step] if step else None
        (key,) = self._keys.of_clip(found, self.by_name[clip], [quantity])
        return key

    def review(
        self,
        index: Index,
        *,
        lost: Set[str] = frozenset(),
        again: Callable[[Quantity], bool] = lambda _: False,
    ) -> Review:
        """What is done, open, stale and called otherwise, of all that `index` knows.

        lost: keys of rows whose file or array is gone. again: which quantities are measured anew.
        """
        review, done = Review(), index.done()
        seen = np.zeros(len(index), dtype=bool)
        kept = _good_rows(index, {system.name for system in self.systems if system.card})
        names = _Names(index)
        for subjects in _in_chunks(self.units()):
            places = index.places([unit.key for units in subjects for unit in units])
            seen[places[places >= 0]] = True
            start = 0
            for units in subjects:
                own = places[start : start + len(units)]
                start += len(units)
                there = own >= 0
                there[there] = done[own[there]]
                missing = [
                    unit.quantity
                    for unit, found in zip(units, there.tolist(), strict=True)
                    if unit.asked
                    and (not found or unit.key in lost or again(unit.quantity))
                    and _place(unit.labels, unit.quantity.kind, unit.quantity.key) not in kept
                ]
                for place in names.differing(units[0].labels, own[own >= 0]):
                    key = units[int(np.flatnonzero(own == place)[0])].key
                    review.relabel[key] = units[0].labels
                self._note(review, units, missing)
        self._note_stale(review, index, ~seen)
        return review

    def manifest(self) -> list[dict[str, Any]]:
        """The plan as the manifest keeps it: by step and domain, the rows that there shall be."""
        entries = []
        for system in self.systems:
            for step in system.steps:
                for domain in self._domains(system):
                    asked, _ = self._of_step(step, domain)
                    entries.append(_entry(step, domain, each=asked))
        for found in self.sets():
            entries.append(_entry(found.step, found.domain, whole=found.quantities))
        return [entry for entry in entries if entry["each"] or entry["whole"]]

    def _note(self, review: Review, units: Sequence[Unit], missing: Sequence[Quantity]) -> None:
        first = units[0]
        if first.of is not None:
            if missing:
                review.sets.append((first.of, tuple(missing)))
                if first.of.feature is not None and not first.of.keep:
                    self._want_features(review, first.of, first.of.feature)
            return
        assert first.clip is not None
        if first.step is not None and any(unit.asked for unit in units):
            review.asked += 1
            review.done += not missing
        review.open.add(first.step.id if first.step else None, first.clip.name, missing)

    @staticmethod
    def _want_features(review: Review, units: SetUnits, feature: Quantity) -> None:
        """What a set's values are made of and nobody keeps is made again for each of its clips."""
        for clip in units.clips:
            if not review.open.wanted(units.step.id, clip.name):
                review.done -= 1
            review.open.add(units.step.id, clip.name, [feature])

    def _note_stale(self, review: Review, index: Index, stale: npt.NDArray[np.bool_]) -> None:
        """Sorts what nobody asks for by system; good rows of systems that cannot be built stay."""
        unbuilt = {system.name for system in self.systems if system.card}
        table = index.table.filter(pa.array(stale))
        done = index.done()[stale]
        rows = zip(
            table["unit_key"].to_pylist(), table["system"].to_pylist(), done.tolist(), strict=True
        )
        for key, system, good in rows:
            if system in unbuilt and good:
                review.kept[system] = review.kept.get(system, 0) + 1
            else:
                review.stale.setdefault(system, set()).add(key)

    def _of_clip(
        self,
        step: Step | None,
        clip: PlannedClip,
        asked: Sequence[Quantity],
        more: Sequence[Quantity],
    ) -> list[Unit]:
        quantities = list(dict.fromkeys([*asked, *more]))
        keys = self._keys.of_clip(step, clip, quantities)
        wanted = set(asked)
        return [
            Unit(step, clip, None, clip.domain, quantity, key, quantity in wanted)
            for quantity, key in zip(quantities, keys, strict=True)
        ]

    def _of_step(self, step: Step, domain: str) -> tuple[list[Quantity], list[Quantity]]:
        """What is asked of a clip of `domain` in a step, and what else it may have."""
        families = self.families.of_step(step)
        asked = [q for one in families for q in one.of_clip(step, domain)]
        return asked, [q for one in families for q in one.may_stay(step, domain)]

    def _domains(self, system: System) -> list[str]:
        return [d for d in dict.fromkeys(c.domain for c in self.clips) if system.takes(d)]


class _Names:
    """The labels of an index's rows, as numbers that are quick to compare."""

    def __init__(self, index: Index) -> None:
        self._codes: list[npt.NDArray[np.int64]] = []
        self._known: list[dict[str, int]] = []
        for column in LABELS:
            values = index.table[column].combine_chunks()
            encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
            self._codes.append(encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64))
            words = encoded.dictionary.to_pylist()
            self._known.append({word: number for number, word in enumerate(words)})

    def differing(self, labels: Labels, places: npt.NDArray[np.int64]) -> list[int]:
        """Those of some rows that say other labels."""
        wrong = np.zeros(len(places), dtype=bool)
        for column, codes, known in zip(LABELS, self._codes, self._known, strict=True):
            wrong |= codes[places] != known.get(getattr(labels, column), -1)
        return [int(place) for place in places[wrong]]


def _good_rows(index: Index, systems: Set[str]) -> set[tuple[str, ...]]:
    """What has a value already, of systems that cannot be built now."""
    if not systems:
        return set()
    wanted = pc.is_in(index.table["system"].cast("string"), pa.array(sorted(systems)))
    table = index.table.filter(pc.and_(wanted, pa.array(index.done())))
    return {
        _place(Labels(**{name: row[name] for name in LABELS}), row["kind"], row["key"])
        for row in table.to_pylist()
    }


def _place(labels: Labels, kind: str, key: str) -> tuple[str, ...]:
    """Names a row whatever it was measured with; a clip is of one domain, whatever that is."""
    subject = ("", labels.clip) if labels.clip else (labels.domain, "")
    return (labels.system, labels.point, labels.variant, *subject, str(kind), key)


def _in_chunks(subjects: Iterable[list[Unit]], units: int = 65_536) -> Iterator[list[list[Unit]]]:
    """Subjects together, some `units` of them at a time; those without a unit are left out."""
    chunk: list[list[Unit]] = []
    count = 0
    for subject in subjects:
        if subject:
            chunk.append(subject)
            count += len(subject)
        if count >= units:
            yield chunk
            chunk, count = [], 0
    if chunk:
        yield chunk


def _entry(
    step: Step,
    domain: str,
    *,
    each: Sequence[Quantity] = (),
    whole: Sequence[Quantity] = (),
) -> dict[str, Any]:
    """An entry of the manifest's plan; what lies beside the measurements is not in it."""

    def listed(quantities: Sequence[Quantity]) -> list[list[str]]:
        return [[q.kind.value, q.key, q.model] for q in quantities if q.kind not in BESIDE]

    return {
        "system": step.system.name,
        "point": step.point.name,
        "variant": step.decoded,
        "domain": domain,
        "each": listed(each),
        "whole": listed(whole),
    }
