"""How much scores depend on the seed that a variant is drawn with.

A sample of a posterior is one of many: with another seed each clip gets another score, and the mean
over clips another value. That spread is no part of the intervals, which are over groups of clips;
it is measured where a spec asks for several `seeds`, and stated beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbench.store.schema import Kind
from rdbench.store.variants import variants_of

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

OWNER = ["domain", "system", "curve", "point", "variant", "key", "backend"]
SEED_COLUMNS = [
    *OWNER, "unit", "n_seeds", "n_clips", "mean", "deviation", "lowest", "highest",
]  # fmt: skip


def seed_table(run: Run) -> pd.DataFrame:
    """One row for each score of a variant that was drawn with several seeds; `SEED_COLUMNS`.

    Of the mean over clips with each seed: mean, deviation (the standard deviation over seeds, with
    n − 1), lowest and highest, in `unit`. The clips are those that have the score with every seed;
    n_clips is 0 where the score is of a set of clips. Empty where no variant has a second seed.
    """
    import pandas as pd

    if run.seeds is None:
        return pd.DataFrame(columns=SEED_COLUMNS)
    cards = variants_of(run.manifest)
    named = {name: card.of for name, card in cards.items() if card.of}
    rows = pd.concat([run.rows, run.seeds], ignore_index=True)
    rows = rows[(rows["kind"] == Kind.METRIC.value) & (rows["status"] == "ok")]
    rows = rows.assign(drawn=rows["variant"], variant=rows["variant"].replace(named))
    seeds = rows.groupby(OWNER, observed=True)["drawn"].transform("nunique")
    each = rows.groupby([*OWNER, "clip"], observed=True)["drawn"].transform("nunique")
    rows = rows[(seeds > 1) & (each == seeds)]
    means = rows.groupby([*OWNER, "drawn"], sort=False, observed=True).agg(
        value=("value", "mean"), unit=("unit", "first"), clips=("clip", _count)
    )
    found = means.groupby(OWNER, sort=False, observed=True).agg(
        unit=("unit", "first"),
        n_seeds=("value", "size"),
        n_clips=("clips", "first"),
        mean=("value", "mean"),
        deviation=("value", "std"),
        lowest=("value", "min"),
        highest=("value", "max"),
    )
    return found.reset_index()[SEED_COLUMNS]


def _count(clips: pd.Series[str]) -> int:
    return int((clips != "").sum())
