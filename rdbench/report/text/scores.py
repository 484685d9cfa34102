"""Scores of audio that is there, for a terminal: what was scored, and what could not be and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdbench.report.names import clean
from rdbench.report.text.columns import Column, aligned, fitted
from rdbench.report.text.status import reason_lines

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "–"


def scores_text(table: pd.DataFrame, better: dict[str, str], *, width: int | None) -> str:
    """A row for each metric, the mean over the clips that have it, and the reasons of the others.

    table: of `rdbench.engine.score`. better: by key, which way is. width: of the terminal, None
    for as wide as it comes.
    """
    keys = list(dict.fromkeys(table["key"]))
    parts = {key: table[table["key"] == key] for key in keys}
    good = {key: part.loc[part["status"] == "ok", "value"] for key, part in parts.items()}
    clips = table["clip"].nunique()
    columns = [
        Column("metric", [clean(key) for key in keys]),
        Column("value" if clips == 1 else "mean", [_number(good[key]) for key in keys], right=True),
        Column("unit", [clean(parts[key]["unit"].iloc[0]) for key in keys]),
        Column("better", [better.get(key, "") for key in keys]),
    ]
    if clips > 1:
        spread = [(_edge(good[key].min()), _edge(good[key].max())) for key in keys]
        columns[2:2] = [
            Column("lowest", [low for low, _ in spread], right=True),
            Column("highest", [high for _, high in spread], right=True),
        ]
        counts = [f"{len(good[key])}/{len(parts[key])}" for key in keys]
        columns.append(Column("clips", counts, right=True))
    lines = [aligned(columns) if width is None else fitted(columns, width=width)]
    lines += _unscored(table, "failed") + _unscored(table, "undefined") + _noted(table)
    return "\n".join(lines)


def _unscored(table: pd.DataFrame, status: str) -> list[str]:
    """The clips that failed, or the metrics that mean nothing of them, by reason."""
    rows = table[table["status"] == status]
    if rows.empty:
        return []
    lines: dict[str, int] = {}
    for (reason, clip), part in rows.groupby(["reason", "clip"], sort=False):
        whole = len(part) == int((table["clip"] == clip).sum())
        what = clip if whole else ", ".join(part["key"])
        text = f"{what}: {reason}"
        lines[text] = lines.get(text, 0) + 1
    ordered: Sequence[tuple[str, int]] = sorted(lines.items(), key=lambda item: -item[1])
    return [f"{status}:", *reason_lines(ordered)]


def _noted(table: pd.DataFrame) -> list[str]:
    """What was done to clips before they were scored."""
    rows = table[(table["status"] == "ok") & (table["reason"] != "")]
    counts = rows.groupby("reason", sort=False)["clip"].nunique()
    noted = [(str(reason), int(count)) for reason, count in counts.items()]
    return ["noted:", *reason_lines(noted)] if noted else []


def _number(values: pd.Series[float]) -> str:
    return _edge(values.mean()) if len(values) else NOTHING


def _edge(value: float) -> str:
    if math.isnan(value):
        return NOTHING
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value + 0.0:.4g}"
