"""`rdbench submit RUN`: a run as a submission to a leaderboard, checked as its CI checks it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.text import printable

FINDINGS = 1


def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A results folder; with --check a submission.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The submission.  [default: submissions/NAME of RUN]"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: RUN is a submission to be checked.")
    ] = False,
) -> None:
    """Writes the submission of RUN (manifest, rows per clip, a form to fill in; no audio), and
    checks it.

    What stands in its submission.yaml is kept when it is written again. Exit code 0: nothing is
    missing; 1: something is, one line each; 2: RUN is no run.
    """
    from rdbench.files import is_file
    from rdbench.leaderboard.check import check_submission
    from rdbench.leaderboard.form import FORM
    from rdbench.leaderboard.submission import write_submission

    folder = run if check else out or Path("submissions") / run.resolve().name
    kept = not check and is_file(folder / FORM)
    if not check:
        form = write_submission(run, folder)
        typer.echo(f"{folder}: {form.name} is yours to edit")
    found = check_submission(folder)
    if kept and found.submission is not None:
        said = found.submission.form
        typer.echo(
            printable(f"note: the form that lay there was kept (name {said.name}, by {said.by!r})")
        )
    for problem in found.problems:
        typer.echo(f"rdbench: {printable(problem)}", err=True)
    for note in found.notes:
        typer.echo(f"note: {printable(note)}")
    if found.problems:
        raise typer.Exit(FINDINGS)
    typer.echo(f"{folder}: complete")
