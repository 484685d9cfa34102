"""What a pass is: a family of quantities, what it asks for, and how it measures them.

A pass asks for units of clips (`of_clip`, `of_reference`) and of sets of clips (`of_set`); the plan
(`rdbench.engine.plan.plan`) makes keys, resume, the manifest's plan and shards of what all passes
ask for. It measures in three places, which the shard's measuring (`rdbench.engine.measure`) calls:

    on_reference    the references of a batch
    on_encoded      what a codec made of a batch at one point
    on_decoded      what one step decodes to

and, for sets, `on_set`. A result goes to `Work.record` and becomes a row where the run is written.
A new family of quantities is a module with a pass, and its name in `rdbench.engine.run`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from rdbench.store.schema import Quantity
from rdbench.types import Score

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.engine.measure.batch import Batch
    from rdbench.engine.measure.code import Encoding
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.open import OpenUnits
    from rdbench.engine.plan.systems import Step, StepId
    from rdbench.types import AudioBatch


class Needs(IntEnum):
    """What a quantity of a clip is measured on."""

    REFERENCE = 0
    ENCODED = 1
    DECODED = 2


@dataclass(frozen=True)
class Columns:
    """What rows of a quantity say beside its value: its unit, and which program computed it."""

    unit: str
    backend: str = ""


@dataclass(frozen=True)
class Result:
    """One measured unit, on its way to the writer.

    step: None for what belongs to a reference. clip: "" for a set of clips. seconds: unpadded, of
    the clip. attachment: the trace or the array that belongs to the row, or what a set's value is
    made of and is not kept. set_number: of the `SetWork` that it is of.
    """

    step: StepId | None
    clip: str
    domain: str
    quantity: Quantity
    score: Score
    seconds: float
    attachment: Any = None
    set_number: int = -1


@dataclass(frozen=True)
class SetUnits:
    """Units of a set of clips in one step.

    domain: of the rows; "" where they belong to the whole step. clips: the set, in the order of
    names. feature: the quantity of each clip (and of its reference) that the values are made of;
    None where they are measured from the audio itself. keep: whether features stay in the run.
    alone: whether nothing else may run beside the measuring. may_stay: quantities that may be there
    from an earlier start, though nobody asks for them now.
    """

    step: Step
    domain: str
    clips: tuple[PlannedClip, ...]
    quantities: tuple[Quantity, ...]
    feature: Quantity | None = None
    keep: bool = False
    alone: bool = False
    may_stay: tuple[Quantity, ...] = ()


@dataclass(frozen=True)
class SetWork:
    """`SetUnits` on their way to a process, with the arrays that their values are made of.

    number: of the set in its run. owner: the pass. arrays, references: by clip, where the units
    have a feature; a clip that failed to have one is in `failures`, with the reason.
    """

    number: int
    owner: str
    step: StepId
    domain: str
    clips: tuple[PlannedClip, ...]
    quantities: tuple[Quantity, ...]
    arrays: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    def failed(self, score: Score) -> list[Result]:
        """A failure of each of its units."""
        return [
            Result(self.step, "", self.domain, quantity, score, 0.0, set_number=self.number)
            for quantity in self.quantities
        ]


@dataclass(frozen=True)
class Work:
    """Clips under one step: what is wanted of them, and where results go.

    step: None for references. clips: of one length, in the order of a batch; seconds: of each.
    note: what scores that are ok say as their reason.
    """

    step: Step | None
    clips: Sequence[PlannedClip]
    seconds: float
    open: OpenUnits
    deliver: Callable[[Sequence[Result]], None]
    note: str = ""

    def wanted(self, position: int) -> frozenset[Quantity]:
        """What is still open of one clip."""
        return self.open.wanted(self._step_id, self.clips[position].name)

    def wants(self, quantity: Quantity, position: int | None = None) -> bool:
        """Whether a quantity is open, of one clip or of any."""
        positions = range(len(self.clips)) if position is None else (position,)
        return any(
            self.open.wants(self._step_id, self.clips[index].name, quantity) for index in positions
        )

    def record(
        self,
        position: int,
        quantity: Quantity,
        score: Score,
        attachment: Any = None,
        *,
        seconds: float | None = None,
    ) -> None:
        """Delivers one result, where it is wanted; seconds: where not those of the work."""
        if self.open.close(self._step_id, self.clips[position].name, quantity):
            self.tell(position, quantity, score, attachment, seconds=seconds)

    def tell(
        self,
        position: int,
        quantity: Quantity,
        score: Score,
        attachment: Any = None,
        *,
        seconds: float | None = None,
    ) -> None:
        """Delivers a result that nobody asked for."""
        clip = self.clips[position]
        length = self.seconds if seconds is None else seconds
        self.deliver(
            [Result(self._step_id, clip.name, clip.domain, quantity, score, length, attachment)]
        )

    def fail(self, position: int, reason: str, only: Iterable[Quantity] | None = None) -> None:
        """Delivers a failure of all (or of some) that is open of one clip."""
        wanted = self.wanted(position)
        for quantity in sorted(wanted if only is None else wanted & set(only)):
            self.record(position, quantity, Score.failed(reason))

    def part(self, positions: Sequence[int]) -> Work:
        """The clips at some positions alone."""
        clips = [self.clips[position] for position in positions]
        return replace(self, clips=clips)

    @property
    def _step_id(self) -> StepId | None:
        return self.step.id if self.step else None


class Pass(ABC):
    """A family of quantities. Passes travel to every process, so that they must be picklable."""

    name: str

    @abstractmethod
    def owns(self, quantity: Quantity) -> bool:
        """Whether a quantity is of this family; every quantity is of one."""

    def of_clip(self, step: Step, domain: str) -> Sequence[Quantity]:
        """What is asked of every clip of `domain` in a step."""
        return ()

    def may_stay(self, step: Step, domain: str) -> Sequence[Quantity]:
        """What a clip may have from an earlier start, though it is not asked for now."""
        return ()

    def of_reference(self, domain: str) -> Sequence[Quantity]:
        """What is asked of every reference of `domain`."""
        return ()

    def reference_may_have(self, domain: str) -> Sequence[Quantity]:
        """What a reference may have though it is not asked for."""
        return ()

    def of_set(self, step: Step, clips: Sequence[PlannedClip]) -> Sequence[SetUnits]:
        """What is asked of sets of the clips that the step's system takes."""
        return ()

    def needs(self, quantity: Quantity) -> Needs:
        """What a quantity of a clip is measured on."""
        return Needs.DECODED

    def takes_kept(self, quantity: Quantity) -> bool:
        """Whether audio that was kept at 24 bits will do for it."""
        return False

    def columns(self, quantity: Quantity) -> Columns:
        """What rows of a quantity say beside the value."""
        return Columns("", quantity.model)

    def depends(self, step: Step | None, quantity: Quantity) -> Any:
        """What a value depends on beside step, clips and protocol, as JSON: part of its key."""
        return [self.name]

    def files(self) -> Mapping[str, Mapping[Path, str]]:
        """By key of quantities, the files that their values come of, with what they held when they
        were planned: of code that is not rdbench's own, and of models.
        """
        return {}

    def by_groups(self, quantity: Quantity) -> bool:
        """Whether a quantity of a set depends on which of its clips are of one group."""
        return False

    def warm_up(self) -> None:
        """Builds what a process that does everything itself needs once; no clip pays for it."""

    def on_reference(self, work: Work, batch: Batch, desk: Desk) -> None:
        """Measures what is wanted of references."""

    def on_encoded(self, work: Work, encoding: Encoding) -> None:
        """Measures what is wanted of what was encoded; what it raises fails its quantities."""

    def on_decoded(self, work: Work, batch: Batch, audio: AudioBatch, desk: Desk) -> None:
        """Measures what is wanted of a reconstruction, whose clips are those of `work`.

        The batch holds their references, by name among others.
        """

    def on_set(self, work: SetWork, step: Step, desk: Desk) -> Iterable[Result]:
        """Measures the units of a set; what it raises fails them."""
        return ()


class Passes:
    """The passes of a run, and whose each quantity is."""

    def __init__(self, passes: Sequence[Pass]) -> None:
        self.all = tuple(passes)
        self._owners: dict[Quantity, Pass] = {}

    def owner(self, quantity: Quantity) -> Pass:
        """The pass that a quantity is of; raises KeyError where there is none."""
        if quantity not in self._owners:
            found = [one for one in self.all if one.owns(quantity)]
            if len(found) != 1:
                names = ", ".join(one.name for one in found) or "none"
                raise KeyError(f"{quantity} is of one pass, not of: {names}")
            self._owners[quantity] = found[0]
        return self._owners[quantity]

    def named(self, name: str) -> Pass:
        """The pass called `name`."""
        return next(one for one in self.all if one.name == name)

    def wanting(self, work: Work, needs: Needs) -> dict[Pass, set[Quantity]]:
        """By pass, what is open of a work and measured at this stage."""
        found: dict[Pass, set[Quantity]] = {}
        for position in range(len(work.clips)):
            for quantity in work.wanted(position):
                owner = self.owner(quantity)
                if owner.needs(quantity) is needs:
                    found.setdefault(owner, set()).add(quantity)
        return found
