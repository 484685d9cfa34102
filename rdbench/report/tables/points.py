"""Rates and scores of one domain as tables: a row per point and variant."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rdbench.analysis.arrays import PointKey
from rdbench.report.cards import (
    RATE_MEANING,
    RESIDUAL_DELAY,
    RunCard,
    ordered,
    records,
    scored_metrics,
)
from rdbench.report.names import clean
from rdbench.report.numbers import NONE, kbps_text, score_text
from rdbench.report.tables.rows import POINT_KEY, point_columns, point_keys
from rdbench.report.tables.table import Cell, Table, TableColumn

if TYPE_CHECKING:
    import pandas as pd

NOT_A_RATE = "°"
COMMON = "§"
BRIEF_NAME = 17
Bold = Collection[tuple[str, str, str, PointKey]]
"""(domain, key, backend, point) of the scores that are set in bold."""


def score_table(inside: pd.DataFrame, card: RunCard, *, bold: Bold = (), caption: str) -> Table:
    """Scores of one domain beside the headline rate and its kind."""
    rows = point_keys(inside, card)
    domain = str(inside["domain"].iloc[0])
    head = [*point_columns(rows, card), *headline_columns(rows, inside, card)]
    columns = score_columns(inside, card, rows, bold=bold)
    title = f"Scores on {card.domain_label(domain)}"
    return Table("points", title, caption, head, columns, _clip_notes(inside, card))


def _clip_notes(inside: pd.DataFrame, card: RunCard) -> list[str]:
    """What is said of scores that not all clips have: which they are of, and at what rate."""
    rates = card.rate_distortion(inside)
    rates = rates[(rates["key"] != RESIDUAL_DELAY) & rates["value"].notna()]
    notes = []
    if rates["common"].astype(bool).any():
        notes.append(
            f"{COMMON} undefined on clips where another point has a score: the mean is over the "
            "clips that all points have."
        )
    whole = rates.sort_values("n_ok", kind="stable").groupby(POINT_KEY)["kbps"].last()
    told: dict[str, list[str]] = {}
    for row in records(rates[rates["rate_point"]]):
        point = PointKey(*(getattr(row, field) for field in POINT_KEY))
        if kbps_text(row.kbps) != kbps_text(whole[tuple(point)]):
            name = f"{card.systems[row.system].label} {clean(row.point)}"
            name += "" if card.variant(row.variant).headline else f" {clean(row.variant)}"
            told.setdefault(f"{name}, {card.metrics[row.key].name}", []).append(kbps_text(row.kbps))
    if told:
        listed_ = "; ".join(f"{name}: {', '.join(kbps)}" for name, kbps in told.items())
        notes.append(f"Rates in kbps over the clips of scores that not all clips have: {listed_}.")
    return notes


def rate_table(inside: pd.DataFrame, card: RunCard, *, caption: str) -> Table:
    """Rates of one domain, of every kind that was measured, in kbps."""
    rates = inside[inside["kind"] == "rate"]
    rows = point_keys(rates, card)
    domain = card.domain_label(str(inside["domain"].iloc[0]))
    columns = _rate_columns(inside, rows, card)
    notes = []
    for kind in dict.fromkeys(rates["key"]):
        told = _models_of_variants(rates[rates["key"] == kind]).items()
        if told:
            models = "; ".join(f"{clean(variant)}: {clean(model)}" for variant, model in told)
            notes.append(f"What {kind} rests on, by variant: {models}.")
    if any(cell.mark == NOT_A_RATE for column in columns for cell in column.cells):
        notes.append(f"{NOT_A_RATE} not a rate point: the rate is that of a sample.")
    head = point_columns(rows, card)
    return Table("rates", f"Rates on {domain} (kbps)", caption, head, columns, notes)


def _models_of_variants(rates: pd.DataFrame) -> dict[str, str]:
    """Where each variant has one model of its own, as each stream of a latent: which; else {}."""
    models = rates[["variant", "backend"]].drop_duplicates()
    if models["backend"].nunique() < 2 or models["variant"].duplicated().any():
        return {}
    return dict(zip(models["variant"], models["backend"], strict=True))


def headline_column(rows: Sequence[PointKey], inside: pd.DataFrame, card: RunCard) -> TableColumn:
    """The headline rate with its kind in one column: "6.02 payload"."""
    number, kind = headline_columns(rows, inside, card)
    wide = max((len(cell.text) for cell in number.cells), default=0)
    cells = [
        Cell(f"{n.text.rjust(wide)} {k.plain}".rstrip() if k.text else n.text.rjust(wide))
        for n, k in zip(number.cells, kind.cells, strict=True)
    ]
    return TableColumn("kbps", cells, numeric=False)


def score_columns(
    inside: pd.DataFrame,
    card: RunCard,
    rows: Sequence[PointKey],
    *,
    bold: Bold = (),
    brief: bool = False,
) -> list[TableColumn]:
    """A column per metric and backend; brief: short names, and no intervals."""
    pairs = scored_metrics(inside, card)
    keys = [key for key, _ in pairs]
    delays = inside.loc[inside["key"] == RESIDUAL_DELAY, "backend"]
    if len(delays) and not brief:
        pairs = [*pairs, (RESIDUAL_DELAY, delays.iloc[0])]
    domain = str(inside["domain"].iloc[0])
    columns = []
    for key, backend in pairs:
        part = inside[(inside["key"] == key) & (inside["backend"] == backend)]
        metric = card.metrics[key]
        name = f"{metric.title}, {clean(backend)}" if keys.count(key) > 1 else metric.title
        if key == RESIDUAL_DELAY:
            name = f"residual delay ({metric.unit})"
        if brief and keys.count(key) == 1:
            name = metric.name if len(metric.name) <= BRIEF_NAME else clean(key)
        best = {point for d, k, b, point in bold if (d, k, b) == (domain, key, backend)}
        cells = _cells(part, rows, score_text(metric), count=metric.count, brief=brief, bold=best)
        columns.append(TableColumn(f"{name} {metric.arrow}".strip(), cells))
    return columns


def headline_columns(
    rows: Sequence[PointKey], inside: pd.DataFrame, card: RunCard
) -> tuple[TableColumn, TableColumn]:
    """The headline rate and its kind, which `NOT_A_RATE` marks where it is no rate point's."""
    # The rate over most clips: a cell over fewer says its own.
    rates = card.rate_distortion(inside).sort_values("n_ok", kind="stable")
    found = {PointKey(row.system, row.curve, row.point, row.variant): row for row in records(rates)}
    numbers, kinds = [], []
    for point in rows:
        row: Any = found.get(point)
        if row is None or not math.isfinite(row.kbps):
            numbers.append(Cell(NONE))
            kinds.append(Cell(""))
            continue
        numbers.append(Cell(kbps_text(row.kbps)))
        kinds.append(Cell(row.rate_kind, mark="" if row.rate_point else NOT_A_RATE))
    return TableColumn("kbps", numbers), TableColumn("rate", kinds, numeric=False)


def _rate_columns(
    inside: pd.DataFrame, rows: Sequence[PointKey], card: RunCard
) -> list[TableColumn]:
    rates = inside[inside["kind"] == "rate"]
    columns = []
    pairs = rates[["key", "backend"]].drop_duplicates()
    for kind in ordered(list(pairs["key"]), list(RATE_MEANING)):
        models = list(pairs.loc[pairs["key"] == kind, "backend"])
        of_kind = rates[rates["key"] == kind]
        parts = [(model, of_kind[of_kind["backend"] == model]) for model in models]
        if _models_of_variants(of_kind):  # the column of variants says whose it is
            parts = [("", of_kind)]
        for model, part in parts:
            title = f"{kind}, {clean(model)}" if len(models) > 1 and model else kind
            cells = [
                cell
                if card.variant(point.variant).transmitted or cell.text in ("", NONE)
                else replace(cell, mark=NOT_A_RATE)
                for point, cell in zip(rows, _cells(part, rows, kbps_text), strict=True)
            ]
            if any(cell.text for cell in cells):
                columns.append(TableColumn(title, cells))
    used = inside[inside["kind"] == "usage"]
    for key in dict.fromkeys(used["key"]):
        cells = _cells(used[used["key"] == key], rows, "{:.3g}".format)
        columns.append(TableColumn(key.replace("_", " "), cells))
    return columns


def _cells(
    part: pd.DataFrame,
    rows: Sequence[PointKey],
    write: Callable[[float], str],
    *,
    count: Callable[[int, int], str] = "{}/{}".format,
    brief: bool = False,
    bold: Collection[PointKey] = (),
) -> list[Cell]:
    keys = part[POINT_KEY].itertuples(index=False, name=None)
    found = dict(zip(keys, records(part), strict=True))
    cells = []
    for point in rows:
        row = found.get(point)
        clips = count(row.n_ok, row.n_total) if row and row.n_ok < row.n_total else ""
        cells.append(_cell(row, clips, write, brief=brief, bold=point in bold))
    return cells


def _cell(row: Any, count: str, write: Callable[[float], str], *, brief: bool, bold: bool) -> Cell:
    """Value, interval and count of one aggregate; empty where it was not asked for."""
    if row is None:
        return Cell("")
    if brief:
        shown = write(row.value) if math.isfinite(row.value) else NONE
        return Cell(shown, mark="*" * bool(count))
    if not math.isfinite(row.value):
        return Cell(NONE, count=count)
    low = high = ""
    # A rate that is the same for every group has no interval to show.
    if math.isfinite(row.low) and math.isfinite(row.high) and row.low != row.high:
        low, high = write(row.low), write(row.high)
    mark = COMMON if row.common else ""
    return Cell(write(row.value), low, high, count, mark, bold)
