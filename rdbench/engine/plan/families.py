"""What is asked for: families of quantities, their units, their part of a key.

A family asks for units of clips (`of_clip`, `of_reference`) and of sets of clips (`of_set`); the
plan (`rdbench.engine.plan.plan`) makes keys, resume, the manifest's plan and shards of what all
families of a run ask for. How one is measured, its pass says (`rdbench.engine.measure.passes`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rdbench.store.schema import Quantity

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import Step


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


class Family(ABC):
    """A family of quantities: what it asks for, and what its rows and keys say.

    scores: whether it says how good a reconstruction is. Nothing else is asked of the further seeds
    of a variant, which are there to say how much scores depend on the seed.
    """

    name: str
    scores = False

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

    def by_text(self, quantity: Quantity) -> bool:
        """Whether a quantity of a clip depends on the clip's text."""
        return False

    def protocol(self) -> dict[str, Any]:
        """What the manifest says of the way of measuring."""
        return {}


Some_co = TypeVar("Some_co", bound=Family, covariant=True)


class Families(Generic[Some_co]):
    """The families of a run, and whose each quantity is."""

    def __init__(self, families: Sequence[Some_co]) -> None:
        self.all = tuple(families)
        self._owners: dict[Quantity, Some_co] = {}

    def of_step(self, step: Step) -> list[Some_co]:
        """Those of which something is asked in a step."""
        return [one for one in self.all if one.scores or not step.seed]

    def owner(self, quantity: Quantity) -> Some_co:
        """The family that a quantity is of; raises KeyError where there is none."""
        if quantity not in self._owners:
            found = [one for one in self.all if one.owns(quantity)]
            if len(found) != 1:
                names = ", ".join(one.name for one in found) or "none"
                raise KeyError(f"{quantity} is of one family, not of: {names}")
            self._owners[quantity] = found[0]
        return self._owners[quantity]

    def named(self, name: str) -> Some_co:
        """The family called `name`."""
        return next(one for one in self.all if one.name == name)
