"""`rdbench reproduce SUBMISSION`: decodes a part of a submission again, for its badge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import (
    AllowCode,
    AllowDownload,
    CodecOptions,
    DataFolder,
    Quiet,
    parse_options,
)
from rdbench.text import printable

DIFFERS = 1


def command(
    submission: Annotated[Path, typer.Argument(metavar="SUBMISSION", help="A submission.")],
    data: DataFolder = None,
    option: CodecOptions = None,
    share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the clips that is decoded again.")
    ] = 0.05,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Draws the clips.  [default: another one each time]"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on the cores.")] = None,
    allow_code: AllowCode = False,
    allow_download: AllowDownload = False,
    quiet: Quiet = False,
) -> None:
    """Runs a share of SUBMISSION's clips again, at every point of every system that can be built
    here, and leaves reproduction.json in it, from which badges come.

    Paths in its spec start in the current folder. Exit code 0: every system is reproduced; 1: some
    came out otherwise or could not be built, one line each; 2: usage.
    """
    from rdbench.cli.progress import make_progress
    from rdbench.engine.run import RunOptions
    from rdbench.leaderboard.record import differences_of
    from rdbench.leaderboard.reproduce import reproduce

    how = RunOptions(
        device=device, workers=workers, allow_code=allow_code, allow_download=allow_download
    )
    record = reproduce(
        submission,
        share=share,
        seed=seed,
        data=data,
        replaced=parse_options(option or []),
        options=how,
        progress=make_progress(quiet=quiet),
    )
    differing = list(differences_of(record))
    for sentence in differing:
        typer.echo(f"rdbench: {printable(sentence)}", err=True)
    if not quiet:
        good = len(record.systems) - len(differing)
        typer.echo(
            f"{submission}: {good} of {len(record.systems)} systems are reproduced, on "
            f"{len(record.clips)} clips (seed {record.seed})"
        )
    if differing:
        raise typer.Exit(DIFFERS)
