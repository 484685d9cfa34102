"""A run against an earlier one as text: a sentence of verdict, then what it rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rdbench.report.cards import RunCard, describe, records
from rdbench.report.names import clean, listed
from rdbench.report.numbers import (
    kbps_text,
    p_text,
    percent_text,
    score_text,
    signed,
    with_interval,
)
from rdbench.report.text.columns import Column, aligned, fitted, folded, markdown_table

if TYPE_CHECKING:
    from rdbench.analysis.matched import Matched

SHOWN = 15
"""Differences that are listed; the others are counted."""
NAMED = 5
RATE_CHANGE = 1.0
"""Percent of bits that the verdict mentions."""


def matched_text(
    matched: Matched,
    *,
    old: str,
    new: str,
    layout: str = "text",
    width: int | None = None,
    every: bool = False,
) -> str:
    """The comparison of the run `new` with the run `old`, which are called so.

    layout: "text" for a terminal, "markdown" for a page. width: of the terminal, None where there
    is none. every: whether all differences are listed, and not the surest alone.
    """
    card = describe(matched.run.rows, matched.run.manifest)
    markdown = layout == "markdown"

    def draw(columns: Sequence[Column]) -> str:
        if markdown:
            return markdown_table(columns)
        return aligned(columns) if width is None else fitted(columns, width=width)

    parts = [verdict(matched, old=clean(old, longest=80), new=clean(new, longest=80))]
    for heading, columns in _tables(matched, card, None if every else SHOWN):
        parts += [f"#### {heading}" if markdown else heading, draw(columns)]
    parts += _remarks(matched, None if every else SHOWN)
    page = "\n\n".join(parts) + "\n"
    return page if markdown or width is None else folded(page, width=width)


def verdict(matched: Matched, *, old: str, new: str) -> str:
    """Whether `new` is better than `old`, in one sentence, and at which rates in another."""
    tested = matched.pairs["p"].notna()
    tests, differ = int(tested.sum()), matched.pairs["difference"].fillna(0.0) != 0
    untold = int((differ & ~tested).sum())
    better, worse = len(matched.better), len(matched.worse)
    if not len(matched.pairs):
        moved = [name for name in matched.only_new if name in matched.only_old]
        if moved:
            return (
                f"{new} and {old} cannot be compared in {listed(map(clean, moved), NAMED)}: no "
                "point of it is in both (that of a VAE is named by its target); give both runs a "
                "point in common."
            )
        return f"{new} and {old} are the same: all that both have was measured alike."
    if not tests:
        return f"{new} and {old} cannot be told apart: no difference could be tested."
    counts = (
        f"of {tests} differences of points on metrics, {better} are better for sure and {worse} "
        f"worse"
    )
    if untold:
        counts += f", and {untold} more cannot be tested (too few groups, or alike in all of them)"
    if better and worse:
        sentence = f"{new} is better than {old} in some and worse in others: {counts}."
    elif better:
        sentence = f"{new} is better than {old}: {counts}."
    elif worse:
        sentence = f"{new} is worse than {old}: {counts}."
    else:
        sentence = f"{new} and {old} are not told apart: {counts}."
    return f"{sentence} {_rates_said(matched)}".rstrip()


def _rates_said(matched: Matched) -> str:
    changes = [change for *_, change in _rates(matched) if math.isfinite(change)]
    if not changes:
        return ""
    low, high = min(changes), max(changes)
    if max(abs(low), abs(high)) < RATE_CHANGE:
        return "Their rates are the same."
    if len(changes) == 1 or percent_text(low) == percent_text(high):
        return f"Its bits have changed by {percent_text(low)} %: look at the BD-rate, or at both."
    return (
        f"Its bits have changed by {percent_text(low)} to {percent_text(high)} %: quality alone "
        "does not tell which is better."
    )


def _rates(matched: Matched) -> list[tuple[Any, float, float, float]]:
    """A row of each point, its old and its new rate in kbps, and the change in percent."""
    found: dict[tuple[str, ...], tuple[Any, float, float, float]] = {}
    for row in records(matched.pairs):
        old, new = row.reference_kbps, row.kbps
        change = 100 * (new / old - 1) if old > 0 else math.nan
        found.setdefault((row.domain, row.system, row.point), (row, old, new, change))
    return list(found.values())


def _tables(
    matched: Matched, card: RunCard, most: int | None
) -> list[tuple[str, Sequence[Column]]]:
    """Headings and columns: differences, the surest first; rates that changed; BD-rates."""
    tables: list[tuple[str, Sequence[Column]]] = []
    pairs = matched.pairs[matched.pairs["reason"] == ""]
    order = pairs.assign(p=pairs["p"].fillna(2.0)).sort_values("p", kind="stable").index
    rows = records(pairs.loc[order])[:most]
    if rows:
        tables.append(("Differences, new − old, on the same clips", _differences(rows, card)))
    moved = [one for one in _rates(matched) if abs(one[-1]) >= RATE_CHANGE][:most]
    if moved:
        tables.append(("Rates", _rate_columns(moved)))
    bd = [] if matched.bd is None else records(matched.bd[matched.bd["reason"] == ""])
    if bd:
        tables.append(
            ("BD-rate, new against old: bits at equal quality, %, of whole curves", _bd(bd, card))
        )
    return tables


def _differences(rows: Sequence[Any], card: RunCard) -> list[Column]:
    write = [score_text(card.metrics[row.key]) for row in rows]
    changes = [
        with_interval(signed(one), row.difference, row.low, row.high)
        for one, row in zip(write, rows, strict=True)
    ]
    return [
        *_where(rows),
        Column("metric", [f"{clean(r.key)} {card.metrics[r.key].arrow}".strip() for r in rows]),
        Column("old", [w(r.reference_value) for w, r in zip(write, rows, strict=True)], right=True),
        Column("new", [w(row.value) for w, row in zip(write, rows, strict=True)], right=True),
        Column("difference", changes, right=True),
        Column("p, Holm", [p_text(row.p_holm) for row in rows], right=True),
    ]


def _rate_columns(moved: Sequence[tuple[Any, float, float, float]]) -> list[Column]:
    return [
        *_where([row for row, *_ in moved]),
        Column("kind", [row.rate_kind for row, *_ in moved]),
        Column("old, kbps", [kbps_text(old) for _, old, *_ in moved], right=True),
        Column("new, kbps", [kbps_text(new) for *_, new, _ in moved], right=True),
        Column("change, %", [percent_text(change) for *_, change in moved], right=True),
    ]


def _bd(rows: Sequence[Any], card: RunCard) -> list[Column]:
    values = [with_interval(percent_text, row.value, row.low, row.high) for row in rows]
    return [
        *_domains(rows),
        Column("curve", [_own(row.curve, row.reference) for row in rows]),
        Column("metric", [f"{clean(r.key)} {card.metrics[r.key].arrow}".strip() for r in rows]),
        Column("BD-rate", values, right=True),
        Column("", ["curves cross" if row.crosses else "" for row in rows]),
    ]


def _where(rows: Sequence[Any]) -> list[Column]:
    points = [f"{_own(row.system, row.reference_system)} {clean(row.point)}" for row in rows]
    return [*_domains(rows), Column("point", points)]


def _domains(rows: Sequence[Any]) -> list[Column]:
    names = [clean(row.domain) for row in rows]
    return [Column("domain", names)] if len(set(names)) > 1 else []


def _own(name: str, reference: str) -> str:
    """The name of a system in both runs: what stands behind their own names."""
    common = 0
    while common < min(len(name), len(reference)) and name[-1 - common] == reference[-1 - common]:
        common += 1
    _, colon, own = name[max(len(name) - common - 1, 0) :].partition(":")
    return clean(own if colon else name)


def _remarks(matched: Matched, most: int | None) -> list[str]:
    said = []
    compared = int((matched.pairs["reason"] == "").sum())
    if most is not None and compared > most:
        said.append(f"and {compared - most} differences that are less sure (--all lists them)")
    refused = matched.pairs[matched.pairs["reason"] != ""]
    for reason, rows in refused.groupby("reason", sort=False):
        keys = listed(map(clean, rows["key"]), NAMED)
        said.append(f"not compared on {keys}: {clean(str(reason), longest=160)}")
    counted = [] if matched.bd is None else matched.curves
    said += [
        f"the BD-rate of {clean(one.curve)} is of the whole curve as each run has it: {one.old} "
        f"points in the old one, {one.new} in the new one, {one.changed} of them measured otherwise"
        for one in counted
    ]
    for names, what in (
        (matched.same, "the same in both"),
        (matched.only_old, "in the old run alone"),
        (matched.only_new, "in the new run alone"),
    ):
        if names:
            said.append(f"{what}: {listed(map(clean, names), NAMED)}")
    return ["\n".join(said)] if said else []
