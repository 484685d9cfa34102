"""The numbers behind a figure, as a tidy table: one row per marker, line or arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rdbench.report.cards import RunCard

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.report.figures.rate_quality import Panel

DATA_COLUMNS = [
    "domain", "metric", "backend", "unit", "better", "role", "system", "label", "curve", "point",
    "variant", "rate_kind", "kbps", "kbps_low", "kbps_high", "value", "low", "high", "n_ok",
    "n_total", "n_groups",
]  # fmt: skip


def panel_numbers(panel: Panel, card: RunCard, *, more: Sequence[str] = ()) -> pd.DataFrame:
    """`DATA_COLUMNS` of one panel, and the columns `more` of its rows.

    role: "point" of a curve, "not a rate point" (the mean at the price of the KL), "anchor",
    "not drawn" (no rate of the kind on the axis, or no value), "arrow to" (the end of an arrow
    that begins at the point of the same name).
    """
    import pandas as pd

    data = panel.data
    shown = np.isfinite(data["value"]) & (data["anchor"] | np.isfinite(data["kbps"]))
    role = pd.Series("point", index=data.index).mask(~data["rate_point"], "not a rate point")
    role = role.mask(data["anchor"], "anchor").mask(~shown, "not drawn")
    table = data.assign(role=role)
    if len(panel.arrows):
        ends = panel.arrows.rename(
            columns={"to_kbps": "kbps", "to_value": "value", "to_kind": "rate_kind"}
        )
        table = pd.concat([table, ends.assign(role="arrow to", variant="")], ignore_index=True)
    table = table.assign(
        metric=panel.metric.key,
        unit=panel.metric.unit,
        better=panel.metric.direction,
        label=[card.systems[name].label for name in table["system"]],
    )
    return table.reindex(columns=[*DATA_COLUMNS, *more])
