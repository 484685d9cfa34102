"""`rdbench leaderboard SUBMISSIONS`: a static site of submissions, by protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import Quiet
from rdbench.text import printable

LEFT_OUT = 1


def command(
    submissions: Annotated[
        Path,
        typer.Argument(metavar="SUBMISSIONS", help="A folder of submissions, each in its own."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the site.")] = Path("site"),
    quiet: Quiet = False,
) -> None:
    """Builds the site of SUBMISSIONS: a board for each protocol, with ranks only where
    differences are significant.

    leaderboard.yaml beside them names the boards (docs/leaderboard.md). Exit code 0: all of them
    stand on a board; 1: some are left out, one line each, and the site has the others; 2: usage.
    """
    from rdbench.cli.progress import Patience
    from rdbench.leaderboard.site import write_site

    with Patience(quiet=quiet) as patience:
        page, found = write_site(submissions, out, at=patience.at)
    for name, why in found.left_out:
        typer.echo(f"rdbench: {printable(f'{name}: {why}')}", err=True)
    if not quiet:
        for sentence in found.said:
            typer.echo(f"note: {printable(sentence)}")
        typer.echo(page)
    if found.left_out:
        raise typer.Exit(LEFT_OUT)
