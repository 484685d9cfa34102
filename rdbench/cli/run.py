"""`rdbench run SPEC`: evaluate codecs on clips."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import (
    AllowCode,
    AllowDownload,
    CodecOptions,
    DataFolder,
    Limit,
    Quiet,
    find_code,
    read_spec,
)
from rdbench.interrupts import AGAIN, before_the_end

FAILED = 1
TABLE = "table.md"


class Costs(StrEnum):
    """What the cost pass does."""

    MISSING = "missing"
    AGAIN = "again"
    NONE = "none"


def command(
    spec: Annotated[
        Path, typer.Argument(help="A YAML file, or a name that `rdbench specs` lists.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Results folder.  [default: results/NAME of the spec]"),
    ] = None,
    data: DataFolder = None,
    limit: Limit = None,
    option: CodecOptions = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N, several as cuda:0,cuda:1, or cuda:all.")
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes on the cores.  [default: one per core, or per protocol.threads]"
        ),
    ] = None,
    batch_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds of audio in one batch of a GPU.")
    ] = 60.0,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="local:N|ADDRESS|FILE.yaml",
            help="Measure on the workers of a Dask cluster (docs/cluster.md).",
        ),
    ] = None,
    cluster_wait: Annotated[
        float,
        typer.Option(min=1.0, help="Seconds that a run on a cluster may be without workers."),
    ] = 900.0,
    costs: Annotated[
        Costs, typer.Option(help="Costs of this machine: what is missing, all again, or none.")
    ] = Costs.MISSING,
    keep_audio: Annotated[
        bool,
        typer.Option(
            "--keep-audio", help="Leave reconstructions and references in RUN/audio, as FLAC."
        ),
    ] = False,
    traces: Annotated[
        bool, typer.Option("--traces", help="Leave bits per frame in RUN/traces.")
    ] = False,
    allow_code: AllowCode = False,
    allow_download: AllowDownload = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Evaluates the systems of SPEC and leaves measurements, tables and figures in a folder.

    A folder that holds part of the work is finished, not begun again. Exit code 0: every unit
    done; 1: some units failed (their rows say why); 2: usage.
    """
    from rdbench.cli.progress import make_progress, set_up_logging
    from rdbench.cli.report import write_report
    from rdbench.engine.run import RunOptions, run_benchmark
    from rdbench.report.state import stands
    from rdbench.report.text.status import failures_text

    set_up_logging(verbose=verbose, quiet=quiet)
    benchmark = read_spec(spec, data=data, limit=limit, options=option or [], quiet=quiet)
    folder = out or Path("results") / benchmark.name
    how = RunOptions(
        device=device,
        workers=workers,
        batch_seconds=batch_seconds,
        allow_code=allow_code,
        allow_download=allow_download,
        costs=costs.value,
        keep_audio=keep_audio,
        traces=traces,
        cluster=cluster,
        cluster_wait=cluster_wait,
    )
    if allow_code:
        find_code(spec)
    progress = make_progress(quiet=quiet)
    with before_the_end(progress.stop), before_the_end(lambda: _kept(folder)):
        summary = run_benchmark(benchmark, folder, how, progress)
        if not stands(folder):
            write_report(folder, quiet=quiet)
        elif not quiet:
            typer.echo(
                f"{folder} was finished: nothing was measured, its tables and figures stand "
                f"(`rdbench report {folder}` makes them again)\n{folder / TABLE}"
            )
    if summary.failed:
        typer.echo(failures_text(folder, summary.failed), err=True)
        raise typer.Exit(FAILED)


def _kept(folder: Path) -> str:
    kept = f"{folder} keeps what was measured" if folder.exists() else "nothing was measured"
    return f"{kept}; {AGAIN}"
