r"""Tables as LaTeX, with booktabs and siunitx: numbers aligned at the decimal point, intervals
small beside them. A table that is too wide or too long is split into several floats.

A paper needs `\usepackage{booktabs,siunitx}` (siunitx 2 or 3); everything else is plain LaTeX, for
pdfLaTeX, XeLaTeX and LuaLaTeX. Names come from users: every sign that means something to TeX is
escaped, and signs that its fonts lack are written as their code point.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence

from rdbench.report.names import clean, slug
from rdbench.report.tables.table import Cell, Table, TableColumn

WIDEST = 108
LONGEST_NAME = 30  # letters of \footnotesize over two columns
LONGEST = 46  # rows that fit a page
LEFT_OUT = "residual delay"  # a check of the measurement, which no paper prints
PREAMBLE = r"""% \usepackage{booktabs,siunitx}"""

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': '{"}',
    "[": "{[}", "]": "{]}", "*": "{*}", "-": "{-}", "`": "{`}",
    "'": "{'}",
}  # fmt: skip
SIGNS = {
    "↑": r"\ensuremath{\uparrow}", "↓": r"\ensuremath{\downarrow}", "→": r"\ensuremath{\to}",
    "←": r"\ensuremath{\leftarrow}", "×": r"\ensuremath{\times}", "−": r"\ensuremath{-}",
    "±": r"\ensuremath{\pm}", "≤": r"\ensuremath{\leq}", "≥": r"\ensuremath{\geq}",
    "°": r"\ensuremath{^{\circ}}", "†": r"\ensuremath{^{\dagger}}",
    "‡": r"\ensuremath{^{\ddagger}}", "§": r"\S{}",
    "–": "--", "—": "---", "…": r"\ldots{}", "‖": r"\ensuremath{\|}", "Σ": r"\ensuremath{\Sigma}",
    "·": r"\ensuremath{\cdot}",
    "\N{NO-BREAK SPACE}": "~", "‘": "`", "’": "'", "“": "``", "”": "''",
    "∞": r"\ensuremath{\infty}",
    "²": r"\ensuremath{^{2}}", "³": r"\ensuremath{^{3}}", "µ": r"\ensuremath{\mu}",
}  # fmt: skip
# Greek capitals that look like Latin ones have no command of their own.
GREEK_AS_LATIN = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True))


def escape(text: str) -> str:
    r"""Text that TeX sets as it is written.

    >>> escape("a_b 50% $x$ β \\input{x}")
    'a\\_b 50\\% \\$x\\$ \\ensuremath{\\beta} \\textbackslash{}input\\{x\\}'
    >>> escape("\U0001f3b5")
    '\\texttt{U+1F3B5}'
    """
    # fmt: off
    return "".join(SPECIAL.get(sign) or SIGNS.get(sign) or _letter(sign) for sign in text)
    # fmt: on


def latex(tables: Sequence[Table]) -> str:
    """Floats, one or more for each table, for a paper to input; no raw text reaches TeX."""
    parts = [PREAMBLE]
    for table in tables:
        parts += _floats(table)
    return "\n\n".join(parts) + "\n"


def _floats(table: Table) -> list[str]:
    kept = [column for column in table.columns if not column.title.startswith(LEFT_OUT)]
    packed = [kept] if table.whole else _packed(table.head, kept)
    blocks = [(rows, columns) for rows in _pages(table) for columns in packed]
    wide = table.whole and sum(map(_width, [*table.head, *kept])) > WIDEST
    size = r"\scriptsize\setlength{\tabcolsep}{3pt}" if wide else r"\footnotesize"
    found = []
    for number, (rows, columns) in enumerate(blocks):
        more = " (continued)" if number else ""
        label = slug(f"{table.name}_{number + 1}" if len(blocks) > 1 else table.name)
        caption = escape(table.caption if not number else table.title) + more
        notes = " ".join(escape(note) for note in table.notes) if not number else ""
        lines = [
            r"\begin{table*}", rf"\centering{size}",
            f"\\caption{{{caption}{' ' * bool(notes)}{notes}}}", f"\\label{{tab:{label}}}",
            *_tabular(table.head, columns, rows), r"\end{table*}",
        ]  # fmt: skip
        found.append("\n".join(lines))
    return found


def _pages(table: Table) -> list[range]:
    """Rows of each float; a system is not torn apart where that can be helped."""
    names = [cell.text for cell in table.head[0].cells]
    pages: list[range] = []
    start = 0
    while start < len(names) or not pages:
        end = min(start + LONGEST, len(names))
        cut = end
        while end < len(names) and cut > start and names[cut - 1] == names[cut]:
            cut -= 1
        end = cut if cut > start else end
        pages.append(range(start, end))
        start = end
    return pages


def _packed(head: Sequence[TableColumn], columns: Sequence[TableColumn]) -> list[list[TableColumn]]:
    used = start = sum(_width(column) for column in head)
    blocks: list[list[TableColumn]] = [[]]
    for column in columns:
        if blocks[-1] and used + _width(column) > WIDEST:
            blocks.append([])
            used = start
        blocks[-1].append(column)
        used += _width(column)
    return blocks


def _width(column: TableColumn) -> int:
    # Intervals are set smaller.
    cells = [
        min(len(c.text + c.mark), LONGEST_NAME) + round(0.8 * len(c.interval + c.count))
        for c in column.cells
    ]
    title = max((len(line) for line in _title_lines(column.title)), default=0)
    return max([title, *cells]) + 2


def _tabular(head: Sequence[TableColumn], columns: Sequence[TableColumn], rows: range) -> list[str]:
    shape, titles = [], []
    spread = [*head, *columns]
    for column in spread:
        cells = [column.cells[i] for i in rows]
        shape.append(_shape(column, cells))
        across = 2 if _has_interval(column) else 1
        title = _title(column.title)
        align = "c" if column.numeric else "l"
        titles.append(
            f"\\multicolumn{{2}}{{c}}{{{title}}}" if across == 2
            else f"\\multicolumn{{1}}{{{align}}}{{{title}}}"
        )  # fmt: skip
    lines = [f"\\begin{{tabular}}{{{''.join(shape)}}}", r"\toprule", " & ".join(titles) + r" \\",
             r"\midrule"]  # fmt: skip
    before = None
    for i in rows:
        name = head[0].cells[i].text
        if before is not None and name != before and len(rows) > 1 and _grouped(head[0]):
            lines.append(r"\addlinespace")
        texts = [_brief(name) if name != before or not _grouped(head[0]) else ""]
        before = name
        texts += [
            _brief(column.cells[i].text) + escape(column.cells[i].mark)
            if not _is_numeric(column)
            else _set(column, column.cells[i])[0]
            for column in head[1:]
        ]
        for column in columns:
            texts += _set(column, column.cells[i])
        lines.append(" & ".join(texts) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _brief(name: str) -> str:
    return escape(clean(name, longest=LONGEST_NAME))


def _is_numeric(column: TableColumn) -> bool:
    return column.numeric and any(_is_number(cell.text) for cell in column.cells)


def _grouped(column: TableColumn) -> bool:
    """Whether rows of one name stand together, so that it is written once."""
    names = [cell.text for cell in column.cells]
    return any(one == two for one, two in itertools.pairwise(names))


def _shape(column: TableColumn, cells: Sequence[Cell]) -> str:
    numbers = [c.text.lstrip("−+") for c in cells if _is_number(c.text)]
    if not column.numeric or not numbers:
        return "r" if column.numeric else "l"
    whole = max(len(n.partition(".")[0]) for n in numbers)
    decimals = max(len(n.partition(".")[2]) for n in numbers)
    sign = "+" if any(c.text.startswith(("−", "+")) for c in cells) else ""
    size = f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}.0"
    plus = ", retain-explicit-plus" if any(c.text.startswith("+") for c in cells) else ""
    options = f"table-format={size}, detect-weight{plus}"
    shape = f"S[{options}]"
    return shape + r"@{\,}l" if _has_interval(column) else shape


def _has_interval(column: TableColumn) -> bool:
    numbers = any(_is_number(cell.text) for cell in column.cells)
    return numbers and any(cell.interval or cell.count for cell in column.cells)


def _set(column: TableColumn, cell: Cell) -> list[str]:
    mark = escape(cell.mark)
    if _is_numeric(column):
        number = cell.text.replace("−", "-")
        if _is_number(cell.text):
            number = (r"\bfseries " if cell.bold else "") + number
        else:
            number = f"{{{escape(cell.text or '–')}}}"
        if not _has_interval(column):
            return [number + (f"{{{mark}}}" if mark else "")]
        rest = " ".join(
            part.replace("−", r"\ensuremath{-}").replace("[", "{[}").replace("]", "{]}")
            for part in (cell.interval, cell.count) if part
        )  # fmt: skip
        small = f"{{\\scriptsize {rest}}}" if rest else ""
        return [number, mark + small]
    return [escape(cell.text or "") + mark]


def _is_number(text: str) -> bool:
    body = text.lstrip("−+")
    return bool(body) and body.replace(".", "", 1).isascii() and body.replace(".", "", 1).isdigit()


def _title(text: str) -> str:
    lines = [escape(line) for line in _title_lines(text)]
    if len(lines) < 2:
        return lines[0] if lines else ""
    return r"\begin{tabular}[b]{@{}c@{}}" + r"\\".join(lines) + r"\end{tabular}"


def _title_lines(text: str) -> list[str]:
    """A heading over two lines where it is long."""
    if len(text) <= 18:
        return [text]
    middle = len(text) / 2
    spaces = [i for i, sign in enumerate(text) if sign == " "]
    if not spaces:
        return [text]
    cut = min(spaces, key=lambda i: abs(i - middle))
    return [text[:cut], text[cut + 1 :]]


def _letter(sign: str) -> str:
    code = ord(sign)
    if 0x20 <= code < 0x7F or 0xC0 <= code <= 0x17F:
        return sign
    if sign in GREEK_AS_LATIN:
        return GREEK_AS_LATIN[sign]
    name = unicodedata.name(sign, "")
    parts = name.split()
    if len(parts) == 4 and parts[0] == "GREEK" and parts[2] == "LETTER" and parts[3] != "OMICRON":
        letter = parts[3].lower().replace("lamda", "lambda")
        letter = letter if parts[1] == "SMALL" else letter.capitalize()
        if letter.lower() in GREEK:
            return f"\\ensuremath{{\\{letter}}}"
    return f"\\texttt{{U+{code:04X}}}"


GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi",
    "omega",
)  # fmt: skip
