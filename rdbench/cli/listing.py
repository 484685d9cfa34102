"""`rdbench specs`: what can be run by name; `codecs` and `metrics`: what a spec may name."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rdbench.cli.agreement import compare_with_listeners
from rdbench.cli.options import terminal_width
from rdbench.metrics.base import Direction, Scope
from rdbench.suggest import nearest
from rdbench.types import CodecError, SpecError

if TYPE_CHECKING:
    from rdbench.codecs.catalogue import Card

_CODEC_TITLES = (
    "codec", "family", "points (kbps)", "needs",
    "label", "licence of the code", "licence of the weights", "cite",
)  # fmt: skip
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
    a model on the Hugging Face hub. Labels, licences and citations are told of one NAME, and in a
    pipe of all.
    """
    from rdbench.codecs.catalogue import catalogue, credit, lacking, licences

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
            owed = credit(one)
            rows.append(
                (one, card.family, card.points, needs, owed.label, *licences(one, card),
                 owed.citation)
            )  # fmt: skip
    width = terminal_width()
    if width is None:
        print_table(_CODEC_TITLES, rows)
        return
    shown = len(_CODEC_TITLES) - 4
    print_wrapped(_CODEC_TITLES[:shown], [row[:shown] for row in rows], width)
    typer.echo("\n`rdbench codecs NAME` says all of one, with licences and whom to cite.")


def _print_card(name: str, cards: Mapping[str, Card]) -> None:
    from rdbench.codecs.catalogue import credit, lacking, licences

    if name not in cards:
        raise CodecError(f"there is no codec {name!r}; {nearest(name, cards)}")
    card, owed = cards[name], credit(name)
    package = card.package
    code, weights = licences(name, card)
    said = {
        "label": owed.label,
        "family": card.family,
        "points (kbps)": card.points,
        "options": ", ".join(card.options),
        "runs": f"{package.module} ({package.brought_by})" if package else "",
        "licence of the code": code,
        "licence of the weights": weights,
        "cite": owed.citation,
        "named in a spec": card.named,
        "lacking here": lacking(name, card) or "nothing",
    }
    print_facts(name, said)


def print_facts(name: str, said: Mapping[str, str]) -> None:
    typer.echo(name)
    width = terminal_width() or 100
    for title, text in said.items():
        if text:
            typer.echo(
                textwrap.fill(
                    f"{title}: {text}",
                    width,
                    initial_indent="  ",
                    subsequent_indent="    ",
                    break_on_hyphens=False,
                )
            )


def specs() -> None:
    """Lists the specs that come with rdbench: `rdbench run NAME` runs one.

    Clips "of yours" are those of `--data FOLDER`, of these domains. Times are of all clips of the
    spec on two cores.
    """
    from rdbench.engine.specs import read_spec
    from rdbench.spec import shipped

    rows = []
    for name in shipped.names():
        spec = read_spec(shipped.FOLDER / f"{name}.yaml")
        own = {"embedded": "embedded", "named": spec.corpus.name}
        whose = own.get(spec.corpus.kind, "of yours")
        domains = ", ".join(spec.corpus.domains or ()) or "all"
        systems = ", ".join(dict.fromkeys(system.label for system in spec.systems))
        time = shipped.TIMES.get(name, "not measured")
        rows.append((name, f"{whose} ({domains})", time, systems, spec.description))
    print_table(("spec", "clips", "time", "systems", "what"), rows)


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
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="LISTENING",
            help="A results folder with listeners' scores: how well its metrics agree with them.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="With --against: only this key; may be given again.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="With --against: also as CSV.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="With --against: also as Markdown.")] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="With --against: a scatter of scores over values (.pdf, .svg, .png)."),
    ] = None,
) -> None:
    """Lists the metrics that a spec may name; of one, its definition, backends and options.

    With --against, says instead how far those of a run are to be believed: their agreement with
    the scores that `rdbench import-scores` brought into it, with intervals.
    """
    from rdbench.metrics.registry import definition, keys
    from rdbench.report.names import clean

    if against is not None:
        compare_with_listeners(
            against, metrics=metric or (), csv=csv, markdown=markdown, figure=figure
        )
        return
    asked = {"--metric": metric, "--csv": csv, "--markdown": markdown, "--figure": figure}
    if named := [option for option, value in asked.items() if value]:
        raise SpecError(f"{named[0]} belongs to a comparison; say with which run by --against RUN")
    if selftest:
        raise typer.Exit(_selftest())
    if name is not None:
        _print_metric(name)
        return
    rows = []
    for key in keys():
        meant = definition(key)
        better = f"{ARROWS[meant.direction]} {meant.unit}".rstrip()
        rows.append((key, clean(meant.name, longest=30), better, ", ".join(meant.domains) or "all"))
    print_table(("key", "metric", "better", "domains"), rows)
    typer.echo("\nrdbench metrics KEY says what one of them is, and what computes it")


def _print_metric(key: str) -> None:
    from rdbench.metrics.registry import backend_names, definition

    meant = definition(key)
    print_facts(
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


def print_table(titles: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
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


def print_wrapped(titles: Sequence[str], rows: Sequence[tuple[str, ...]], columns: int) -> None:
    """A table whose cells are broken between words, where a terminal has no room for lines."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="", padding=(0, 2, 0, 0))
    for number, title in enumerate(titles):
        table.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(width=columns, color_system=None, highlight=False)
    with console.capture() as made:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in made.get().splitlines()))


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
