"""Tables of a run: Markdown to read, CSV to compute with, and a short text for the terminal.

The Markdown has, per domain, the rates of every kind that was measured and the scores with their
intervals; then what was not scored and why, and the costs. The CSV is tidy: one line per point,
variant, domain and quantity, with its unit, interval, counts and the rate beside it.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.aggregate import rate_distortion
from rdbench.report.describe import (
    RATE_MEANING,
    RESIDUAL_DELAY,
    VARIANTS,
    RunCard,
    clips_text,
    describe,
    few_groups,
    ordered,
    records,
    scored_metrics,
)
from rdbench.report.names import clean, markdown
from rdbench.report.numbers import cost_text, cost_title, kbps_text, score_text
from rdbench.report.text import Column, aligned, markdown_table, packed
from rdbench.store.atomic import make_folder, write_atomic

if TYPE_CHECKING:
    import pandas as pd

WIDEST = 118
PROSE = 100
NOT_A_RATE = "°"
BRIEF_NAME = 16
NAMED = 2
Place = tuple[str, str, str, str]  # system, curve, point, variant


def write_tables(
    folder: Path, *, points: pd.DataFrame, manifest: Mapping[str, Any], confidence: float = 0.95
) -> list[Path]:
    """Writes `folder`/table.md and `folder`/table.csv, each whole, and returns them.

    points: of `rdbench.analysis.aggregate.points`, with intervals at `confidence`. manifest: what
    `rdbench.report.describe` says.
    """
    make_folder(folder)
    texts = {
        "table.md": markdown_text(points, manifest, confidence=confidence),
        "table.csv": csv_table(points, manifest).to_csv(index=False, lineterminator="\n"),
    }
    written = []
    for name, text in texts.items():
        write_atomic(folder / name, text.encode("utf-8", errors="replace"))
        written.append(folder / name)
    return written


def csv_table(points: pd.DataFrame, manifest: Mapping[str, Any]) -> pd.DataFrame:
    """All aggregates, tidy; value, low and high in `unit`, rates of the point in kbps."""
    card = describe(points, manifest)
    rates = rate_distortion(points, card.headlines)
    place = ["system", "curve", "point", "variant", "domain"]
    sides = ["rate_kind", "kbps", "kbps_low", "kbps_high", "rate_point"]
    beside = rates.drop_duplicates(place)[[*place, *sides]]
    table = points.merge(beside, on=place, how="left")
    table["rate_kind"] = table["rate_kind"].fillna("")
    table.insert(1, "label", [card.systems[name].label for name in table["system"]])
    directions = {key: metric.direction for key, metric in card.metrics.items()}
    is_metric = table["kind"] == "metric"
    table["better"] = [
        directions.get(key, "") if metric else ""
        for key, metric in zip(table["key"], is_metric, strict=True)
    ]
    return table.rename(
        columns={
            "kbps": "headline_kbps",
            "kbps_low": "headline_kbps_low",
            "kbps_high": "headline_kbps_high",
            "rate_kind": "headline_kind",
            "reason": "reason_not_ok",
            "note": "interval_note",
        }
    )


def markdown_text(
    points: pd.DataFrame, manifest: Mapping[str, Any], *, confidence: float = 0.95
) -> str:
    """The whole of table.md."""
    card = describe(points, manifest)
    parts = [_caption(points, card, confidence)]
    for domain in _domains(points):
        inside = points[points["domain"] == domain]
        counts = f"{clips_text(inside).capitalize()}. {few_groups(inside)}".rstrip()
        parts.append(f"## {markdown(clean(domain))}\n\n{counts}")
        places = _places(inside, card)
        rated = _rated(inside, places)
        parts += _section("Rates (kbps)", _place_columns(rated, card), _rate_columns(inside, rated))
        head = [*_place_columns(places, card), _headline_column(places, inside, card)]
        parts += _section("Scores", head, _score_columns(inside, card, places))
        parts += _missing(inside, card)
    parts += _costs(points, card)
    return "\n\n".join(parts) + "\n"


def summary_text(points: pd.DataFrame, manifest: Mapping[str, Any], *, width: int = 100) -> str:
    """A short table for the terminal, at most `width` columns where names allow."""
    card = describe(points, manifest)
    parts = []
    starred = dotted = False
    for domain in _domains(points):
        inside = points[points["domain"] == domain]
        places = _places(inside, card)
        head = _place_columns(places, card, longest=28)
        head.append(_headline_column(places, inside, card))
        scores = _score_columns(inside, card, places, brief=True)
        blocks = packed(head, scores, width=width) if scores else [head]
        parts.append(f"{clean(domain)}: {clips_text(inside)}")
        parts += [aligned(block) for block in blocks]
        cells = [cell for block in blocks for column in block for cell in column.cells]
        starred |= any(cell.endswith("*") for cell in cells)
        dotted |= any(cell.endswith(NOT_A_RATE) for cell in cells)
    notes = []
    if starred:
        notes.append("* not all clips were scored: see table.md")
    if dotted:
        notes.append(f"{NOT_A_RATE} not a rate point: the rate is that of a sample of the latent")
    return "\n\n".join([*parts, *notes]) + "\n" if parts else "nothing was measured\n"


def _domains(points: pd.DataFrame) -> list[str]:
    return [d for d in dict.fromkeys(points.loc[points["kind"] != "cost", "domain"]) if d]


def _caption(points: pd.DataFrame, card: RunCard, confidence: float) -> str:
    kinds = list(dict.fromkeys(points.loc[points["kind"] == "rate", "key"]))
    kinds = ordered(kinds, list(RATE_MEANING))
    reading = (
        f"In brackets: {confidence * 100:g} % intervals from a bootstrap over groups of clips. A "
        "fraction such as 38/40 counts the clips that have a score, where not all have one. "
        "↑ higher is better, ↓ lower is better. The rate of a point is total bits over total "
        "seconds."
    )
    said = (f"Corpus: {card.corpus.rstrip('.')}.", f"Protocol: {card.protocol}.")
    lines = ["# Rates, scores and costs"]
    for paragraph in (*map(markdown, said), reading):
        lines += ["", textwrap.fill(paragraph, PROSE, break_long_words=False)]
    if kinds:
        lines += ["", "Kinds of rate:", ""]
        lines += [f"- {kind}: {RATE_MEANING.get(kind, kind)}" for kind in kinds]
    if "mean" in set(points["variant"]):
        lines += [
            "",
            f"{NOT_A_RATE} not a rate point: the mean of the latent is decoded, but the rate is "
            "that of a sample,\nand no one can transmit the mean at this price.",
        ]
    return "\n".join(lines)


def _places(inside: pd.DataFrame, card: RunCard) -> list[Place]:
    """The rows of a table: systems and points in the spec's order, variants by rank.

    Points that the manifest does not list stand in order of measured rate.
    """
    columns = ["system", "curve", "point", "variant"]
    rows = list(inside[columns].drop_duplicates().itertuples(index=False, name=None))
    rates = inside[inside["kind"] == "rate"]
    kbps: dict[tuple[str, str], float] = {}
    for row in records(rates):
        if row.key == card.headlines.get(row.system) and math.isfinite(row.value):
            kbps.setdefault((row.system, row.point), row.value)
    systems = {name: rank for rank, name in enumerate(card.systems)}
    first = {(s, p): rank for rank, (s, _, p, _) in reversed(list(enumerate(rows)))}

    def place(row: Place) -> tuple[Any, ...]:
        system, _, point, variant = row
        known = card.systems[system].points
        rate = known.index(point) if point in known else kbps.get((system, point), math.inf)
        rank = VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS)
        return systems[system], rate, first[system, point], rank, variant

    return sorted(rows, key=place)


def _section(title: str, head: list[Column], columns: list[Column]) -> list[str]:
    """A heading with as many tables as the columns need."""
    if not columns:
        return []
    blocks = packed(head, columns, width=WIDEST)
    return [f"### {title}", *map(markdown_table, blocks)]


def _rated(inside: pd.DataFrame, places: Sequence[Place]) -> list[Place]:
    """The places that have rates of their own."""
    rates = inside.loc[inside["kind"] == "rate", ["system", "curve", "point", "variant"]]
    found = set(rates.itertuples(index=False, name=None))
    return [place for place in places if place in found]


def _place_columns(places: Sequence[Place], card: RunCard, *, longest: int = 48) -> list[Column]:
    """System, point, and variant where there is a choice."""
    variants = {variant for *_, variant in places}
    columns = [
        Column("system", [clean(card.systems[s].label, longest=longest) for s, *_ in places]),
        Column("point", [clean(point, longest=longest) for _, _, point, _ in places], right=True),
    ]
    if variants != {"codes"}:
        columns.append(Column("variant", [clean(variant) for *_, variant in places]))
    return columns


def _headline_column(places: Sequence[Place], inside: pd.DataFrame, card: RunCard) -> Column:
    """The headline rate with its kind: "6.02 payload"."""
    rates = rate_distortion(inside, card.headlines)
    found = {(row.system, row.curve, row.point, row.variant): row for row in records(rates)}
    numbers, kinds = [], []
    for place in places:
        row: Any = found.get(place)
        if row is None or not math.isfinite(row.kbps):
            numbers.append("–")
            kinds.append("")
            continue
        numbers.append(kbps_text(row.kbps))
        kinds.append(f" {row.rate_kind}" + ("" if row.rate_point else NOT_A_RATE))
    wide = max(map(len, numbers), default=0)
    cells = [number.rjust(wide) + kind for number, kind in zip(numbers, kinds, strict=True)]
    return Column("kbps", cells)


def _rate_columns(inside: pd.DataFrame, places: Sequence[Place]) -> list[Column]:
    rates = inside[inside["kind"] == "rate"]
    columns = []
    pairs = rates[["key", "backend"]].drop_duplicates()
    for kind in ordered(list(pairs["key"]), list(RATE_MEANING)):
        models = list(pairs.loc[pairs["key"] == kind, "backend"])
        for model in models:
            part = rates[(rates["key"] == kind) & (rates["backend"] == model)]
            title = f"{kind}, {clean(model)}" if len(models) > 1 and model else kind
            cells = _cells(part, places, kbps_text)
            if any(cells):
                columns.append(Column(title, [cell or "–" for cell in cells], right=True))
    used = inside[inside["kind"] == "usage"]
    for key in dict.fromkeys(used["key"]):
        cells = _cells(used[used["key"] == key], places, "{:.3g}".format)
        title = key.replace("_", " ")
        columns.append(Column(title, [cell or "–" for cell in cells], right=True))
    return columns


def _score_columns(
    inside: pd.DataFrame, card: RunCard, places: Sequence[Place], *, brief: bool = False
) -> list[Column]:
    pairs = scored_metrics(inside, card)
    keys = [key for key, _ in pairs]
    delays = inside.loc[inside["key"] == RESIDUAL_DELAY, "backend"]
    if len(delays) and not brief:
        pairs = [*pairs, (RESIDUAL_DELAY, delays.iloc[0])]
    columns = []
    for key, backend in pairs:
        part = inside[(inside["key"] == key) & (inside["backend"] == backend)]
        metric = card.metrics[key]
        name = f"{metric.title}, {clean(backend)}" if keys.count(key) > 1 else metric.title
        if key == RESIDUAL_DELAY:
            name = f"residual delay ({metric.unit})"
        cells = _cells(part, places, score_text(metric), brief=brief)
        if brief and keys.count(key) == 1:
            name = metric.name if len(metric.name) <= BRIEF_NAME else clean(key)
        title = f"{name} {metric.arrow}".strip()
        columns.append(Column(title, [cell or "–" for cell in cells], right=True))
    return columns


def _cells(
    part: pd.DataFrame,
    places: Sequence[Place],
    write: Callable[[float], str],
    *,
    brief: bool = False,
) -> list[str]:
    found = {(row.system, row.curve, row.point, row.variant): row for row in records(part)}
    return [_cell(found.get(place), write, brief=brief) for place in places]


def _cell(row: Any, write: Callable[[float], str], *, brief: bool) -> str:
    """Value, interval and count of one aggregate; "" where it was not asked for."""
    if row is None:
        return ""
    short = bool(row.n_ok < row.n_total)
    if not math.isfinite(row.value):
        return "–*" if brief else f"– {row.n_ok}/{row.n_total}"
    text = write(row.value)
    if brief:
        return text + "*" * short
    if math.isfinite(row.low) and math.isfinite(row.high):
        ends = f"[{write(row.low)}, {write(row.high)}]"
        # A rate that is the same for every group has no interval to show.
        text += "" if row.low == row.high else f" {ends}"
    return f"{text} {row.n_ok}/{row.n_total}" if short else text


def _missing(inside: pd.DataFrame, card: RunCard) -> list[str]:
    """What has no value, and the most frequent reason; quantities of one fate in one row."""
    rows = inside[(inside["n_ok"] < inside["n_total"]) & (inside["kind"] != "cost")]
    fates: dict[tuple[Any, ...], list[str]] = {}
    for row in records(rows):
        metric = card.metrics.get(row.key) if row.kind == "metric" else None
        name = metric.name if metric and row.key != RESIDUAL_DELAY else row.key.replace("_", " ")
        counts = (row.n_undefined, row.n_failed)
        not_done = row.n_total - row.n_ok - sum(counts)
        place = (card.systems[row.system].label, clean(row.point), clean(row.variant))
        fate = (*place, *map(str, (*counts, not_done, row.n_total)), clean(row.reason, longest=120))
        fates.setdefault(fate, []).append(clean(name))
    if not fates:
        return []
    system, point, variant, undefined, failed, not_done, clips, reason = (
        list(cells) for cells in zip(*fates, strict=True)
    )
    table = [
        Column("system", system),
        Column("point", point, right=True),
        Column("variant", variant),
        Column("quantities", [_listed(names) for names in fates.values()]),
        Column("undefined", undefined, right=True),
        Column("failed", failed, right=True),
        Column("not done", not_done, right=True),
        Column("clips", clips, right=True),
        Column("most frequent reason", reason),
    ]
    return ["### Clips without a value", markdown_table(table)]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown


def _costs(points: pd.DataFrame, card: RunCard) -> list[str]:
    costs = points[points["kind"] == "cost"]
    if costs.empty:
        return []
    domains = set(costs["domain"])
    columns = ["system", "curve", "point", "variant", "domain"]
    places = list(costs[columns].drop_duplicates().itertuples(index=False, name=None))
    places.sort(key=lambda place: list(card.systems).index(place[0]))
    table = [
        Column("system", [card.systems[s].label for s, *_ in places]),
        Column("point", [clean(place[2]) for place in places], right=True),
    ]
    if len(places) > len({(s, p, d) for s, _, p, _, d in places}):
        table.append(Column("variant", [clean(place[3]) for place in places]))
    if domains != {""}:
        table.append(Column("domain", [clean(place[4]) or "–" for place in places]))
    unmeasured = []
    for key in dict.fromkeys(costs["key"]):
        part = costs[costs["key"] == key]
        if not np.isfinite(part["value"]).any():
            reasons = "; ".join(dict.fromkeys(clean(r, longest=120) for r in part["reason"] if r))
            unmeasured.append(f"{cost_title(key, '')}: no value ({markdown(reasons)}).")
            continue
        unit = str(part["unit"].iloc[0])
        values = {
            tuple(place): value
            for *place, value in part[[*columns, "value"]].itertuples(index=False, name=None)
        }
        cells = [cost_text(values.get(place, math.nan), unit) for place in places]
        table.append(Column(cost_title(key, unit), cells, right=True))
    return ["## Costs", markdown_table(table), *unmeasured]
