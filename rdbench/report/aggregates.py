"""Which costs of a run are shown, where several machines measured some."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def machine_costs(points: pd.DataFrame, machine: str) -> tuple[pd.DataFrame, str, list[str]]:
    """The costs of one machine among aggregates, which it is, and where else there are some.

    machine: the run's own, whose costs are chosen where there are any; else those of the last.
    """
    costs = points[points["kind"] == "cost"]
    machines = list(dict.fromkeys(map(str, costs["backend"])))
    if not machines:
        return costs, "", []
    chosen = machine if machine in machines else machines[-1]
    return costs[costs["backend"] == chosen], chosen, [m for m in machines if m != chosen]
