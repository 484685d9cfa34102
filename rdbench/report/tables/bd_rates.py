"""BD-rates of a run's curves, as tables: a row per metric and curve, with what it stands on.

Curves are held against one of them, and against each further setting of its codec; those of one
family (a VAE and its discrete siblings) against each other: two numbers against a third curve are
over two ranges of quality, and their difference is no comparison. What rests on little of a curve,
or on few of its points, stands in a table of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rdbench.analysis.curves.bd_rate import AT_POINT, bd_table, beyond, instead
from rdbench.analysis.curves.delta import LARGEST_GAP, LEAST_SHARE
from rdbench.analysis.curves.sides import require_curve
from rdbench.analysis.stats.leave_one_out import Sampling
from rdbench.report.cards import RESIDUAL_DELAY, RunCard, records
from rdbench.report.names import clean, listed, slug
from rdbench.report.numbers import (
    NONE,
    STATED,
    gap_text,
    percent_text,
    rate_text,
    score_text,
    share_text,
)
from rdbench.report.tables.bold import LEVEL, best_curves, needed_references
from rdbench.report.tables.table import Cell, Table, TableColumn, words
from rdbench.types import RateKind

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

FEWEST = 3  # points of a curve that a BD-rate can be taken against
STREAMS = ", decodable streams"


@dataclass(frozen=True)
class BdRates:
    """rows: of `rdbench.analysis.curves.bd_rate`, the BD-rates by PCHIP. others: the same against
    the curves that are best in something. reference: "" and a reason where there is nothing to
    compare. settings: the same against other curves of the reference's codec. pairs: the same
    between curves of one family.
    """

    rows: pd.DataFrame | None
    others: dict[str, pd.DataFrame]
    reference: str
    reason: str = ""
    settings: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    pairs: pd.DataFrame | None = None

    @property
    def all(self) -> list[pd.DataFrame]:
        """What is shown; no two curves twice."""
        found = [self.rows, *self.settings.values(), self.pairs]
        return [rows for rows in found if rows is not None]


def bd_rates(
    run: Run,
    card: RunCard,
    reference: str | None,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    seed: int = 0,
) -> BdRates:
    """BD-rates against the curve `reference`, by default the first curve with three points.

    pairs: curves that are compared with each other besides, by default all with each other setting
    of the reference's codec, and those whose systems are of one adapter or family. Raises
    RdbenchError for a curve that is not there.
    """
    curves = card.curves
    if reference is not None:
        require_curve(reference, curves)
    for name in itertools.chain.from_iterable(pairs or ()):
        require_curve(name, curves, option="pairs:")
    curves = tuple(curve for curve in curves if _points(run, curve))  # not what could not be run
    chosen = reference or next((c for c in curves if _points(run, c) >= FEWEST), "")
    if not chosen or len(curves) < 2:
        reason = "no BD-rate: it needs two curves, one of them with three points"
        return BdRates(None, {}, "", reason)
    metrics = _metrics(run, card)
    if not metrics:
        return BdRates(None, {}, "", "no BD-rate: no metric says which way is better")
    shared: dict[str, Any] = {"methods": ("pchip",), "quantities": ("bd_rate",)}
    shared["sampling"] = Sampling(seed=seed)
    rows = bd_table(run, reference=chosen, metrics=metrics, **shared)
    others = {
        curve: _headline(bd_table(run, reference=curve, metrics=keys, **shared), card)
        for curve, keys in needed_references(_headline(rows, card)).items()
    }
    settings: dict[str, pd.DataFrame] = {}
    for other in _settings(run, card, chosen) if pairs is None else ():
        against = [curve for curve in curves if curve not in (chosen, *settings)]
        settings[other] = bd_table(run, reference=other, curves=against, metrics=metrics, **shared)
    between = [
        bd_table(run, reference=other, curves=[curve], metrics=metrics, **shared)
        for curve, other in _pairs(run, card, pairs)
        if not {chosen, *settings} & {curve, other}
    ]
    return BdRates(rows, others, chosen, settings=settings, pairs=_joined(between))


def bd_tables(found: BdRates, card: RunCard, domain: str, *, about: str) -> list[Table]:
    """The tables of one domain: by headline rates and, where those differ in kind, by streams; the
    same against other settings of the reference and between curves of one family; and, apart, what
    rests on too little of a curve.

    about: corpus and protocol, for the captions.
    """
    if found.rows is None:
        return []
    inside = _shown(found.rows, card, domain)
    against = f"against {card.curve_label(found.reference)}"
    parts = [(inside, "", against)]
    for other, rows in found.settings.items():
        which = f"against {card.curve_label(other)}"
        parts.append((_shown(rows, card, domain), f"_{slug(other)}", which))
    if found.pairs is not None:
        parts.append((_shown(found.pairs, card, domain), "_pairs", "between curves of one family"))
    bold, tests = best_curves(_headline(inside, card), domain, found.others)
    tables = []
    for rows, name, which in parts:
        for basis, more, title in (("headline", "", ""), ("decodable", "_streams", STREAMS)):
            part = rows[(rows["basis"] == basis) & ~rows["narrow"].astype(bool)]
            if part.empty:
                continue
            caption = f"{_caption(part, card, which)} {about}"
            strong = bold if not name and basis == "headline" else set()
            if strong:
                caption += (
                    " Bold: fewer bits than every other curve, crossing none (paired over groups, "
                    f"Holm over {tests} tests, {100 * LEVEL:g} %)."
                )
                if RateKind.KL in {*part["rate_kind"], *part["reference_rate_kind"]}:
                    caption += " Headline rates are compared, and a KL is a bound and no stream."
            titled = f"BD-rate {which}{title}"
            named = f"bd_rate{name}{more}"
            tables.append(
                _table(part, card, name=named, title=titled, caption=caption, bold=strong)
            )
    narrow = _joined([rows[rows["narrow"].astype(bool)] for rows, *_ in parts])
    if narrow is not None:
        which = f"over less than {100 * LEAST_SHARE:.0f} % of a curve, or across a gap in one"
        if narrow["reference"].nunique() == 1:  # else a column says it
            which = f"against {card.curve_label(narrow['reference'].iloc[0])}, {which}"
        title = f"BD-rates {which}"
        caption = (
            f"{_caption(narrow, card, f'{which} (of little weight)')} Apart for a gap: no point of "
            f"a curve on more than {100 * LARGEST_GAP:.0f} % of the range. {about}"
        )
        tables.append(_table(narrow, card, name="bd_rate_narrow", title=title, caption=caption))
    return tables


def refusals(found: BdRates, card: RunCard, domain: str) -> list[str]:
    """Why curves have no BD-rate in `domain`, in sentences."""
    if found.rows is None:
        return [found.reason] if found.reason else []
    fates: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for rows in found.all:
        inside = rows[(rows["domain"] == domain) & (rows["reason"] != "") & ~instead(rows)]
        for row in records(inside):
            if rows is not found.rows and row.variant in card.not_sent:
                continue  # said once
            other = "" if rows is found.rows else f" against {card.curve_label(row.reference)}"
            fate = (row.curve, other, _pair(*_rates(row)), row.reason)
            fates.setdefault(fate, {})[card.metrics[row.key].name] = None
    texts = []
    for (curve, other, kinds, reason), metrics in fates.items():
        where = f"{card.curve_label(curve)}{other}, {kinds}" if kinds else card.curve_label(curve)
        text = f"{where} ({listed(metrics, 3)}): {clean(reason, longest=200)}"
        texts.append(text)
    return texts


def _caption(part: pd.DataFrame, card: RunCard, which: str) -> str:
    domain = card.domain_label(str(part["domain"].iloc[0]))
    text = (
        f"BD-rate {which} on {domain}: change in bits at equal quality in percent, negative is "
        "fewer (PCHIP over log rate), with 95 % intervals over groups of clips; the range of "
        "quality that it is taken over, its shares of the curve and of the other one, and the "
        "longest parts of it (gaps) without a point of the one and of the other."
    )
    if (part["quantity"] == AT_POINT).any():
        text += " Where one of the two has one rate, bits are compared at its quality."
    return f"{text} Kinds of rate: {_kinds(part)}."


def _table(
    part: pd.DataFrame,
    card: RunCard,
    *,
    name: str,
    title: str,
    caption: str,
    bold: Collection[tuple[str, str, str]] = (),
) -> Table:
    """A row per metric and curve."""
    keys = list(card.metrics)
    curves = list(card.curves)
    rows = sorted(
        records(part),
        key=lambda row: (keys.index(row.key), row.backend, curves.index(row.curve)),
    )
    lines = []
    for row in rows:
        lines.append(_line(row, card, (row.key, row.backend, row.curve) in bold))
        last = row is rows[-1] or (rows[rows.index(row) + 1])[1:3] != row[1:3]
        if last and (row.key, row.backend, row.reference) in bold:
            lines.append(_zero(row, card))
    several = part.groupby("key")["backend"].nunique().max() > 1
    metrics = [
        card.metrics[line.row.key].name + (f", {clean(line.row.backend)}" if several else "")
        for line in lines
    ]
    head = [words("metric", metrics), words("curve", [line.curve for line in lines])]
    if part["reference"].nunique() > 1:
        others = [card.curve_label(line.row.reference) for line in lines]
        head.append(words("against", others))
    head.append(words("rates compared", [line.kinds for line in lines]))
    columns = [
        TableColumn("BD-rate (%)", [line.cell for line in lines]),
        words("quality", [line.range for line in lines]),
        words("shares (%)", [line.shares for line in lines]),
        words("gaps (%)", [line.gaps for line in lines]),
    ]
    notes = _notes(part, card)
    if any(line.akima for line in lines):
        columns.append(TableColumn("by Akima (%)", [Cell(line.akima) for line in lines]))
        notes.append(
            "By Akima: the value of Akima's curves through the same points, where it lies outside "
            "of the interval; how curves run between points is then more than what groups of clips "
            "change."
        )
    return Table(name, title, caption, head, columns, notes, whole=True)


@dataclass(frozen=True)
class _Line:
    """One row of a table as text; row: what it is of."""

    row: Any
    curve: str
    kinds: str
    cell: Cell
    range: str
    shares: str
    gaps: str
    akima: str


def _line(row: Any, card: RunCard, bold: bool) -> _Line:
    ends = ("", "")
    if math.isfinite(row.low) and math.isfinite(row.high):
        ends = percent_text(row.low), percent_text(row.high)
    short = f"{row.n_clips}/{row.n_total}" if row.n_clips < row.n_total else ""
    mark = "†" * row.crosses + "‡" * bool(row.repaired)
    write = score_text(card.metrics[row.key])
    place, shares, gaps = f"at {write(row.range_low)}", NONE, NONE
    if row.quantity != AT_POINT:
        place = f"{write(row.range_low)} … {write(row.range_high)}"
        shares = f"{share_text(row.share_curve)} / {share_text(row.share_reference)}"
        gaps = f"{gap_text(row.gap_curve)} / {gap_text(row.gap_reference)}"
    return _Line(
        row, card.curve_label(row.curve), _pair(*_rates(row)),
        Cell(percent_text(row.value), *ends, short, mark, bold), place, shares, gaps,
        percent_text(row.akima) if beyond(row.akima, row.low, row.high) else "",
    )  # fmt: skip


def _zero(row: Any, card: RunCard) -> _Line:
    """The reference itself, where it is the best."""
    _, kind = _rates(row)
    cell = Cell("0", bold=True)
    name = card.curve_label(row.reference)
    return _Line(row, name, _pair(kind, kind), cell, NONE, NONE, NONE, "")


def _notes(part: pd.DataFrame, card: RunCard) -> list[str]:
    notes = []
    if part["crosses"].astype(bool).any():
        notes.append("† the curves cross: no single number orders them.")
    moved = part.loc[part["repaired"] != "", ["key", "repaired"]].drop_duplicates()
    if len(moved):
        by_key: dict[str, dict[str, None]] = {}
        for key, names in moved.itertuples(index=False, name=None):
            by_key.setdefault(card.metrics[key].name, {}).update(dict.fromkeys(names.split(", ")))
        told = "; ".join(f"{name}: {', '.join(map(clean, p))}" for name, p in by_key.items())
        notes.append(f"‡ made monotone by moving points within their intervals ({told}).")
    kinds = {(row.rate_kind, row.reference_rate_kind) for row in records(part) if row.rate_kind}
    if any(one != two for one, two in kinds):
        notes.append(
            "Rates of different kinds are compared: a KL is a bound and a nominal rate counts "
            "every codeword as equally likely, while a payload is bits that were sent."
        )
    if any(RateKind.STATED in pair for pair in kinds):
        notes.append(STATED)
    return notes


def _settings(run: Run, card: RunCard, chosen: str) -> list[str]:
    """Other curves of the maker of `chosen`, with the same kind of rate."""

    def kind(curve: str) -> set[tuple[str, str | None]]:
        return {(s.maker, s.headline) for s in card.systems.values() if s.curve == curve}

    own = kind(chosen)
    return [
        curve
        for curve in card.curves
        if curve != chosen and kind(curve) == own and all(maker for maker, _ in own)
        and _points(run, curve) >= FEWEST
    ]  # fmt: skip


def _pairs(
    run: Run, card: RunCard, asked: Sequence[tuple[str, str]] | None
) -> list[tuple[str, str]]:
    """Pairs of curves, the second with points enough to be compared with."""
    pairs = itertools.combinations(card.curves, 2) if asked is None else asked
    found = []
    for one, two in pairs:
        if asked is None and not card.related(one, two):
            continue
        points = _points(run, one), _points(run, two)
        if min(points) and max(points) >= FEWEST:
            found.append((one, two) if points[1] >= FEWEST else (two, one))
    return found


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame | None:
    import pandas as pd

    kept = [table for table in tables if len(table)]
    return pd.concat(kept, ignore_index=True) if kept else None


def _shown(rows: pd.DataFrame, card: RunCard, domain: str) -> pd.DataFrame:
    """What has a number and may be transmitted."""
    inside = rows[(rows["domain"] == domain) & (rows["reason"] == "")]
    return inside[~inside["variant"].isin(card.not_sent)]


def _kinds(part: pd.DataFrame) -> str:
    kinds = [kind for row in records(part) for kind in reversed(_rates(row))]
    return ", ".join(dict.fromkeys(kind for kind in kinds if kind)) or "none"


def _rates(row: Any) -> tuple[str, str]:
    """What the rates of the curve and of the reference are called."""
    one = rate_text(row.rate_kind, row.variant)
    return one, rate_text(row.reference_rate_kind, row.reference_variant)


def _pair(kind: str, reference_kind: str) -> str:
    return kind if kind == reference_kind else f"{kind} : {reference_kind}"


def _headline(table: pd.DataFrame, card: RunCard) -> pd.DataFrame:
    return table[(table["basis"] == "headline") & ~table["variant"].isin(card.not_sent)]


def _points(run: Run, curve: str) -> int:
    rows = run.rows
    rates = rows[(rows["curve"] == curve) & (rows["kind"] == "rate")]
    return int(rates[["system", "point"]].drop_duplicates().shape[0])


def _metrics(run: Run, card: RunCard) -> list[str]:
    measured = run.rows.loc[run.rows["kind"] == "metric", "key"].astype(str).unique()
    return [
        key
        for key in measured
        if key != RESIDUAL_DELAY and card.metrics[key].direction in ("higher", "lower")
        and key in run.metrics
    ]  # fmt: skip
