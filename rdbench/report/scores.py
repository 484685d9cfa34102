"""The scores of a run beside the rate of what they are of, as one tidy table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdbench.report.cards import describe
from rdbench.report.config import RATES
from rdbench.report.tables.rows import in_order
from rdbench.suggest import nearest
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

COLUMNS = (
    "system", "label", "curve", "point", "variant", "domain", "rate_kind", "kbps", "kbps_low",
    "kbps_high", "metric", "value", "low", "high", "unit", "better", "rate_point", "n_ok",
    "n_total", "n_groups", "backend", "reason",
)  # fmt: skip


def scores_beside_rates(
    points: pd.DataFrame, manifest: Mapping[str, Any], *, rate: str = "headline"
) -> pd.DataFrame:
    """A row for each system, point, variant, domain and metric: `COLUMNS`.

    points: of `rdbench.analysis.aggregate.run_points`. manifest: what `rdbench.report.cards` says.
    rate: the headline kind of each system, or one kind for all. low, high and kbps_low, kbps_high
    are ends of 95 % intervals over groups of clips; kbps is NaN where there is no rate of the kind,
    as of anchors; rate_point: whether somebody could transmit this at this rate; reason: the most
    frequent among clips without a score.

    Raises RdbenchError for a kind of rate that there is not.
    """
    if rate not in RATES:
        raise RdbenchError(f"there is no kind of rate {rate!r}; {nearest(rate, RATES)}")
    import pandas as pd

    if points.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    card = describe(points, manifest)
    table = card.rate_distortion(in_order(points, card), rate=rate).rename(
        columns={"key": "metric"}
    )
    table["label"] = [card.systems[name].label for name in table["system"]]
    table["better"] = [card.metrics[key].direction for key in table["metric"]]
    return table[list(COLUMNS)].reset_index(drop=True)
