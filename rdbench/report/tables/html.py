"""Tables as one HTML page that needs nothing beside it: no script, no font, no picture.

Names come from users and are only ever text: every value goes through `html.escape`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rdbench.report.names import slug
from rdbench.report.tables.table import Cell, Table, TableColumn

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a;
  max-width: 80rem; }
.wide { overflow-x: auto; margin: 1rem 0 2.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap;
  border-top: 2px solid #1a1a1a; border-bottom: 2px solid #1a1a1a; }
caption { text-align: left; white-space: normal; max-width: min(60rem, 100vw - 2rem);
  padding-bottom: .6rem; color: #444; }
th, td { padding: .2rem .7rem; text-align: left; vertical-align: baseline; }
thead th { border-bottom: 1px solid #1a1a1a; white-space: normal; min-width: 4.5rem; }
th.n, td.n { text-align: right; }
tbody th { font-weight: normal; position: sticky; left: 0; background: #fff; }
tr.first > * { border-top: 1px solid #ddd; }
.i { color: #666; font-size: .82em; }
.notes { color: #444; max-width: 60rem; margin: .5rem 0 0; }
.wide + .notes { margin-top: -2rem; }
"""


def web_page(tables: Sequence[Table], *, title: str) -> str:
    """A whole page with all tables."""
    parts = [
        "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", "</head>", "<body>",
        f"<h1>{escape(title)}</h1>",
        *[web_table(table) for table in tables],
        "</body>", "</html>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def web_table(table: Table) -> str:
    """One `<section>` with heading, table and notes."""
    columns = [*table.head, *table.columns]
    heads = "".join(f'<th{_kind(c)} scope="col">{_title(c)}</th>' for c in columns)
    lines = [
        f'<section id="{escape(slug(table.name))}">', f"<h2>{escape(table.title)}</h2>",
        '<div class="wide">', "<table>", f"<caption>{escape(table.caption)}</caption>",
        f"<thead><tr>{heads}</tr></thead>", "<tbody>",
    ]  # fmt: skip
    before = None
    for i in range(table.rows):
        name = table.head[0].cells[i].text
        first = ' class="first"' if name != before else ""
        before = name
        cells = f'<th scope="row">{escape(name)}</th>'
        cells += "".join(f"<td{_kind(c)}>{_cell(c.cells[i])}</td>" for c in columns[1:])
        lines.append(f"<tr{first}>{cells}</tr>")
    lines += ["</tbody>", "</table>", "</div>"]
    lines += [f'<p class="notes">{escape(note)}</p>' for note in table.notes]
    return "\n".join([*lines, "</section>"])


def _title(column: TableColumn) -> str:
    # A unit such as MOS-LQO is one word.
    return escape(column.title.replace("-", "\N{NON-BREAKING HYPHEN}"))


def _kind(column: TableColumn) -> str:
    return ' class="n"' if column.numeric else ""


def _cell(cell: Cell) -> str:
    text = escape(cell.text + cell.mark)
    if cell.bold:
        text = f"<strong>{text}</strong>"
    more = " ".join(part for part in (cell.interval, cell.count) if part)
    return f'{text} <span class="i">{escape(more)}</span>' if more else text
