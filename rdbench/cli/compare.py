"""`rdbench compare`: a run against an earlier one, or curves and points against one curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import parse_pairs, parse_targets, terminal_width
from rdbench.types import SpecError


def command(
    runs: Annotated[list[Path], typer.Argument(help="Results folders that were measured alike.")],
    anchor: Annotated[
        str | None,
        typer.Option(
            help="The curve that all others are compared with; without it, and without --pair, of "
            "two runs the second is compared with the first, system by system.",
        ),
    ] = None,
    curve: Annotated[
        list[str] | None, typer.Option(help="Only these curves; may be repeated.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Only these metrics; may be repeated.")
    ] = None,
    at: Annotated[
        list[float] | None, typer.Option(help="Read every curve at this many kbps.")
    ] = None,
    reach: Annotated[
        list[str] | None, typer.Option(help="METRIC=VALUE: the rate that reaches a quality.")
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(help="SYSTEM/POINT=SYSTEM/POINT: these points, not those near in rate."),
    ] = None,
    clips: Annotated[int, typer.Option(min=0, help="Clips to list at either end.")] = 1,
    resamples: Annotated[
        int, typer.Option(min=100, help="Resamples that tell how often two curves cross.")
    ] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of these resamples.")] = 0,
    everything: Annotated[
        bool, typer.Option("--all", help="Print all tables, and not the first page alone.")
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the tables to this Markdown file.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the tables as JSON.")] = None,
) -> None:
    """Compares runs, curves and points on the same clips, with 95 % intervals.

    `compare OLD NEW` says whether NEW is better. With --anchor: BD-rates against one curve, or the
    reason why there is none, of one run or of several that were measured alike. A point is named
    SYSTEM/POINT and a curve by its name; of runs that have both under one name RUN:SYSTEM/POINT and
    RUN:CURVE, RUN being the name of the folder.
    """
    from rdbench.analysis.compare import all_tables, load
    from rdbench.report.cards import describe
    from rdbench.report.text.comparison import comparison_text
    from rdbench.report.text.outputs import json_text, write_text

    if anchor is None and not pair:
        asked = {"--curve": curve, "--at": at, "--reach": reach}
        if dropped := [option for option, value in asked.items() if value]:
            raise SpecError(
                f"{dropped[0]} needs a curve to compare with; name it with --anchor CURVE"
            )
        _versions(runs, metric, everything=everything, markdown=markdown, json=json)
        return
    run = load(runs)
    tables = all_tables(
        run,
        anchor=anchor,
        curves=curve,
        metrics=metric,
        pairs=parse_pairs(pair or []),
        at_kbps=at or (),
        to_reach=parse_targets(reach or []),
        clips=clips,
        resamples=resamples,
        seed=seed,
    )
    card = describe(run.rows, run.manifest)
    said = []
    if markdown is not None:
        text = comparison_text(tables, card, reference=anchor, layout="markdown")
        said.append(write_text(markdown, text))
    if json is not None:
        said.append(write_text(json, json_text(tables)))
    for sentence in filter(None, said):
        typer.echo(f"rdbench: {sentence}", err=True)
    text = comparison_text(
        tables,
        card,
        reference=anchor,
        width=terminal_width(),
        brief=not everything,
        pairs_asked=bool(pair),
    )
    typer.echo(text, nl=False)


def _versions(
    runs: Sequence[Path],
    metrics: Sequence[str] | None,
    *,
    everything: bool,
    markdown: Path | None,
    json: Path | None,
) -> None:
    """The second of two runs against the first."""
    from rdbench.analysis.compare import load
    from rdbench.analysis.matched import match
    from rdbench.report.text.matched import matched_text
    from rdbench.report.text.outputs import json_text, write_text

    if len(runs) != 2:
        raise SpecError(
            "compare takes two runs, OLD and NEW, or one curve that all others are held against "
            "(--anchor), or pairs of points (--pair)"
        )
    old, new = map(str, runs)
    matched = match(load(old), load(new), metrics=metrics)
    said = []
    if markdown is not None:
        page = matched_text(matched, old=old, new=new, layout="markdown", every=True)
        said.append(write_text(markdown, page))
    if json is not None:
        tables = {"pairs": matched.pairs}
        if matched.bd is not None:
            tables["bd"] = matched.bd
        said.append(write_text(json, json_text(tables)))
    for sentence in filter(None, said):
        typer.echo(f"rdbench: {sentence}", err=True)
    text = matched_text(matched, old=old, new=new, width=terminal_width(), every=everything)
    typer.echo(text, nl=False)
