"""The report on latents as a page: Markdown for a terminal, HTML that needs nothing beside it."""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from rdbench.report.latent.content import LatentContent
from rdbench.report.names import markdown
from rdbench.report.numbers import NONE
from rdbench.report.tables.html import STYLE, web_table
from rdbench.report.text.columns import filled, markdown_table, packed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rdbench.report.tables.table import Table

WIDEST = 80
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Part:
    """A section of the page: its table, its figures by name and caption, and warnings."""

    title: str
    table: Table | None = None
    figures: dict[str, tuple[str, Figure | None]] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    @property
    def drawn(self) -> dict[str, tuple[str, Figure]]:
        """Caption and figure by name, of those that could be drawn."""
        return {n: (said, figure) for n, (said, figure) in self.figures.items() if figure}

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.table is None and not self.drawn and not self.warnings


def markdown_page(content: LatentContent, parts: Mapping[str, Sequence[Part]]) -> str:
    """latent.md; parts: by domain."""
    lines = _opening(content)
    several = len(parts) > 1
    for domain, sections in parts.items():
        if several:
            lines.append(f"## {markdown(content.card.domain_label(domain))}")
        if caution := content.caution(domain):
            lines.append(_filled(caution))
        for part in sections:
            lines += _section(part, "###" if several else "##")
    return "\n\n".join(lines) + "\n"


def html_page(
    content: LatentContent, parts: Mapping[str, Sequence[Part]], pictures: Mapping[str, bytes]
) -> str:
    """latent.html; pictures: PNG files by the figure's name."""
    title = escape(f"Latents of {content.title}")
    lines = [
        "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>", f"<style>{STYLE}img {{ max-width: 100%; }}</style>", "</head>",
        "<body>", f"<h1>{title}</h1>", *(f"<p>{escape(text)}</p>" for text in _said(content)),
        *(f"<p>Not here: {_web(text)}.</p>" for text in content.lacking),
    ]  # fmt: skip
    for domain, sections in parts.items():
        if len(parts) > 1:
            lines.append(f"<h1>{escape(content.card.domain_label(domain))}</h1>")
        if caution := content.caution(domain):
            lines.append(f"<p>{escape(caution)}</p>")
        for part in sections:
            lines += [f"<p><strong>{escape(text)}</strong></p>" for text in part.warnings]
            lines += [web_table(part.table)] if part.table is not None else []
            for name, (said, _) in part.drawn.items():
                data = base64.b64encode(pictures[name]).decode("ascii")
                source = f"data:image/png;base64,{data}"
                lines.append(f'<p><img alt="{escape(said)}" src="{source}"></p>')
    return "\n".join([*lines, "</body>", "</html>"]) + "\n"


def _opening(content: LatentContent) -> list[str]:
    title = f"# Latents of {markdown(content.title)}"
    parts = [title, *(_filled(markdown(text)) for text in _said(content))]
    if content.lacking:
        parts.append("\n".join(_filled(f"- Not here: {text}.", "  ") for text in content.lacking))
    return parts


def _web(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _said(content: LatentContent) -> list[str]:
    return [
        f"Corpus: {content.card.corpus.rstrip('.')}.",
        f"Protocol: {content.card.protocol}.",
        "In brackets: 95 % intervals over groups of clips. ↑ higher is better, ↓ lower is better. "
        "The numbers of all tables and figures lie beside this page as CSV, the figures as PDF. "
        "What each part means: docs/latent.md of rdbench.",
    ]


def _section(part: Part, mark: str) -> list[str]:
    """Heading, caption, tables of at most `WIDEST` columns, pictures; nothing of an empty part."""
    if part.empty:
        return []
    lines = [f"{mark} {markdown(part.title)}"]
    if part.warnings:
        lines += [_filled(f"**{markdown(text)}**") for text in part.warnings]
    if part.table is not None:
        head = [column.column for column in part.table.head]
        columns = [column.column for column in part.table.columns]
        blocks = packed(head, columns, width=WIDEST)
        lines.append(_filled(markdown(part.table.caption)))
        lines += [markdown_table(filled(block, len(head), nothing=NONE)) for block in blocks]
    lines += [f"![{markdown(said)}](figures/{name}.png)" for name, (said, _) in part.drawn.items()]
    return lines


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDEST, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
