"""`rdbench merge A B … -o OUT`: runs of one protocol that were made apart, as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import Quiet


def command(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Results folders, two or more.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new results folder.")],
    quiet: Quiet = False,
) -> None:
    """Joins runs that were made apart (by clips, systems, points or metrics) into one.

    Exit code 0: OUT is there; 2: what the runs say of one thing differs, and nothing was written.
    """
    from rdbench.engine.merge import merge_runs
    from rdbench.text import printable

    merged = merge_runs(runs, out)
    if quiet:
        return
    for note in merged.notes:
        typer.echo(f"note: {printable(note)}")
    counts = [f"{merged.rows:,} rows of {len(runs)} runs"]
    counts += [f"{merged.failed:,} of them failed"] if merged.failed else []
    counts += [f"{merged.aside:,} moved to retired/"] if merged.aside else []
    typer.echo(f"{out}: {', '.join(counts)}")
    if merged.missing:
        typer.echo(
            f"{merged.missing:,} rows are missing, of systems, clips and metrics that no run has "
            "together; run a spec that names them all with this folder as --out, and only these "
            "are measured"
        )
    typer.echo(f"`rdbench report {out}` makes its tables and figures")
