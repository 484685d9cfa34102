"""`rdbench codecs` and `rdbench metrics`: what a spec may name."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Annotated

import typer

from rdbench.cli.options import terminal_width


def codecs() -> None:
    """Lists the codecs that a spec may name, with family, points, options and licence."""
    from rdbench.codecs.catalogue import catalogue

    _print_table(
        ("codec", "family", "points (kbps)", "options", "licence"),
        [
            (name, card.family, card.points, ", ".join(card.options), card.licence)
            for name, card in catalogue().items()
        ],
    )


def metrics(
    selftest: Annotated[
        bool,
        typer.Option(
            "--selftest",
            help="Compare backends with the reference packages on the embedded clips (minutes).",
        ),
    ] = False,
) -> None:
    """Lists the metrics that a spec may name, with unit, scope, backends and definition."""
    from rdbench.metrics.registry import backend_names, definition, keys

    if selftest:
        raise typer.Exit(_selftest())
    rows = []
    for key in keys():
        meant = definition(key)
        domains, names = ", ".join(meant.domains) or "all", ", ".join(backend_names(key))
        better, scope = meant.direction.value, meant.scope.value
        rows.append((key, meant.unit, better, scope, domains, names, meant.definition))
    titles = ("key", "unit", "better", "scope", "domains", "backends", "definition")
    _print_table(titles, rows)


def _print_table(titles: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """A line for each row, or where the terminal is too narrow for that, a paragraph."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    columns = terminal_width()
    if columns is not None and sum(widths) + 2 * (len(widths) - 1) > columns:
        for name, *cells in rows:
            named = zip(titles[1:], cells, strict=True)
            said = "; ".join(f"{title}: {cell}" for title, cell in named if cell)
            lines = textwrap.wrap(said, max(columns - 2, 1), break_on_hyphens=False)
            typer.echo("\n  ".join([name, *lines]))
        return
    for row in (titles, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def _selftest() -> int:
    """Prints deviations as they are found; 1 where one is not within what its backend states."""
    from rdbench.metrics.selftest import compared, deviations

    width = max(len(key) for key, _ in compared())
    line = f"{{:{width}}}  {{:13}}  {{:>5}}  {{:>9}}  {{:>8}}  {{:>8}}  {{:>9}}  {{}}"
    typer.echo(
        line.format("metric", "backend", "pairs", "differing", "median", "largest", "tolerance", "")
    )
    failed = 0
    for one in deviations():
        failed += not one.holds
        numbers = (f"{value:.1e}" for value in (one.median, one.largest, one.tolerance))
        verdict = "ok" if one.holds else "NOT within its tolerance"
        typer.echo(line.format(one.key, one.backend, one.pairs, one.differing, *numbers, verdict))
    return 1 if failed else 0
