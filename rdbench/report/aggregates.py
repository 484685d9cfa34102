"""Numbers per point of a run: with listeners' intervals, and costs of one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.aggregate import points
from rdbench.analysis.arrays import by_domain
from rdbench.analysis.curves.draws import Sampling, design, means

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

SCORE = ["system", "curve", "point", "variant", "domain", "key"]


def aggregates(run: Run, *, seed: int = 0, resamples: int = 2000) -> pd.DataFrame:
    """`rdbench.analysis.aggregate.points` of a run.

    A score that listeners gave (`rdbench.analysis.listeners.ratings`) is the mean over its answers,
    and its interval draws listeners and clips; where only one person listened there is none.
    """
    table = points(run.rows, manifest=run.manifest, seed=seed, resamples=resamples)
    if run.ratings is None or table.empty:
        return table
    found = {}
    how = Sampling(resamples, seed)
    for scores in by_domain(run):
        for metric in (m for m in scores.metrics if m[0] in scores.ratings):
            values = scores.metrics[metric].values
            for index, point in enumerate(scores.points):
                chosen = np.isfinite(values[index])
                if not chosen.any():
                    continue
                columns = design(scores, chosen, metric[0], how)
                drawn = means(scores, [index], metric, chosen, columns)
                made = columns.interval(drawn)
                key = (*point, scores.domain, metric[0])
                found[key] = (drawn[0, 0], made.low[0], made.high[0], made.notes[0])
    for number, key in enumerate(table[SCORE].itertuples(index=False, name=None)):
        if key in found:
            table.loc[table.index[number], ["value", "low", "high", "note"]] = found[key]
    return table


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
