"""`rdbench status RUN`: what is done, what failed and why, and the time left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="A results folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Says how far RUN is, while it runs or after: done, failed by reason, time left."""
    from rdbench.report.text.status import status_text
    from rdbench.store.manifest import as_json
    from rdbench.store.status import run_status

    status = run_status(run)
    typer.echo(as_json(status) if json else status_text(status))
