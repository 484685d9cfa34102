"""The plan of a run: every unit that its passes ask for, and what a folder has of them.

Keys, resume, the manifest's plan, what is retired and re-labelled, and shards are computed from it
and nowhere else. A unit is one quantity of one subject (a clip, or a set of clips) in one step, or
of a clip's reference. Units are listed by subject, so that a million of them need little memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rdbench.engine.measure.open import OpenUnits
from rdbench.engine.passes.base import Passes, SetUnits
from rdbench.store.schema import BESIDE, Kind, Labels, Quantity

if TYPE_CHECKING:
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.keys import Keys
    from rdbench.engine.plan.systems import Step, StepId, System
    from rdbench.store.reader import Index


@dataclass(frozen=True)
class Unit:
    """One quantity of one subject.

    step: None for a reference. clip: None for a set of clips, which `clips` then lists. asked:
    whether it is to be measured, or may only stay where an earlier start measured it.
    """

    step: Step | None
    clip: PlannedClip | None
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
            variant=step.variant.name if step else "",
            clip=self.clip.name if self.clip else "",
            domain=self.domain,
            group=self.clip.clip.group if self.clip else "",
        )


@dataclass
class Review:
    """What a folder has of a plan.

    open: what is to be measured of clips and references. sets: units of sets with something to be
    measured, and those quantities. asked, done: subjects in steps, for the progress. relabel: by
    key, rows that say other names. stale: keys of rows that nobody asks for any more, by the system
    in their rows ("" for references); kept: of those, good rows of systems that cannot be built.
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
        passes: Passes,
        keys: Keys,
    ) -> None:
        self.systems = systems
        self.clips = clips
        self.passes = passes
        self._keys = keys
        self.steps: dict[StepId, Step] = {s.id: s for system in systems for s in system.steps}
        self.by_name = {clip.name: clip for clip in clips}

    def units(self) -> Iterator[list[Unit]]:
        """Every unit, those of one subject together."""
        for clip in self.clips:
            asked = self._quantities("of_reference", clip.domain)
            more = self._quantities("reference_may_have", clip.domain)
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
                for one in self.passes.all:
                    yield from one.of_set(step, clips)

    def units_of_set(self, found: SetUnits) -> list[Unit]:
        """The units of one set."""
        quantities = list(dict.fromkeys([*found.quantities, *found.may_stay]))
        keys = self._keys.of_set(found.step, found.clips, quantities)
        asked = set(found.quantities)
        return [
            Unit(found.step, None, found.domain, quantity, key, quantity in asked)
            for quantity, key in zip(quantities, keys, strict=True)
        ]

    def key(self, step: StepId | None, clip: str, quantity: Quantity) -> str:
        """The key of a unit of a clip or a reference."""
        found = self.steps[step] if step else None
        (key,) = self._keys.of_clip(found, self.by_name[clip], [quantity])
        return key

    def review(self, index: Index) -> Review:
        """What is done, open, stale and called otherwise, of all that `index` knows."""
        review, done = Review(), index.done()
        valid: list[str] = []
        kept = _good_rows(index, {s.name for s in self.systems if s.codec is None})
        for units in self.units():
            places = index.places([unit.key for unit in units])
            missing = set()
            for unit, place in zip(units, places.tolist(), strict=True):
                if place >= 0:
                    valid.append(unit.key)
                    if index.labels(place) != unit.labels:
                        review.relabel[unit.key] = unit.labels
                if unit.asked and (place < 0 or not done[place]) and not kept.has(unit):
                    missing.add(unit.quantity)
            self._note(review, units, missing)
        for system, keys in index.beyond(valid).items():
            if good := keys & kept.keys(system):
                review.kept[system] = len(good)
            if rest := keys - kept.keys(system):
                review.stale[system] = rest
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

    def _note(self, review: Review, units: Sequence[Unit], missing: set[Quantity]) -> None:
        first = units[0] if units else None
        if first is None:
            return
        if first.clip is None:
            return self._note_set(review, units, missing)
        if first.step is not None and any(unit.asked for unit in units):
            review.asked += 1
            review.done += not missing
        review.open.add(first.step.id if first.step else None, first.clip.name, missing)

    def _domains(self, system: System) -> list[str]:
        return [d for d in dict.fromkeys(c.domain for c in self.clips) if system.takes(d)]

    def _quantities(self, ask: str, *about: Any) -> list[Quantity]:
        return [quantity for one in self.passes.all for quantity in getattr(one, ask)(*about)]
