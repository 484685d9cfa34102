"""Diagnostics of posteriors as a table: sample against mean, active channels, KL per channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rdbench.analysis.arrays import PointKey
from rdbench.analysis.posterior import ACTIVE_NATS, mean_against_sample
from rdbench.report.cards import RESIDUAL_DELAY, RunCard, records
from rdbench.report.names import clean
from rdbench.report.numbers import Write, score_text, signed
from rdbench.report.tables.rows import point_names, point_order
from rdbench.report.tables.table import Cell, Table, TableColumn, words

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

Point = tuple[str, str]


def posterior_tables(
    run: Run, card: RunCard, nats: pd.DataFrame, *, about: str
) -> dict[str, Table]:
    """Per domain, one row for each point of a posterior; empty where there is none.

    nats: of `rdbench.analysis.posterior.channel_kl`.
    """
    gaps = mean_against_sample(run)
    gaps = gaps[gaps["key"] != RESIDUAL_DELAY]
    tables = {}
    for domain in dict.fromkeys(map(str, [*gaps["domain"], *nats["domain"]])):
        channels = _channels(nats[nats["domain"] == domain])
        part = gaps[gaps["domain"] == domain]
        tables[domain] = _table(domain, part, card, channels, about=about)
    return tables


def _channels(table: pd.DataFrame) -> dict[Point, list[float]]:
    """KL of each channel in nats per frame, largest first, by system and point."""
    groups = table.groupby(["system", "point"], observed=True)["nats"]
    return {(str(s), str(p)): sorted(nats, reverse=True) for (s, p), nats in groups}


def _table(
    domain: str,
    gaps: pd.DataFrame,
    card: RunCard,
    channels: dict[Point, list[float]],
    *,
    about: str,
) -> Table:
    found = {*channels, *((str(row.system), str(row.point)) for row in records(gaps))}
    keys = sorted((PointKey(s, "", p, "") for s, p in found), key=point_order(card))
    points = [(key.system, key.point) for key in keys]
    head = [
        words("system", [card.systems[system].label for system, _ in points]),
        words("point", [clean(name) for name in point_names(keys, card)], right=True),
    ]
    columns = _channel_columns(points, channels) if channels else []
    for key in dict.fromkeys(gaps["key"]):
        metric, part = card.metrics[key], gaps[gaps["key"] == key]
        write = score_text(metric)
        rows = {(row.system, row.point): row for row in records(part)}
        cells = [_difference(rows.get(point), write) for point in points]
        columns.append(TableColumn(f"{metric.title} {metric.arrow}".strip(), cells))
    named = card.domain_label(domain)
    sentences = [
        f"Score with the mean of the latent decoded less that with a sample, on {named}, paired "
        "over clips, with 95 % intervals." if len(gaps) else "",
        f"Active channels, on {named}: of a KL above {ACTIVE_NATS:g} nat per frame."
        if channels else "",
        about,
    ]  # fmt: skip
    title = "Posteriors: mean less sample" if len(gaps) else "Posteriors"
    return Table("posteriors", title, " ".join(filter(None, sentences)), head, columns)


def _channel_columns(points: list[Point], channels: dict[Point, list[float]]) -> list[TableColumn]:
    known = [channels.get(point, []) for point in points]
    active = [
        f"{sum(x > ACTIVE_NATS for x in nats)} of {len(nats)}" if nats else "" for nats in known
    ]
    largest = [f"{nats[0]:.2f}" if nats else "" for nats in known]
    half = [str(_holding(nats, 0.5)) if nats else "" for nats in known]
    return [
        words("active channels", active, right=True),
        words("largest KL of a channel (nats/frame)", largest, right=True),
        words("channels that hold half of the KL", half, right=True),
    ]


def _holding(nats: list[float], share: float) -> int:
    """How many of the largest hold that share of the sum."""
    total, held = math.fsum(nats), 0.0
    for count, one in enumerate(nats, start=1):
        held += one
        if held >= share * total:
            return count
    return len(nats)


def _difference(row: Any, write: Write) -> Cell:
    if row is None or not math.isfinite(row.difference):
        return Cell("")
    value, low, high = map(signed(write), (row.difference, row.low, row.high))
    return Cell(value, low, high) if math.isfinite(row.low) else Cell(value)
