"""Numbers per point of a run, with listeners' intervals for what listeners gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.aggregate import points
from rdbench.analysis.arrays import by_domain
from rdbench.analysis.curves.draws import Sampling, design, means

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

PLACE = ["system", "curve", "point", "variant", "domain", "key"]


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
    for panel in by_domain(run):
        for metric in (m for m in panel.metrics if m[0] in panel.ratings):
            values = panel.metrics[metric].values
            for index, place in enumerate(panel.points):
                chosen = np.isfinite(values[index])
                if not chosen.any():
                    continue
                columns = design(panel, chosen, metric[0], how)
                drawn = means(panel, [index], metric, chosen, columns)
                made = columns.interval(drawn)
                key = (*place, panel.domain, metric[0])
                found[key] = (drawn[0, 0], made.low[0], made.high[0], made.notes[0])
    for number, key in enumerate(table[PLACE].itertuples(index=False, name=None)):
        if key in found:
            table.loc[table.index[number], ["value", "low", "high", "note"]] = found[key]
    return table
