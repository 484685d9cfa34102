"""A comparison as text: BD tables, readings, paired points, the clips that changed most.

Made from the tables of `rdbench.analysis` alone; what was refused is listed with its reason, and
curves that cross are said to, since one number does not describe them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rdbench.analysis.curves.bd_rate import AT_POINT, instead
from rdbench.analysis.curves.delta import LARGEST_GAP, LEAST_SHARE
from rdbench.report.cards import RunCard, records
from rdbench.report.names import clean, listed
from rdbench.report.numbers import (
    NONE,
    STATED,
    gap_text,
    kbps_text,
    p_text,
    percent_text,
    rate_text,
    score_text,
    share_text,
    signed,
    with_interval,
)
from rdbench.report.tables.points import NOT_A_RATE
from rdbench.report.text.columns import Column, aligned, fitted, folded, markdown_table
from rdbench.types import RateKind

if TYPE_CHECKING:
    import pandas as pd

Draw = Callable[[Sequence[Column]], str]
METHOD_NAMES = {"pchip": "PCHIP", "akima": "Akima"}
NAMED = 3
NARROW = (
    f", of little weight: over less than {100 * LEAST_SHARE:.0f} % of a curve, or with no point of "
    f"one on more than {100 * LARGEST_GAP:.0f} % of what it is taken over"
)
ENDS = ("best", "worst")


def comparison_text(
    tables: Mapping[str, pd.DataFrame],
    card: RunCard,
    *,
    reference: str | None,
    layout: str = "text",
    width: int | None = None,
    brief: bool = False,
    pairs_asked: bool = False,
) -> str:
    """All tables of a comparison with the curve `reference`, None where pairs alone are compared.

    brief: on one page: BD-rates by PCHIP, where curves cross, and what was asked for; what is left
    out is counted. pairs_asked: whether the pairs of points are those that were asked for.

    tables: `bd`, `readings`, `pairs`, `clips`, `latents`, each optional. layout: "text" for a
    terminal, "markdown" for a page. width: of the terminal, None where there is none.
    """
    in_text = aligned if width is None else partial(fitted, width=width)
    draw = markdown_table if layout == "markdown" else in_text
    parts: list[str] = []
    domains = dict.fromkeys(d for table in tables.values() for d in table["domain"])
    for domain in domains:
        parts.append(_title(clean(domain), 1, layout))
        inside = {name: table[table["domain"] == domain] for name, table in tables.items()}
        if brief and reference is not None:
            parts += _brief_parts(inside, card, reference, draw, layout)
            if not pairs_asked:
                continue
            parts += _pair_parts(inside.get("pairs"), card, draw, layout)
            parts += _latent_parts(inside.get("latents"), card, draw, layout)
            continue
        parts += _bd_parts(inside.get("bd"), card, reference, draw, layout)
        parts += _reading_parts(inside.get("readings"), card, draw, layout)
        parts += _pair_parts(inside.get("pairs"), card, draw, layout)
        parts += _clip_parts(inside.get("clips"), card, draw, layout)
        parts += _latent_parts(inside.get("latents"), card, draw, layout)
    page = "\n\n".join(parts or ["nothing to compare"]) + "\n"
    return page if width is None or layout == "markdown" else folded(page, width=width)


def _brief_parts(
    tables: Mapping[str, pd.DataFrame], card: RunCard, reference: str, draw: Draw, layout: str
) -> list[str]:
    """The first page: a BD-rate for each curve and metric, crossings, readings; then a count."""
    bd = tables["bd"]
    rates = bd[(bd["quantity"] == "bd_rate") & (bd["method"] == "pchip") & (bd["reason"] == "")]
    broad = rates[~rates["narrow"].astype(bool)]
    shown, weight = (broad, "") if len(broad) else (rates, NARROW)  # rather than nothing
    parts = []
    for basis, rows in shown.groupby("basis", sort=False):
        streams = "" if basis == "headline" else ", as streams that decode"
        title = f"BD-rate against {card.curve_label(reference)}{streams}: bits at equal quality, %"
        parts += [_title(title + weight, 2, layout), draw(_brief_columns(rows, card))]
    at_point = bd[(bd["quantity"] == AT_POINT) & (bd["method"] == "pchip") & (bd["reason"] == "")]
    if len(at_point):
        title = f"Against {card.curve_label(reference)}, at the quality of one point: bits, %"
        parts += [_title(title, 2, layout), draw(_brief_columns(at_point, card))]
    if any("×" in cell for part in parts for cell in part.splitlines()):
        parts.append("× the curves cross: no single number orders them")
    kinds = {*bd["rate_kind"], *bd["reference_rate_kind"]}
    parts += [] if parts else _refusals(bd, card, draw, layout)
    parts += [STATED] if RateKind.STATED in kinds else []
    parts += _reading_parts(tables.get("readings"), card, draw, layout)
    refused = bd[(bd["reason"] != "") & (bd["quantity"] == "bd_rate") & (bd["method"] == "pchip")]
    left = {
        "BD-rates over little of a curve": len(rates) - len(shown),
        "refused": len(refused),
        "differences of single points": int((tables["pairs"]["reason"] == "").sum()),
    }
    counted = ", ".join(f"{count} {what}" for what, count in left.items() if count)
    parts.append(
        f"More with --all: BD-quality, kinds of rate, notes{', ' * bool(counted)}{counted}"
    )
    return parts


def _brief_columns(rows: pd.DataFrame, card: RunCard) -> list[Column]:
    """A row for each curve, a column for each metric."""
    cells: dict[str, dict[str, str]] = {}
    curves: dict[tuple[str, str], tuple[str, str]] = {}
    for row in records(rows):
        where = (row.curve, row.variant)
        curves[where] = (card.curve_label(row.curve), _kinds(row, card))
        mark = " ×" if row.crosses else ""
        cells.setdefault(row.key, {})[str(where)] = f"{_bd_text(row, card)}{mark}"
    return [
        Column("curve", [label for label, _ in curves.values()]),
        Column("rates compared", [kinds for _, kinds in curves.values()]),
        *(
            Column(
                f"{clean(key)} {card.metrics[key].arrow}".strip(),
                [found.get(str(where), NONE) for where in curves],
                right=True,
            )
            for key, found in cells.items()
        ),
    ]


def _bd_parts(
    bd: pd.DataFrame | None, card: RunCard, reference: str | None, draw: Draw, layout: str
) -> list[str]:
    if bd is None or bd.empty or reference is None:
        return []
    against = card.curve_label(reference)
    parts = []
    for quantity, title in (
        ("bd_rate", f"BD-rate against {against}: change in bits at equal quality, %"),
        ("bd_quality", f"BD-quality against {against}: change in quality at equal bits"),
    ):
        part = bd[bd["quantity"] == quantity]
        narrow = part["narrow"].astype(bool)
        for rows, more in ((part[~narrow], ""), (part[narrow], NARROW)):
            columns = _bd_columns(rows, card)
            if columns:
                parts += [_title(title + more, 2, layout), draw(columns)]
    columns = _bd_columns(bd[bd["quantity"] == AT_POINT], card)
    if columns:
        title = (
            f"Against {against}, at the quality of the one of the two that has one rate: bits, %"
        )
        parts += [_title(title, 2, layout), draw(columns)]
    parts += _sentences(bd, card, layout)
    return parts + _refusals(bd, card, draw, layout)


def _bd_columns(bd: pd.DataFrame, card: RunCard) -> list[Column]:
    of_row = ["key", "backend", "curve", "variant", "basis"]
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in records(bd[bd["reason"] == ""]):
        rows.setdefault(tuple(getattr(row, c) for c in of_row), {})[row.method] = row
    if not rows:
        return []
    first = [next(iter(by_method.values())) for by_method in rows.values()]
    methods = list(dict.fromkeys(bd["method"]))
    columns = [
        Column("metric", [_metric_name(row, bd, card) for row in first]),
        Column("curve", [card.curve_label(row.curve) for row in first]),
        Column("rates compared", [_kinds(row, card) for row in first]),
    ]
    for method in methods:
        cells = [_bd_text(found.get(method), card) for found in rows.values()]
        columns.append(Column(METHOD_NAMES.get(method, method), cells, right=True))
    columns += [
        Column("taken over", [_range(row, card) for row in first], right=True),
        Column("of curve / reference", [_shares(row) for row in first], right=True),
        Column("gap in curve / reference", [_shares(row, "gap") for row in first], right=True),
        Column("clips", [_clips(row, card) for row in first], right=True),
    ]
    return columns


def _sentences(bd: pd.DataFrame, card: RunCard, layout: str) -> list[str]:
    """What the tables do not show by themselves: crossings, kinds of rate, notes."""
    lines = []
    crossing = bd[(bd["method"] == bd["method"].iloc[0]) & bd["crosses"].astype(bool)]
    crossing = crossing.sort_values("quantity", kind="stable", ascending=False)
    crossing = crossing.drop_duplicates(["key", "backend", "curve", "basis"])
    for row in records(crossing):
        write = score_text(card.metrics[row.key])
        lines.append(
            f"{card.curve_label(row.curve)} and {card.curve_label(row.reference)} cross in "
            f"{clean(row.key)}{_by_basis(row, card)}: at {kbps_text(row.crossing_kbps)} kbps, "
            f"{write(row.crossing_quality)} ({100 * row.crossing_share:.0f} % of the resamples "
            "cross); no single number orders them."
        )
    headline = bd[(bd["basis"] == "headline") & ~bd["variant"].isin(card.not_sent)]
    kinds = headline.drop_duplicates(["curve", "rate_kind", "reference_rate_kind"])
    for row in records(kinds):
        if row.rate_kind and row.reference_rate_kind and row.rate_kind != row.reference_rate_kind:
            lines.append(
                f"{card.curve_label(row.curve)} and {card.curve_label(row.reference)} are "
                f"headlined by rates of different kinds ({row.rate_kind} against "
                f"{row.reference_rate_kind}); beside it stands the comparison under decodable "
                "streams, where measured."
            )
    if RateKind.STATED in {*headline["rate_kind"], *headline["reference_rate_kind"]}:
        lines.append(STATED)
    notes: dict[tuple[str, str, str], dict[str, None]] = {}
    # One method's rows tell of both.
    told = bd.drop_duplicates(["key", "backend", "curve", "variant", "basis", "quantity"])
    for row in records(told[told["note"] != ""]):
        notes.setdefault((row.curve, _by_basis(row, card), row.note), {})[row.key] = None
    for (name, basis, note), keys in notes.items():
        named = listed(map(clean, keys), NAMED)
        lines.append(f"{card.curve_label(name)}, {named}{basis}: {clean(note, longest=200)}.")
    if not lines:
        return []
    mark = "- " if layout == "markdown" else "  "
    return ["\n".join(mark + line for line in lines)]


def _refusals(bd: pd.DataFrame, card: RunCard, draw: Draw, layout: str) -> list[str]:
    refused = bd[(bd["reason"] != "") & ~instead(bd)]
    if refused.empty:
        return []
    fates: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in records(refused):
        fate = (row.curve, _kinds(row, card), row.reason)
        fates.setdefault(fate, {})[row.key] = None
    columns = [
        Column("curve", [card.curve_label(name) for name, *_ in fates]),
        Column("rates compared", [kinds for _, kinds, _ in fates]),
        Column("metrics", [listed(map(clean, keys), NAMED) for keys in fates.values()]),
        Column("answer", [clean(reason, longest=160) for *_, reason in fates]),
    ]
    return [_title("Not compared", 2, layout), draw(columns)]


def _reading_parts(
    readings: pd.DataFrame | None, card: RunCard, draw: Draw, layout: str
) -> list[str]:
    if readings is None or readings.empty:
        return []
    parts = []
    for (quantity, at), part in readings.groupby(["quantity", "at"], sort=False):
        by_rate = quantity == "quality_at_rate"
        rows = records(part)
        title = f"At {at:g} kbps" if by_rate else f"To reach {clean(rows[0].key)} {at:g}"
        answers = [row.reason or _reading(row, card) for row in rows]
        columns = [
            Column("curve", [card.curve_label(row.curve) for row in rows]),
            Column("rate", [row.rate_kind for row in rows]),
            Column("metric", [clean(row.key) for row in rows]),
            Column("answer", [clean(answer, longest=160) for answer in answers]),
        ]
        parts += [_title(title, 2, layout), draw(columns)]
    return parts


def _pair_parts(pairs: pd.DataFrame | None, card: RunCard, draw: Draw, layout: str) -> list[str]:
    if pairs is None or pairs.empty:
        return []
    rows = records(pairs[pairs["reason"] == ""])
    parts = []
    if rows:
        columns = [
            Column("metric", [clean(row.key) for row in rows]),
            Column("point (kbps)", [_rated(row, "", card) for row in rows]),
            Column("against (kbps)", [_rated(row, "reference_", card) for row in rows]),
            Column("difference", [_difference(row, card) for row in rows], right=True),
            Column("better on", [_wins(row) for row in rows], right=True),
            Column("p", [p_text(row.p) for row in rows], right=True),
            Column("p, Holm", [p_text(row.p_holm) for row in rows], right=True),
        ]
        tests = f"{len(rows)} test{'s' * (len(rows) != 1)}, Holm-corrected"
        title = f"Paired differences at single points ({tests})"
        parts += [_title(title, 2, layout), draw(columns)]
        if any(NOT_A_RATE in cell for column in columns[1:3] for cell in column.cells):
            parts.append(f"{NOT_A_RATE} not a rate point: no one can transmit it at a stated rate.")
    return parts + _unpaired(records(pairs[pairs["reason"] != ""]), card, draw, layout)


def _unpaired(rows: Sequence[Any], card: RunCard, draw: Draw, layout: str) -> list[str]:
    fates: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in rows:
        fate = (_rated(row, "", card), _rated(row, "reference_", card), row.reason)
        fates.setdefault(fate, {})[row.key] = None
    if not fates:
        return []
    columns = [
        Column("point (kbps)", [point for point, *_ in fates]),
        Column("against (kbps)", [other for _, other, _ in fates]),
        Column("metrics", [listed(map(clean, keys), NAMED) for keys in fates.values()]),
        Column("answer", [clean(reason, longest=160) for *_, reason in fates]),
    ]
    return [_title("Points not compared", 2, layout), draw(columns)]


def _clip_parts(clips: pd.DataFrame | None, card: RunCard, draw: Draw, layout: str) -> list[str]:
    if clips is None or clips.empty:
        return []
    tests: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for row in records(clips):
        test = (clean(row.key), _point(row, "", card), _point(row, "reference_", card))
        change = signed(score_text(card.metrics[row.key]))(row.difference)
        named = f"{change} {clean(row.clip, longest=60)}"
        tests.setdefault(test, {"best": [], "worst": []})[row.end].append(named)
    columns = [
        Column("metric", [key for key, *_ in tests]),
        Column("point", [point for _, point, _ in tests]),
        Column("against", [other for *_, other in tests]),
        *(Column(end, ["; ".join(found[end]) for found in tests.values()]) for end in ENDS),
    ]
    return [_title("Clips that change most", 2, layout), draw(columns)]


def _latent_parts(
    latents: pd.DataFrame | None, card: RunCard, draw: Draw, layout: str
) -> list[str]:
    """Statistics of latents, and their rates under each prior."""
    rows = [] if latents is None else records(latents[latents["reason"] == ""])
    if not rows:
        return []

    def number(value: float) -> str:
        return f"{value:.4g}".replace("-", "−")

    def latent(row: Any, side: str) -> str:
        name = getattr(row, f"{side}system")
        label = card.systems[name].label if name in card.systems else clean(name)
        return f"{label} {clean(getattr(row, f'{side}point'))}"

    of_rate = [f"kbps under {clean(r.key)}" if r.kind == "rate" else clean(r.key) for r in rows]
    columns = [
        Column("of the latent", of_rate),
        Column("point", [latent(row, "") for row in rows]),
        Column("against", [latent(row, "reference_") for row in rows]),
        Column("value", [number(row.value) for row in rows], right=True),
        Column("against", [number(row.reference_value) for row in rows], right=True),
        Column(
            "difference",
            [with_interval(signed(number), row.difference, row.low, row.high) for row in rows],
            right=True,
        ),
        Column("p", [p_text(row.p) for row in rows], right=True),
    ]
    title = "Latents: rates under each prior and statistics, p not corrected"
    return [_title(title, 2, layout), draw(columns)]


def _title(text: str, level: int, layout: str) -> str:
    return f"{'#' * (level + 1)} {text}" if layout == "markdown" else text


def _metric_name(row: Any, bd: pd.DataFrame, card: RunCard) -> str:
    metric = card.metrics[row.key]
    several = bd.loc[bd["key"] == row.key, "backend"].nunique() > 1
    return f"{clean(row.key)}{f', {row.backend}' if several else ''} {metric.arrow}".strip()


def _kinds(row: Any, card: RunCard) -> str:
    one = rate_text(row.rate_kind, row.variant)
    two = rate_text(row.reference_rate_kind, row.reference_variant)
    if row.variant in card.not_sent:
        one = f"{one}, {row.variant} decoded"
    return one if one == two else f"{one} : {two}"


def _by_basis(row: Any, card: RunCard) -> str:
    return f" ({_kinds(row, card)})" if row.basis != "headline" else ""


def _bd_text(row: Any, card: RunCard) -> str:
    if row is None:
        return NONE
    percent = row.unit == "%" and row.quantity != "bd_quality"
    write = percent_text if percent else signed(score_text(card.metrics[row.key]))
    return with_interval(write, row.value, row.low, row.high)


def _range(row: Any, card: RunCard) -> str:
    write = kbps_text if row.quantity == "bd_quality" else score_text(card.metrics[row.key])
    if row.quantity == AT_POINT:
        return f"at {write(row.range_low)}"
    unit = " kbps" if row.quantity == "bd_quality" else ""
    return f"{write(row.range_low)} to {write(row.range_high)}{unit}"


def _shares(row: Any, of: str = "share") -> str:
    curve, reference = getattr(row, f"{of}_curve"), getattr(row, f"{of}_reference")
    if not math.isfinite(curve):
        return NONE
    write = gap_text if of == "gap" else share_text
    return f"{write(curve)} % / {write(reference)} %"


def _clips(row: Any, card: RunCard) -> str:
    if card.metrics[row.key].scope == "set":
        return "set"
    count = f"{row.n_clips}/{row.n_total}" if row.n_clips < row.n_total else f"{row.n_clips}"
    return count if row.n_groups == row.n_clips else f"{count} in {row.n_groups}"


def _reading(row: Any, card: RunCard) -> str:
    write = kbps_text if row.unit == "kbps" else score_text(card.metrics[row.key])
    text = f"{with_interval(write, row.value, row.low, row.high)} {row.unit}".rstrip()
    return f"{text} ({row.note})" if row.note else text


def _difference(row: Any, card: RunCard) -> str:
    write = signed(score_text(card.metrics[row.key]))
    return with_interval(write, row.difference, row.low, row.high)


def _wins(row: Any) -> str:
    if not math.isfinite(row.win_rate):
        return "–"
    worse = f", worse on {row.n_worse}" if row.n_worse else ""
    return f"{100 * row.win_rate:.0f} % ({row.n_better} of {row.n_clips}{worse})"


def _point(row: Any, side: str, card: RunCard) -> str:
    name = getattr(row, f"{side}system")
    point, variant = getattr(row, f"{side}point"), getattr(row, f"{side}variant")
    label = card.systems[name].label if name in card.systems else clean(name)
    text = f"{label} {clean(point)}"
    if not card.variant(variant).headline:
        text += f" {clean(variant)}"
    return text if card.variant(variant).transmitted else f"{text} {NOT_A_RATE}"


def _rated(row: Any, side: str, card: RunCard) -> str:
    """A point with its rate in kbps and the kind of it."""
    kbps, kind = getattr(row, f"{side}kbps"), getattr(row, f"{side}rate_kind")
    rate = f" ({kbps_text(kbps)} {kind})" if math.isfinite(kbps) else ""
    return _point(row, side, card) + rate
