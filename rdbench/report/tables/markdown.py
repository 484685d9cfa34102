"""The tables of a run as one page of Markdown.

First a page: each domain at a glance, and its BD-rates. Then per domain the rates, scores, further
BD-rates, posteriors and the spread over seeds, and what has no value and why; the costs; what the
metrics are.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from rdbench.report.cards import (
    RATE_MEANING,
    RESIDUAL_DELAY,
    RunCard,
    clips_text,
    few_groups,
    ordered,
)
from rdbench.report.names import clean, markdown
from rdbench.report.numbers import NONE
from rdbench.report.tables.glance import glance
from rdbench.report.tables.missing import missing_table
from rdbench.report.tables.points import headline_column
from rdbench.report.tables.rows import point_columns, point_keys
from rdbench.report.tables.run_tables import MEAN_NOTE, DomainTables, RunTables, has_dots
from rdbench.report.tables.table import Table
from rdbench.report.text.columns import filled, markdown_table, packed

WIDEST = 118
ROWS = 48
"""Rows of all domains together on the first page, or about as many."""
PROSE = 100


def table_page(tables: RunTables) -> str:
    """The whole of table.md."""
    card = tables.card
    parts = [_caption(tables)]
    for part in tables.domains:
        parts += _first_page(part, card, most=ROWS // len(tables.domains))
    parts += _further(tables)
    for part in tables.domains:
        parts.append(f"## {_all_of(part, card)}")
        parts += _section(part.rates, "Rates (kbps)")
        parts += _scores_section(part, card)
        parts += [text for table in part.bd[1:] for text in _section(table, table.title)]
        if part.missing:
            parts += ["### Curves without a BD-rate", _bullets(part.missing)]
        for table in (part.posteriors, part.seeds):
            if table is not None:
                parts += _section(table, table.title)
                parts.append(textwrap.fill(table.caption, PROSE))
        missing = missing_table(part.inside, card, brief=True)
        if missing.columns:
            parts += [f"### {missing.title}", markdown_table(missing.plain)]
    if tables.costs is not None:
        parts += ["## Costs", markdown_table(tables.costs.plain)]
        parts += [markdown(note) for note in tables.costs.notes]
    if tables.notes is not None:
        parts += [f"## {tables.notes.title}", markdown_table(tables.notes.plain)]
    parts += _definitions(tables)
    return "\n\n".join(parts) + "\n"


def _first_page(part: DomainTables, card: RunCard, *, most: int) -> list[str]:
    """A domain at a glance, in about `most` rows, and its BD-rates against the anchor."""
    counts = f"{clips_text(part.inside).capitalize()}. {few_groups(part.inside)}".rstrip()
    shown = glance(part.inside, card, most=most)
    blocks = packed(shown.head, shown.scores, width=WIDEST) if shown.scores else [shown.head]
    starred = any(cell.endswith("*") for column in shown.scores for cell in column.cells)
    said = ["\\* not all clips were scored."] if starred else []
    bd = [text for table in part.bd[:1] for text in _section(table, table.title)]
    heading = f"## {markdown(card.domain_label(part.domain))}"
    return [heading, counts, *map(markdown_table, blocks), *said, *bd]


def _all_of(part: DomainTables, card: RunCard) -> str:
    return f"{markdown(card.domain_label(part.domain))}, all numbers"


def _further(tables: RunTables) -> list[str]:
    """What stands below the first page, with links."""
    headings = [_all_of(part, tables.card) for part in tables.domains]
    headings += ["Costs"] * (tables.costs is not None)
    headings += [tables.notes.title] if tables.notes is not None else []
    headings += ["Metrics"] * bool(_definitions(tables))
    if not headings:
        return []
    links = ", ".join(f"[{heading}](#{_anchor(heading)})" for heading in headings)
    return [f"Below: {links}. As CSV: [table.csv](table.csv)."]


def _anchor(heading: str) -> str:
    """The fragment by which a page's heading is reached, as repository pages make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _scores_section(part: DomainTables, card: RunCard) -> list[str]:
    if not part.scores.columns:
        return []
    rows = point_keys(part.inside, card)
    # In Markdown the kind of rate stands in the column of the rate.
    head = [column.column for column in point_columns(rows, card)]
    head.append(headline_column(rows, part.inside, card).column)
    blocks = packed(head, [column.column for column in part.scores.columns], width=WIDEST)
    bold = part.scores.caption.partition(" Bold: ")[2]
    said = [textwrap.fill(f"Bold: {bold}", PROSE)] if bold else []
    notes = [textwrap.fill(markdown(note), PROSE) for note in part.scores.notes]
    return ["### Scores", *said, *map(markdown_table, blocks), *notes]


def _caption(tables: RunTables) -> str:
    points, card = tables.points, tables.card
    kinds = list(dict.fromkeys(points.loc[points["kind"] == "rate", "key"]))
    kinds = ordered(kinds, list(RATE_MEANING))
    reading = (
        "In brackets: 95 % intervals over groups of "
        "clips. A fraction such as 38/40 counts the clips that have a score, where not all have "
        "one. ↑ higher is better, ↓ lower is better. The rate of a point is total bits over total "
        "seconds."
    )
    said = (f"Corpus: {card.corpus.rstrip('.')}.", f"Protocol: {card.protocol}.")
    lines = ["# Rates, scores and costs"]
    for sentence in tables.caveats:
        lines += ["", textwrap.fill(f"**{markdown(sentence)}**", PROSE)]
    for paragraph in (*map(markdown, said), reading):
        lines += ["", textwrap.fill(paragraph, PROSE, break_long_words=False)]
    if kinds:
        lines += ["", "Kinds of rate:", ""]
        lines += [f"- {kind}: {RATE_MEANING.get(kind, kind)}" for kind in kinds]
    if any(has_dots(part.inside, card) for part in tables.domains):
        lines += ["", MEAN_NOTE]
    return "\n".join(lines)


def _section(table: Table, title: str) -> list[str]:
    """A heading with as many tables as the columns need, rows without a value left out."""
    if not table.columns:
        return []
    head = [column.column for column in table.head]
    columns = [column.column for column in table.columns]
    wide = [[*head, *columns]] if table.whole else packed(head, columns, width=WIDEST)
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
