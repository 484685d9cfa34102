"""Tables of a run: Markdown to read, LaTeX and HTML to publish, CSV to compute with, and a short
text for the terminal.

The Markdown has, per domain, the rates of every kind that was measured, the scores with their
intervals and BD-rates; then what was not scored and why, the costs, and what the metrics are. The
CSV is tidy: one line per point, variant, domain and quantity, with its unit, interval, counts and
the rate beside it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.analysis.aggregate import rate_distortion
from rdbench.analysis.posterior import channel_kl, no_channels
from rdbench.report.bd_table import BdRates, bd_rates, bd_tables, refusals
from rdbench.report.bold import LEVEL, best_scores
from rdbench.report.cells import NONE, Table
from rdbench.report.costs_table import cost_table
from rdbench.report.describe import (
    RATE_MEANING,
    RESIDUAL_DELAY,
    RunCard,
    clips_text,
    describe,
    few_groups,
    ordered,
    records,
)
from rdbench.report.latex import latex
from rdbench.report.names import clean, markdown, slug
from rdbench.report.places import in_order, place_columns, places
from rdbench.report.points_table import (
    NOT_A_RATE,
    headline_column,
    headline_columns,
    rate_table,
    score_columns,
    score_table,
)
from rdbench.report.posterior_table import posterior_tables
from rdbench.report.text import Column, aligned, filled, markdown_table, packed
from rdbench.report.webtable import web_page
from rdbench.store.atomic import make_folder, write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

WIDEST = 118
PROSE = 100
NAMED = 2
MEAN_NOTE = (
    f"{NOT_A_RATE} not a rate point: the mean of the latent, or another amount of noise, is "
    "decoded, but the\nrate is that of a sample, and no one can transmit what is decoded at this "
    "price."
)


@dataclass(frozen=True)
class DomainTables:
    """The tables of one domain; missing: sentences on curves without a BD-rate.

    posteriors: diagnostics, None where no posterior was sampled and its mean decoded.
    """

    domain: str
    inside: pd.DataFrame
    rates: Table
    scores: Table
    bd: list[Table]
    missing: list[str]
    posteriors: Table | None = None


@dataclass(frozen=True)
class RunTables:
    """All tables of a run, before they are Markdown, LaTeX or HTML."""

    card: RunCard
    points: pd.DataFrame
    confidence: float
    domains: list[DomainTables]
    costs: Table | None
    bd: BdRates
    channels: pd.DataFrame

    @property
    def all(self) -> list[Table]:
        """In the order of a page; names are unlike each other."""
        found = []
        for part in self.domains:
            for table in (part.scores, part.rates, *part.bd, part.posteriors):
                if table is not None and table.columns:
                    found.append(replace(table, name=f"{table.name}_{slug(part.domain)}"))
        return [*found, *([self.costs] if self.costs and self.costs.columns else [])]


def run_tables(
    points: pd.DataFrame,
    manifest: Mapping[str, Any],
    *,
    run: Run | None = None,
    anchor: str | None = None,
    traces: pd.DataFrame | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> RunTables:
    """The tables of a run.

    points: of `rdbench.report.aggregates`, with intervals at `confidence`. manifest: what
    `rdbench.report.describe` says. run: its rows, for BD-rates against the curve `anchor` and for
    what is in bold; neither without it. traces: of `rdbench.store.traces`, for what is said of
    latent channels. Raises RdbenchError for an anchor that is not there.
    """
    card = describe(points, manifest)
    about = f"Corpus: {card.corpus.rstrip('.')}. Protocol: {card.protocol_brief}."
    measured = run is not None and not points.empty
    bd = bd_rates(run, card, anchor, seed=seed) if run and measured else BdRates(None, {}, "")
    scores = rate_distortion(points, card.headlines) if len(points) else points
    best = best_scores(run, scores, card) if run and measured else {}
    channels = channel_kl(traces, run) if run and traces is not None else no_channels()
    posteriors = posterior_tables(run, card, channels, about=about) if run and measured else {}
    domains = []
    for domain in _domains(points):
        inside = points[points["domain"] == domain]
        bold, tests = best.get(domain, (set(), 0))
        clips = f"{clips_text(inside)}. {few_groups(inside)}".rstrip()
        caption = f"{_score_caption(inside, card, confidence)} {about}"
        if bold:
            caption += (
                " Bold: better than every point of another curve at the same rate (within 10 %), "
                f"paired over groups of clips, Holm over {tests} tests, {100 * LEVEL:g} %."
            )
        domains.append(
            DomainTables(
                domain, inside,
                rate_table(inside, card, caption=f"Rates in kbps by kind, {clips} {about}"),
                score_table(inside, card, bold=bold, caption=caption),
                bd_tables(bd, card, domain, about=about) if run else [],
                refusals(bd, card, domain),
                posteriors.get(domain),
            )
        )  # fmt: skip
    costs = cost_table(points, card, caption=f"Costs, each measured once per point. {about}")
    return RunTables(card, points, confidence, domains, costs, bd, channels)


def write_tables(
    folder: Path,
    *,
    points: pd.DataFrame,
    manifest: Mapping[str, Any],
    run: Run | None = None,
    anchor: str | None = None,
    traces: pd.DataFrame | None = None,
    confidence: float = 0.95,
) -> list[Path]:
    """Writes the tables of a run and returns the files, each whole.

    `folder`/table.md and table.csv have everything; tables/ has LaTeX (`points_<domain>.tex`,
    `rates_…`, `bd_rate_…`, `costs.tex`), one page of HTML, and as CSV the
    BD-rates and the KL of each latent channel. Arguments as in `run_tables`.
    """
    tables = run_tables(
        points, manifest, run=run, anchor=anchor, traces=traces, confidence=confidence
    )
    make_folder(folder)
    texts = {
        "table.md": _markdown(tables),
        "table.csv": csv_table(points, manifest).to_csv(index=False, lineterminator="\n"),
    }
    if tables.all:
        make_folder(folder / "tables")
        texts |= {f"tables/{slug(table.name)}.tex": latex([table]) for table in tables.all}
        texts["tables/tables.html"] = web_page(tables.all, title="Rates, scores and costs")
    if tables.bd.rows is not None:
        texts["tables/bd_rate.csv"] = tables.bd.rows.to_csv(index=False, lineterminator="\n")
    if len(tables.channels):
        named = tables.channels.rename(columns={"nats": "nats_per_frame"})
        texts["tables/kl_per_channel.csv"] = named.to_csv(index=False, lineterminator="\n")
    written = []
    for name, text in texts.items():
        write_atomic(folder / name, text.encode("utf-8", errors="replace"))
        written.append(folder / name)
    return written


def csv_table(points: pd.DataFrame, manifest: Mapping[str, Any]) -> pd.DataFrame:
    """All aggregates, tidy, in order of places; value, low and high in `unit`, rates in kbps."""
    card = describe(points, manifest)
    rates = rate_distortion(points, card.headlines)
    place = ["system", "curve", "point", "variant", "domain"]
    sides = ["rate_kind", "kbps", "kbps_low", "kbps_high", "rate_point"]
    beside = rates.drop_duplicates(place)[[*place, *sides]]
    table = in_order(points, card).merge(beside, on=place, how="left")
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
    """The whole of table.md, without what needs the run's rows."""
    return _markdown(run_tables(points, manifest, confidence=confidence))


def _markdown(tables: RunTables) -> str:
    card = tables.card
    parts = [_caption(tables)]
    for part in tables.domains:
        counts = f"{clips_text(part.inside).capitalize()}. {few_groups(part.inside)}".rstrip()
        parts.append(f"## {markdown(card.domain_label(part.domain))}\n\n{counts}")
        parts += _section(part.rates, "Rates (kbps)")
        parts += _scores_section(part, card)
        parts += [text for table in part.bd for text in _section(table, table.title)]
        if part.missing:
            parts += ["### Curves without a BD-rate", _bullets(part.missing)]
        if part.posteriors is not None:
            parts += _section(part.posteriors, part.posteriors.title)
            parts.append(textwrap.fill(part.posteriors.caption, PROSE))
        parts += _missing(part.inside, card)
    if tables.costs is not None:
        costs = tables.costs
        parts += ["## Costs"]
        parts += [markdown_table([c.column for c in (*costs.head, *costs.columns)])]
        parts += [markdown(note) for note in costs.notes]
    parts += _definitions(tables)
    return "\n\n".join(parts) + "\n"


def _scores_section(part: DomainTables, card: RunCard) -> list[str]:
    if not part.scores.columns:
        return []
    rows = places(part.inside, card)
    # In Markdown the kind of rate stands in the column of the rate.
    head = [column.column for column in place_columns(rows, card)]
    head.append(headline_column(rows, part.inside, card).column)
    blocks = packed(head, [column.column for column in part.scores.columns], width=WIDEST)
    bold = part.scores.caption.partition(" Bold: ")[2]
    said = [textwrap.fill(f"Bold: {bold}", PROSE)] if bold else []
    return ["### Scores", *said, *map(markdown_table, blocks)]


def summary_text(points: pd.DataFrame, manifest: Mapping[str, Any], *, width: int = 100) -> str:
    """A short table for the terminal, at most `width` columns where names allow."""
    card = describe(points, manifest)
    parts = []
    starred = dotted = False
    for domain in _domains(points):
        inside = points[points["domain"] == domain]
        rows = places(inside, card)
        head = [column.column for column in place_columns(rows, card, longest=28)]
        head.append(headline_column(rows, inside, card).column)
        scores = [c.column for c in score_columns(inside, card, rows, brief=True)]
        blocks = packed(head, scores, width=width) if scores else [head]
        parts.append(f"{card.domain_label(domain)}: {clips_text(inside)}")
        parts += [aligned(block) for block in blocks]
        cells = [cell for block in blocks for column in block for cell in column.cells]
        starred |= any(cell.endswith("*") for cell in cells)
        dotted |= any(cell.endswith(NOT_A_RATE) for cell in cells)
    notes = []
    if starred:
        notes.append("* not all clips were scored: see table.md")
    if dotted:
        notes.append(
            f"{NOT_A_RATE} not a rate point: the mean or another amount of noise is decoded, the "
            "rate is of a sample"
        )
    return "\n\n".join([*parts, *notes]) + "\n" if parts else "nothing was measured\n"


def _domains(points: pd.DataFrame) -> list[str]:
    return [d for d in dict.fromkeys(points.loc[points["kind"] != "cost", "domain"]) if d]


def _caption(tables: RunTables) -> str:
    points, card = tables.points, tables.card
    kinds = list(dict.fromkeys(points.loc[points["kind"] == "rate", "key"]))
    kinds = ordered(kinds, list(RATE_MEANING))
    reading = (
        f"In brackets: {tables.confidence * 100:g} % intervals from a bootstrap over groups of "
        "clips. A fraction such as 38/40 counts the clips that have a score, where not all have "
        "one. ↑ higher is better, ↓ lower is better. The rate of a point is total bits over total "
        "seconds."
    )
    said = (f"Corpus: {card.corpus.rstrip('.')}.", f"Protocol: {card.protocol}.")
    lines = ["# Rates, scores and costs"]
    for paragraph in (*map(markdown, said), reading):
        lines += ["", textwrap.fill(paragraph, PROSE, break_long_words=False)]
    if kinds:
        lines += ["", "Kinds of rate:", ""]
        lines += [f"- {kind}: {RATE_MEANING.get(kind, kind)}" for kind in kinds]
    if any(_has_dots(part.inside, card) for part in tables.domains):
        lines += ["", MEAN_NOTE]
    return "\n".join(lines)


def _score_caption(inside: pd.DataFrame, card: RunCard, confidence: float) -> str:
    """What a table says that is taken out of the page."""
    rates = rate_distortion(inside, card.headlines)
    kinds = [kind for kind in dict.fromkeys(rates.loc[rates["kbps"].notna(), "rate_kind"]) if kind]
    domain = card.domain_label(str(inside["domain"].iloc[0]))
    text = (
        f"Scores on {domain}, {clips_text(inside)}, with {confidence * 100:g} % intervals from a "
        "bootstrap over groups of clips; fractions count the clips with a score where not all have "
        f"one. Rates in kbps, by kind: {', '.join(kinds) or 'none'}."
    )
    if _has_dots(inside, card):
        text += " " + MEAN_NOTE.replace("\n", " ")
    return text


def _has_dots(inside: pd.DataFrame, card: RunCard) -> bool:
    """Whether a rate of these aggregates is marked as that of no rate point."""
    _, kinds = headline_columns(places(inside, card), inside, card)
    return any(cell.mark == NOT_A_RATE for cell in kinds.cells)


def _section(table: Table, title: str) -> list[str]:
    """A heading with as many tables as the columns need, rows without a value left out."""
    if not table.columns:
        return []
    head = [column.column for column in table.head]
    wide = packed(head, [column.column for column in table.columns], width=WIDEST)
    blocks = [filled(block, len(head), nothing=NONE) for block in wide]
    bold = table.caption.partition(" Bold: ")[2]
    notes = [*table.notes, *([f"Bold: {bold}"] if bold else [])]
    said = [textwrap.fill(markdown(note), PROSE) for note in notes]
    return [f"### {markdown(title)}", *map(markdown_table, blocks), *said]


def _bullets(texts: Sequence[str]) -> str:
    return "\n".join(f"- {markdown(text)}" for text in texts)


def _definitions(tables: RunTables) -> list[str]:
    """What each metric is: unit, direction, version, programs."""
    points, card = tables.points, tables.card
    scores = points[points["kind"] == "metric"]
    lines = []
    for key in ordered(list(dict.fromkeys(scores["key"])), list(card.metrics)):
        metric = card.metrics[key]
        if key == RESIDUAL_DELAY or not (metric.definition or metric.version):
            continue
        used = dict.fromkeys(filter(None, scores.loc[scores["key"] == key, "backend"]))
        way = f"{metric.direction} is better" if metric.direction else "direction not known"
        programs = ", ".join(filter(None, [*map(clean, used), metric.backend]))
        facts = [
            f"version {metric.version}" if metric.version else "",
            metric.unit or "no unit", way, f"by {programs}" if programs else "",
        ]  # fmt: skip
        text = f"{metric.name} ({clean(key)}): {', '.join(filter(None, facts))}."
        more = [metric.definition, metric.citation]
        lines.append(" ".join([text, *(f"{part.rstrip('.')}." for part in more if part)]))
    return ["## Metrics", _bullets(lines)] if lines else []


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
