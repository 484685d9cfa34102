"""What a pass is given to measure, and what comes of it on its way to the writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rdbench.types import Score

if TYPE_CHECKING:
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.open import OpenUnits
    from rdbench.engine.plan.systems import Step, StepId
    from rdbench.store.schema import Quantity


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
