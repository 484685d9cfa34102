"""`rdbench import-scores ANSWERS --run RUN`: a listening test becomes a metric of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import parse_names


def command(
    answers: Annotated[
        Path,
        typer.Argument(help="CSV: condition, clip, listener, score; with --key, webMUSHRA's."),
    ],
    run: Annotated[Path, typer.Option(help="The results folder that the clips came from.")],
    key: Annotated[
        Path | None, typer.Option(help="The key.csv of `rdbench listen`, for webMUSHRA's results.")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="mos (1 to 5) or mushra (0 to 100).  [default: mos; the key's]"),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SYSTEM/POINT: what a condition was; NAME= leaves it out."),
    ] = None,
) -> None:
    """Adds people's scores to RUN, for `rdbench compare`, with intervals over listeners and clips.

    A condition is named SYSTEM/POINT or SYSTEM/POINT/VARIANT. Of an abx test, which compares pairs
    of points, the counts are printed, and nothing is added.
    """
    from rdbench.analysis.listeners.ratings import import_scores
    from rdbench.analysis.listeners.webmushra import read_answers, rejected
    from rdbench.report.listening.results import pairs_text

    if key is not None:
        kind, given = read_answers(answers, key)
        if kind == "abx":
            typer.echo(pairs_text(given))
            return
        scale = scale or kind
        if names := rejected(given) if kind == "mushra" else []:
            typer.echo(
                f"BS.1534-3 would leave out {len(names)} of the listeners, who miss the hidden "
                f"reference or the anchor too often: {', '.join(names)}"
            )
    table = import_scores(
        run, answers, scale=scale or "mos", conditions=parse_names(condition or []), key=key
    )
    typer.echo(
        f"{len(table)} scores of {table['listener'].nunique()} listeners on "
        f"{table['clip'].nunique()} clips are now {scale or 'mos'} of {run}"
    )
