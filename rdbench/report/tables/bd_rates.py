"""BD-rates of a run's curves against one of them, as tables: a row per curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.analysis.curves.bd_rate import bd_table
from rdbench.analysis.curves.sides import require_curve
from rdbench.analysis.stats.leave_one_out import Sampling
from rdbench.report.cards import RESIDUAL_DELAY, RunCard, ordered, records
from rdbench.report.names import clean, listed
from rdbench.report.numbers import NONE, percent_text
from rdbench.report.tables.bold import LEVEL, best_curves, needed_references
from rdbench.report.tables.table import Cell, Table, TableColumn, words

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

FEWEST = 3  # points of a curve that a BD-rate can be taken against


@dataclass(frozen=True)
class BdRates:
    """rows: of `rdbench.analysis.curves.bd_rate`, the BD-rates by PCHIP. others: the same against
    the curves that are best in something. reference: "" and a reason where there is nothing to
    compare.
    """

    rows: pd.DataFrame | None
    others: dict[str, pd.DataFrame]
    reference: str
    reason: str = ""


def bd_rates(run: Run, card: RunCard, reference: str | None, *, seed: int = 0) -> BdRates:
    """BD-rates against the curve `reference`, by default the first curve with three points.

    Raises RdbenchError for a curve that is not there.
    """
    curves = card.curves
    if reference is not None:
        require_curve(reference, curves)
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
        for curve, keys in needed_references(rows[rows["basis"] == "headline"]).items()
    }
    return BdRates(rows, others, chosen)


def bd_tables(found: BdRates, card: RunCard, domain: str, *, about: str) -> list[Table]:
    """The tables of one domain: by headline rates and, where those differ in kind, by streams.

    about: corpus and protocol, for the captions.
    """
    if found.rows is None:
        return []
    inside = found.rows[found.rows["domain"] == domain]
    tables = []
    bold, tests = best_curves(_headline(inside, card), domain, found.others)
    for basis, title in (("headline", ""), ("decodable", ", decodable streams")):
        part = inside[(inside["basis"] == basis) & ~inside["variant"].isin(card.not_sent)]
        if part.empty or not (part["reason"] == "").any():
            continue
        against = card.curve_label(found.reference)
        caption = (
            f"BD-rate against {against} on {card.domain_label(domain)}: change in bits at equal "
            "quality in percent, negative is fewer (PCHIP over log rate, the common range of "
            "quality only), with 95 % intervals over groups of clips. "
            f"Kinds of rate: {_kinds(part)}. {about}"
        )
        if basis == "headline" and bold:
            caption += (
                " Bold: fewer bits than every other curve, crossing none (paired over groups, "
                f"Holm over {tests} tests, {100 * LEVEL:g} %)."
            )
        name = "bd_rate" if basis == "headline" else "bd_rate_streams"
        head, columns = _columns(part, card, bold if basis == "headline" else set())
        tables.append(Table(name, f"BD-rate against {against}{title}", caption, head, columns,
                            _notes(part)))  # fmt: skip
    return tables


def refusals(found: BdRates, card: RunCard, domain: str) -> list[str]:
    """Why curves have no BD-rate in `domain`, in sentences."""
    if found.rows is None:
        return [found.reason] if found.reason else []
    inside = found.rows[(found.rows["domain"] == domain) & (found.rows["reason"] != "")]
    fates: dict[tuple[str, str], dict[str, None]] = {}
    for row in records(inside):
        fates.setdefault((row.curve, row.reason), {})[row.key] = None
    texts = []
    for (curve, reason), keys in fates.items():
        names = listed(map(clean, keys), 3)
        texts.append(f"{card.curve_label(curve)} ({names}): {clean(reason, longest=200)}")
    return texts


def _columns(
    part: pd.DataFrame, card: RunCard, bold: set[tuple[str, str, str]]
) -> tuple[list[TableColumn], list[TableColumn]]:
    curves = ordered(list(part["curve"]), card.curves)
    reference = str(part["reference"].iloc[0])
    rows = {(row.curve, row.key, row.backend): row for row in records(part)}
    pairs = list(dict.fromkeys((row.key, row.backend) for row in records(part)))
    pairs.sort(key=lambda pair: list(card.metrics).index(pair[0]))
    kinds = {row.curve: row.rate_kind for row in records(part)}
    reference_kind = next(iter(part["reference_rate_kind"]), "")
    head = [
        words("curve", [card.curve_label(c) for c in curves]),
        words("rates compared", [_pair(kinds[c], reference_kind) for c in curves]),
    ]
    columns = []
    for key, backend in pairs:
        cells = []
        for curve in curves:
            row = rows.get((curve, key, backend))
            if row is None or not math.isfinite(row.value):
                cells.append(Cell(NONE))
                continue
            ends = ("", "")
            if math.isfinite(row.low) and math.isfinite(row.high):
                ends = percent_text(row.low), percent_text(row.high)
            short = f"{row.n_clips}/{row.n_total}" if row.n_clips < row.n_total else ""
            strong = (key, backend, curve) in bold
            mark = "†" if row.crosses else ""
            cells.append(Cell(percent_text(row.value), *ends, short, mark, strong))
        name = card.metrics[key].name
        several = [k for k, _ in pairs].count(key) > 1
        columns.append(TableColumn(f"{name}, {clean(backend)}" if several else name, cells))
    best = [name for (key, _, name) in bold if name == reference]
    if best:
        curves_named = [card.curve_label(reference), *[cell.text for cell in head[0].cells]]
        head = [
            words("curve", curves_named),
            words(
                "rates compared",
                [_pair(reference_kind, reference_kind), *[cell.text for cell in head[1].cells]],
            ),
        ]
        columns = [
            TableColumn(column.title, [Cell("0", bold=(*pair, reference) in bold), *column.cells])
            for pair, column in zip(pairs, columns, strict=True)
        ]
    return head, columns


def _notes(part: pd.DataFrame) -> list[str]:
    notes = []
    if part["crosses"].astype(bool).any():
        notes.append("† the curves cross: no single number orders them.")
    kinds = {(row.rate_kind, row.reference_rate_kind) for row in records(part) if row.rate_kind}
    if any(one != two for one, two in kinds):
        notes.append(
            "Rates of different kinds are compared: a KL is a bound and a nominal rate counts "
            "every codeword as equally likely, while a payload is bits that were sent."
        )
    return notes


def _kinds(part: pd.DataFrame) -> str:
    kinds = [*part["reference_rate_kind"], *part["rate_kind"]]
    return ", ".join(dict.fromkeys(kind for kind in kinds if kind)) or "none"


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
