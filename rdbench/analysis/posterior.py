"""What a posterior's decoder and its latent do: sample against mean, and where the KL lies.

A decoder that never saw noise does badly on samples, and its mean is no rate point: the difference
of the two, paired over clips, says how far apart they are. A latent channel counts as active where
its KL exceeds 0.01 nat per frame (Burda, Grosse & Salakhutdinov, arXiv:1509.00519, use the same
threshold on the variance of the mean); the others carry nothing, and cost nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rdbench.analysis.paired import paired_table
from rdbench.store.variants import variants_of

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

ACTIVE_NATS = 0.01
"""Nats per frame above which a channel is active."""
LATENT = ["domain", "system", "curve", "point"]
CHANNEL_COLUMNS = [*LATENT, "channel", "nats"]


def mean_against_sample(run: Run) -> pd.DataFrame:
    """Mean − sample of every metric, for each point that has both; columns as `paired_table`."""
    import pandas as pd

    from rdbench.analysis.paired import PAIR_COLUMNS

    cards = variants_of(run.manifest)
    found = run.rows[["system", "point", "variant"]].drop_duplicates().astype(str)
    decoded: dict[tuple[str, str], dict[str, str]] = {}
    for system, point, variant in found.itertuples(index=False, name=None):
        if variant in cards:
            decoded.setdefault((system, point), {})[cards[variant].source] = variant
    pairs = [
        (f"{system}/{point}/{by_source['mean']}", f"{system}/{point}/{by_source['sample']}")
        for (system, point), by_source in decoded.items()
        if {"mean", "sample"} <= set(by_source)
    ]
    if not pairs:
        return pd.DataFrame(columns=PAIR_COLUMNS)
    return paired_table(run, pairs=pairs)


def channel_kl(traces: pd.DataFrame, run: Run) -> pd.DataFrame:
    """KL of each latent channel in nats per frame, over a domain's clips; `CHANNEL_COLUMNS`.

    traces: of `rdbench.store.traces.read_traces`. Side information is left out, and so are clips
    and systems that `run` does not have.
    """
    where = run.rows[["system", "curve", "point", "clip", "domain"]]
    where = where.drop_duplicates(["system", "point", "clip"])  # of which each has one domain
    traces = traces.drop(columns="curve").merge(where.astype(str), on=["system", "point", "clip"])
    kl = traces[(traces["kind"] == "kl") & (traces["index"] >= 0) & (traces["axis"] == "channel")]
    if kl.empty:
        return no_channels()
    sums = kl.groupby([*LATENT, "index"], observed=True)[["bits", "frames"]].sum()
    table = sums.reset_index()
    table["nats"] = table["bits"] * math.log(2) / table["frames"]
    return table.rename(columns={"index": "channel"})[CHANNEL_COLUMNS]


def no_channels() -> pd.DataFrame:
    """What `channel_kl` returns where there is no posterior."""
    import pandas as pd

    return pd.DataFrame(columns=CHANNEL_COLUMNS)
