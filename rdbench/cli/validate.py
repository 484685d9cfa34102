"""`rdbench validate RUN`: whether a results folder is what it was written as, and whole."""

from __future__ import annotations

from typing import Annotated

import typer

from rdbench.cli.options import RunFolder
from rdbench.text import printable

PROBLEMS = 1


def command(
    run: RunFolder,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what is wrong.")] = False,
) -> None:
    """Checks the hashes, the schema and the completeness of RUN.

    Exit code 0: whole; 1: something is damaged or missing (one line each); 2: RUN is no run.
    """
    from rdbench.store.validate import validate_run

    found = validate_run(run)
    for problem in found.problems:
        typer.echo(f"rdbench: {printable(problem)}", err=True)
    if not quiet:
        for note in found.notes:
            typer.echo(f"note: {note}")
        state = f"problems found: {len(found.problems)}" if found.problems else "whole"
        parts = "1 part" if found.parts == 1 else f"{found.parts} parts"
        beside = (
            f", {found.beside:,} of them of traces, features, audio or notes"
            if found.beside
            else ""
        )
        typer.echo(f"{run}: {state}; {found.rows:,} rows in {parts}{beside}")
    if found.problems:
        raise typer.Exit(PROBLEMS)
