"""`rdbench report RUN`: tables and figures from a results folder."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class RateAxis(StrEnum):
    """What `--rate` takes: the headline kind of each system, or one kind for all."""

    HEADLINE = "headline"
    NOMINAL = "nominal"
    ENTROPY = "entropy"
    KL = "kl"
    CODED = "coded"
    PAYLOAD = "payload"
    CONTAINER = "container"


def command(
    run: Annotated[Path, typer.Argument(help="A results folder.")],
    rate: Annotated[
        RateAxis, typer.Option(help="Which bits the figures' rate axis shows.")
    ] = RateAxis.HEADLINE,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the table.")] = False,
) -> None:
    """Writes tables and figures of RUN again, without measuring anything."""
    write_report(run, rate=rate.value, quiet=quiet)


def write_report(folder: Path, *, rate: str = "headline", quiet: bool) -> None:
    """Writes tables and figures into `folder`; prints the table and the paths unless quiet."""
    from rdbench.report.write import write_all

    text, paths = write_all(folder, rate=rate)
    if not quiet:
        typer.echo(text)
        for path in shown(paths):
            typer.echo(path)


def shown(paths: Sequence[Path]) -> list[str]:
    """The files worth a line each: tables and overviews; the others are counted."""
    main = [path for path in paths if path.suffix in {".md", ".csv"}]
    main += [path for path in paths if path.stem.startswith("overview_")]
    others = [path for path in paths if path not in main]
    lines = [str(path) for path in main]
    if others:
        lines.append(f"{others[0].parent}/: {len(others)} more, one metric each")
    return lines
