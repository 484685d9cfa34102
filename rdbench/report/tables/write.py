"""Tables of a run: Markdown to read, LaTeX and HTML to publish, CSV to compute with, and a short
text for the terminal.

The Markdown begins with a page of what matters most, and has, per domain, the rates of every kind
that was measured, the scores with their intervals and BD-rates; then what was not scored and why,
the costs, and what the metrics are. The
CSV is tidy: one line per point, variant, domain and quantity, with its unit, interval, counts and
the rate beside it.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.report.cards import clips_text
from rdbench.report.names import slug
from rdbench.report.spreadsheet import spreadsheet
from rdbench.report.tables.glance import glance
from rdbench.report.tables.html import web_page
from rdbench.report.tables.latex import latex
from rdbench.report.tables.markdown import table_page
from rdbench.report.tables.rows import POINT_KEY, in_order
from rdbench.report.tables.run_tables import RunTables, domains_of
from rdbench.report.text.columns import aligned, packed
from rdbench.store.atomic import make_folder, write_atomic

if TYPE_CHECKING:
    import pandas as pd

ROWS = 24
LEAST_ROWS = 6
"""Rows of all domains together that are printed, and of each of many."""


def write_tables(folder: Path, tables: RunTables) -> list[Path]:
    """Writes the tables of a run and returns the files, each whole.

    `folder`/table.md and table.csv have everything; tables/ has LaTeX (`points_<domain>.tex`,
    `rates_…`, `bd_rate_…`, `costs.tex`), one page of HTML, and as CSV the
    BD-rates, the spread over seeds, and the KL of each latent channel.
    """
    import pandas as pd

    make_folder(folder)
    texts = {
        "table.md": table_page(tables),
        "table.csv": spreadsheet(csv_table(tables)),
    }
    if tables.all:
        make_folder(folder / "tables", within=folder)
        texts |= {f"tables/{slug(table.name)}.tex": latex([table]) for table in tables.all}
        texts["tables/tables.html"] = web_page(tables.all, title="Rates, scores and costs")
    if tables.bd.rows is not None:
        texts["tables/bd_rate.csv"] = spreadsheet(pd.concat(tables.bd.all, ignore_index=True))
    if tables.seeds is not None and len(tables.seeds):
        texts["tables/seeds.csv"] = spreadsheet(tables.seeds)
    if len(tables.channels):
        named = tables.channels.rename(columns={"nats": "nats_per_frame"})
        texts["tables/kl_per_channel.csv"] = spreadsheet(named)
    written = []
    for name, text in texts.items():
        write_atomic(folder / name, text.encode("utf-8", errors="replace"), within=folder)
        written.append(folder / name)
    return written


def csv_table(tables: RunTables) -> pd.DataFrame:
    """All aggregates, tidy, in order of points; value, low and high in `unit`, rates in kbps."""
    points, card = tables.points, tables.card
    rates = card.rate_distortion(points)
    owner = [*POINT_KEY, "domain"]
    sides = ["rate_kind", "kbps", "kbps_low", "kbps_high", "rate_point"]
    # Beside a score its own clips' rate, beside all else that of most clips.
    whole = rates.sort_values("n_ok", ascending=False, kind="stable").drop_duplicates(owner)
    table = in_order(points, card)
    what = [*owner, "kind", "key", "backend"]
    own = rates.assign(kind="metric")[[*what, *sides]]
    table = table.merge(own, on=what, how="left")
    others = table[owner].merge(whole[[*owner, *sides]], on=owner, how="left")
    for column in sides:
        table[column] = table[column].where(table["kind"] == "metric", others[column].to_numpy())
    table = table.drop(columns="rates")
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


def summary_text(tables: RunTables, *, width: int = 100) -> str:
    """Every domain at a glance, on a screen: at most `width` columns where names allow."""
    points, card = tables.points, tables.card
    domains = domains_of(points)
    parts: list[str] = []
    left: Counter[str] = Counter()
    hidden: set[str] = set()
    starred = False
    for domain in domains:
        inside = points[points["domain"] == domain]
        shown = glance(inside, card, most=max(LEAST_ROWS, ROWS // len(domains)), longest=28)
        blocks = packed(shown.head, shown.scores, width=width) if shown.scores else [shown.head]
        parts.append(f"{card.domain_label(domain)}: {clips_text(inside)}")
        parts.append(aligned(blocks[0]))
        cells = [cell for column in blocks[0] for cell in column.cells]
        starred |= any(cell.endswith("*") for cell in cells)
        left.update(shown.left_out)
        # What is too wide for the screen stands in no block that is printed.
        hidden |= shown.metrics - set(shown.keys[: len(blocks[0]) - len(shown.head)])
    notes = ["* not all clips were scored: see table.md"] if starred else []
    left["metrics"] = len(hidden)
    more = ", ".join(f"{count} {what}" for what, count in left.items() if count)
    notes += [f"not shown, and in table.md: {more}"] if more else []
    notes = [textwrap.fill(note, width) for note in [*notes, *tables.caveats]]
    return "\n\n".join([*(parts or ["nothing was measured"]), *notes]) + "\n"
