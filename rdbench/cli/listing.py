"""`rdbench codecs` and `rdbench metrics`: what a spec may name."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rdbench.cli.options import terminal_width
from rdbench.metrics.base import Direction, Scope
from rdbench.suggest import nearest
from rdbench.types import CodecError

if TYPE_CHECKING:
    from rdbench.codecs.catalogue import Card

ARROWS = {Direction.HIGHER: "↑", Direction.LOWER: "↓"}


def codecs(
    name: Annotated[
        str | None, typer.Argument(help="Say all that is known of this one.", show_default=False)
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only codecs of this family.")] = None,
    available: Annotated[
        bool, typer.Option("--available", help="Only those for which nothing is lacking here.")
    ] = False,
) -> None:
    """Lists the codecs that a spec may name, and what each needs that is not here.

    "in the spec" are weights or models that it names as an option: a folder, a file, or the id of
    a model on the Hugging Face hub.
    """
    from rdbench.codecs.catalogue import catalogue, lacking

    cards = catalogue()
    if name is not None:
        _print_card(name, cards)
        return
    families = sorted({card.family for card in cards.values()})
    if family is not None and family not in families:
        raise CodecError(f"there is no family {family!r}; {nearest(family, families)}")
    rows = []
    for one, card in cards.items():
        lacks = lacking(one, card)
        if family in (None, card.family) and not (available and lacks):
            needs = lacks or (f"{card.named} in the spec" if card.named else "nothing")
            rows.append((one, card.family, card.points, needs, card.licence))
    _print_table(("codec", "family", "points (kbps)", "needs", "licence"), rows)


def _print_card(name: str, cards: Mapping[str, Card]) -> None:
    from rdbench.codecs.catalogue import lacking

    if name not in cards:
        raise CodecError(f"there is no codec {name!r}; {nearest(name, cards)}")
    card = cards[name]
    package = card.package
    said = {
        "family": card.family,
        "points (kbps)": card.points,
        "options": ", ".join(card.options),
        "licence": card.licence,
        "runs": f"{package.module} (extra {package.extra}; {package.licence})" if package else "",
        "named in a spec": card.named,
        "lacking here": lacking(name, card) or "nothing",
    }
    _print_facts(name, said)


def _print_facts(name: str, said: Mapping[str, str]) -> None:
    typer.echo(name)
    width = terminal_width() or 100
    for title, text in said.items():
        if text:
            typer.echo(
                textwrap.fill(
                    f"{title}: {text}", width, initial_indent="  ", subsequent_indent="    "
                )
            )


def metrics(
    name: Annotated[
        str | None, typer.Argument(help="Say all that is known of this one.", show_default=False)
    ] = None,
    selftest: Annotated[
        bool,
        typer.Option(
            "--selftest",
            help="Compare backends with the reference packages on the embedded clips (minutes).",
        ),
    ] = False,
) -> None:
    """Lists the metrics that a spec may name; of one, its definition, backends and options."""
    from rdbench.metrics.registry import definition, keys

    if selftest:
        raise typer.Exit(_selftest())
    if name is not None:
        _print_metric(name)
        return
    rows = []
    for key in keys():
        meant = definition(key)
        better = f"{ARROWS[meant.direction]} {meant.unit}".rstrip()
        rows.append((key, meant.name, better, ", ".join(meant.domains) or "all"))
    _print_table(("key", "metric", "better", "domains"), rows)
    typer.echo("\nrdbench metrics KEY says what one of them is, and what computes it")


def _print_metric(key: str) -> None:
    from rdbench.metrics.registry import backend_names, definition

    meant = definition(key)
    _print_facts(
        key,
        {
            "metric": meant.name,
            "definition": meant.definition,
            "source": meant.citation,
            "unit": meant.unit,
            "better": meant.direction.value,
            "of a reference itself": "" if math.isnan(meant.identity) else f"{meant.identity:g}",
            "scores": {
                Scope.CLIP: "a clip against its reference",
                Scope.CLIP_ALONE: "a clip alone, without a reference",
                Scope.SET: f"a set of clips, {meant.minimum_clips} or more",
            }[meant.scope],
            "domains": ", ".join(meant.domains) or "all",
            "sample rate": f"{meant.sample_rate} Hz" if meant.sample_rate else "the protocol's",
            "shortest clip": f"{meant.minimum_seconds:g} s" if meant.minimum_seconds else "",
            "backends": ", ".join(backend_names(key)),
            "options": ", ".join(meant.options),
        },
    )


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
