"""`rdbench compare RUN [RUN …]`: curves and points against one curve, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import parse_pairs, parse_targets, terminal_width


def command(
    runs: Annotated[list[Path], typer.Argument(help="Results folders that were measured alike.")],
    anchor: Annotated[str, typer.Option(help="The curve that all others are compared with.")],
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
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the tables to this Markdown file.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the tables as JSON.")] = None,
) -> None:
    """Compares curves and points with those of one curve, on the same clips.

    BD-rate and BD-quality with 95 % intervals, or the reason why there is none.
    """
    from rdbench.analysis.compare import all_tables, load
    from rdbench.report.cards import describe
    from rdbench.report.text.comparison import comparison_text
    from rdbench.report.text.outputs import json_text, write_text

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
    text = comparison_text(tables, card, reference=anchor, width=terminal_width())
    typer.echo(text, nl=False)
