"""What a pass is: a family of quantities, and how it measures them.

It measures in three places, which the shard's measuring (`rdbench.engine.measure.measure`) calls:

    on_reference    the references of a batch
    on_encoded      what a codec made of a batch at one point
    on_decoded      what one step decodes to

and, for sets, `on_set`. A result goes to `Work.record` and becomes a row where the run is written.
A new family of quantities is a module with a pass, and its name in `rdbench.engine.run`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from rdbench.engine.plan.families import Families, Family, Needs

if TYPE_CHECKING:
    from rdbench.engine.measure.batch import Batch
    from rdbench.engine.measure.decoded import Decoded
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.measure.encoding import Encoding
    from rdbench.engine.measure.work import Result, SetWork, Work
    from rdbench.engine.plan.systems import Step
    from rdbench.store.schema import Quantity


class Pass(Family):
    """A family that can be measured. Passes travel to every process: they must be picklable."""

    def warm_up(self) -> None:
        """Builds what a process that does everything itself needs once; no clip pays for it."""

    def on_reference(self, work: Work, batch: Batch, desk: Desk) -> None:
        """Measures what is wanted of references."""

    def on_encoded(self, work: Work, encoding: Encoding) -> None:
        """Measures what is wanted of what was encoded; what it raises fails its quantities."""

    def on_decoded(self, work: Work, decoded: Decoded, desk: Desk) -> None:
        """Measures what is wanted of a reconstruction, whose clips are those of `work` in order."""

    def on_set(self, work: SetWork, step: Step, desk: Desk) -> Iterable[Result]:
        """Measures the units of a set; what it raises fails them."""
        return ()


Passes: TypeAlias = Families[Pass]


def wanting(passes: Passes, work: Work, needs: Needs) -> dict[Pass, set[Quantity]]:
    """By pass, what is open of a work and measured at this stage."""
    found: dict[Pass, set[Quantity]] = {}
    for position in range(len(work.clips)):
        for quantity in work.wanted(position):
            owner = passes.owner(quantity)
            if owner.needs(quantity) is needs:
                found.setdefault(owner, set()).add(quantity)
    return found
