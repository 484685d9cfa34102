"""`rdbench status RUN`: what is done, what failed and why, and the time left."""

from __future__ import annotations

from typing import Annotated

import typer

from rdbench.cli.options import RunFolder


def command(
    run: RunFolder,
    json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Says how far RUN is, while it runs or after: done, failed by reason, time left."""
    from dataclasses import asdict

    from rdbench.report.text.status import clips_noted, read_notes, status_text
    from rdbench.store.manifest import as_json
    from rdbench.store.status import run_status

    status, notes = run_status(run), read_notes(run)
    if json:
        typer.echo(as_json({**asdict(status), "notes": dict(clips_noted(notes))}))
    else:
        typer.echo(status_text(status, notes))
