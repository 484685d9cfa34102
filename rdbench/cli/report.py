"""`rdbench report RUN`: tables and figures from a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="A results folder.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the table.")] = False,
) -> None:
    """Writes tables and figures of RUN again, without measuring anything."""
    write_report(run, quiet=quiet)


def write_report(folder: Path, *, quiet: bool) -> None:
    """Writes tables and figures into `folder`; prints the table and the paths unless quiet."""
    from rdbench.report.write import write_all

    text, paths = write_all(folder)
    if not quiet:
        typer.echo(text)
        for path in paths:
            typer.echo(path)
