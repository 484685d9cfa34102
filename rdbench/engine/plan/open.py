"""What is still to be measured, by subject: the same book in the engine and in every process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdbench.engine.plan.systems import StepId
    from rdbench.store.schema import Quantity

    Subject = tuple[StepId | None, str]


class OpenUnits:
    """Open quantities by step (None: of the reference) and clip ("": of a set of clips)."""

    def __init__(self) -> None:
        self._open: dict[Subject, set[Quantity]] = {}

    def add(self, step: StepId | None, clip: str, quantities: Iterable[Quantity]) -> None:
        """Notes quantities as open."""
        if wanted := set(quantities):
            self._open.setdefault((step, clip), set()).update(wanted)

    def wanted(self, step: StepId | None, clip: str) -> frozenset[Quantity]:
        """What is open of a subject."""
        return frozenset(self._open.get((step, clip), ()))

    def wants(self, step: StepId | None, clip: str, quantity: Quantity) -> bool:
        """Whether a quantity is open."""
        return quantity in self._open.get((step, clip), ())

    def close(self, step: StepId | None, clip: str, quantity: Quantity) -> bool:
        """Closes a quantity; False where it was not open."""
        found = self._open.get((step, clip))
        if found is None or quantity not in found:
            return False
        found.discard(quantity)
        if not found:
            del self._open[step, clip]
        return True

    def __iter__(self) -> Iterator[tuple[StepId | None, str, frozenset[Quantity]]]:
        """Every subject with something open."""
        for (step, clip), quantities in list(self._open.items()):
            yield step, clip, frozenset(quantities)

    def __len__(self) -> int:
        return len(self._open)
