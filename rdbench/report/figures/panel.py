"""What the panels of a run's figures show, before anything is drawn, and the numbers of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdbench.report.cards import RESIDUAL_DELAY, MetricCard, RunCard, scored_metrics
from rdbench.report.config import ReportConfig
from rdbench.report.figures.arrows import NONE_FOUND, transitions

if TYPE_CHECKING:
    import pandas as pd

NUMBER_COLUMNS = [
    "domain", "metric", "backend", "unit", "better", "role", "system", "label", "curve", "point",
    "variant", "rate_kind", "kbps", "kbps_low", "kbps_high", "value", "low", "high", "n_ok",
    "n_total", "n_groups",
]  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """What one panel shows: rows of `rate_distortion` of one domain, metric and backend.

    name: of its file. arrows: rows of `transitions`.
    """

    name: str
    domain: str
    metric: MetricCard
    data: pd.DataFrame
    arrows: pd.DataFrame


def find_panels(
    points: pd.DataFrame, card: RunCard, config: ReportConfig
) -> tuple[list[Panel], list[str]]:
    """The panels of all domains and metrics that have a value, and sentences on the others."""
    scores = card.rate_distortion(points, rate=config.rate)
    scores = scores[(scores["key"] != RESIDUAL_DELAY) & ~scores["variant"].isin(card.diagnostic)]
    arrows = transitions(points, card) if config.arrows else None
    notes = [NONE_FOUND] if arrows is not None and arrows.empty else []
    found = []
    for domain in dict.fromkeys(scores["domain"]):
        inside = scores[scores["domain"] == domain]
        pairs = scored_metrics(points[points["domain"] == domain], card)
        keys = [key for key, _ in pairs]
        for key, backend in pairs:
            data = inside[(inside["key"] == key) & (inside["backend"] == backend)]
            if not np.isfinite(data["value"]).any():
                notes.append(f"no figure of {key} on {card.domain_label(domain)}: no value")
                continue
            name = f"{key}_{backend}" if keys.count(key) > 1 else key
            here = data.iloc[:0] if arrows is None else arrows[
                (arrows["domain"] == domain)
                & (arrows["key"] == key)
                & (arrows["backend"] == backend)
            ]  # fmt: skip
            found.append(Panel(name, domain, card.metrics[key], data, here))
    if not found:
        notes.append("no figures: no metric has a value")
    elif not np.isfinite(scores.loc[~scores["anchor"], "kbps"]).any():
        notes.append(
            f"figures without curves: no point of this run has a rate of the kind {config.rate}"
        )
    return found, notes


def kinds_of(panels: Sequence[Panel]) -> list[str]:
    """The kinds of rate on the axes of these panels."""
    found: list[str] = []
    for panel in panels:
        data = panel.data
        drawn = data[~data["anchor"] & np.isfinite(data["kbps"]) & np.isfinite(data["value"])]
        found += list(drawn["rate_kind"])
        found += list(panel.arrows["to_kind"]) if len(panel.arrows) else []
    return list(dict.fromkeys(found))


def panel_numbers(panel: Panel, card: RunCard, *, more: Sequence[str] = ()) -> pd.DataFrame:
    """A row per marker, level or arrow: `NUMBER_COLUMNS`, and the columns `more` of the rows.

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
    return table.reindex(columns=[*NUMBER_COLUMNS, *more])
