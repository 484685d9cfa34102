"""`rdbench import-scores ANSWERS --run RUN`: a listening test becomes a metric of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    answers: Annotated[Path, typer.Argument(help="CSV: condition, clip, listener, score.")],
    run: Annotated[Path, typer.Option(help="The results folder that the clips came from.")],
    scale: Annotated[str, typer.Option(help="mos (1 to 5) or mushra (0 to 100).")] = "mos",
    condition: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SYSTEM/POINT: what a condition was; NAME= leaves it out."),
    ] = None,
) -> None:
    """Adds people's scores to RUN, for `rdbench compare`, with intervals over listeners and clips.

    A condition is named SYSTEM/POINT or SYSTEM/POINT/VARIANT.
    """
    from rdbench.analysis.subjective import import_scores
    from rdbench.cli.values import parse_names

    table = import_scores(run, answers, scale=scale, conditions=parse_names(condition or []))
    typer.echo(
        f"{len(table)} scores of {table['listener'].nunique()} listeners on "
        f"{table['clip'].nunique()} clips are now {scale} of {run}"
    )
