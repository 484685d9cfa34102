"""`rdbench run SPEC`: evaluate codecs on clips."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

FAILED = 1
INTERRUPTED = 130
REASONS_SHOWN = 10


class Costs(StrEnum):
    """What the cost pass does."""

    MISSING = "missing"
    AGAIN = "again"
    NONE = "none"


def command(
    spec: Annotated[Path, typer.Argument(help="The benchmark spec, a YAML file.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Results folder.  [default: results/NAME of the spec]"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder that replaces the corpus folder of the spec.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many clips.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="SYSTEM.KEY=VALUE: replaces a codec option, as lyra.models=DIR."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes.  [default: one per core]")
    ] = None,
    batch_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds of audio in one batch.")
    ] = 60.0,
    costs: Annotated[
        Costs, typer.Option(help="Cost pass: what is missing, all of it again, or none.")
    ] = Costs.MISSING,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Let `module:Class` codecs of the spec run.")
    ] = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only errors.")] = False,
) -> None:
    """Evaluates the systems of SPEC and leaves measurements, tables and figures in a folder.

    A folder that holds part of the work is finished, not begun again. Exit code 0: every unit
    done; 1: some units failed (their rows say why); 2: usage.
    """
    from rdbench.cli.progress import make_progress, set_up_logging
    from rdbench.cli.report import write_report
    from rdbench.cli.specs import read_spec
    from rdbench.engine.run import RunOptions, run_benchmark

    set_up_logging(verbose=verbose, quiet=quiet)
    benchmark = read_spec(spec, data=data, limit=limit, options=option or [])
    folder = out or Path("results") / benchmark.name
    how = RunOptions(
        device=device,
        workers=workers,
        batch_seconds=batch_seconds,
        allow_code=allow_code,
        costs=costs.value,
    )
    if allow_code:  # as a script finds the modules beside it
        sys.path.insert(0, str(spec.parent.absolute()))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        summary = run_benchmark(benchmark, folder, how, make_progress(quiet=quiet))
    except KeyboardInterrupt:
        kept = f"{folder} keeps what was measured" if folder.exists() else "nothing was measured"
        typer.echo(f"rdbench: interrupted; {kept}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    write_report(folder, quiet=quiet)
    if summary.failed:
        say_failures(folder, summary.failed)
        raise typer.Exit(FAILED)


def say_failures(folder: Path, failed: int) -> None:
    """The most frequent reasons on stderr; all of them are in the rows."""
    from rdbench.store.reader import read_rows

    rows = read_rows(folder)
    reasons = rows.loc[rows["status"] == "failed", "reason"].value_counts()
    typer.echo(f"rdbench: {failed} measurements failed in {folder}:", err=True)
    for reason, count in reasons.head(REASONS_SHOWN).items():
        typer.echo(f"  {count} × {reason}", err=True)
    if len(reasons) > REASONS_SHOWN:
        typer.echo(f"  … and {len(reasons) - REASONS_SHOWN} more reasons", err=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
