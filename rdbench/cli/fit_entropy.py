"""`rdbench fit-entropy SPEC`: tables for entropy coding, fitted on clips that are not scored."""

from __future__ import annotations

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
from rdbench.interrupts import before_the_end


def command(
    spec: Annotated[Path, typer.Argument(help="A benchmark spec: its systems and its clips.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The tables file to write.")],
    data: DataFolder = None,
    limit: Limit = None,
    option: CodecOptions = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    allow_code: AllowCode = False,
    allow_download: AllowDownload = False,
    extend: Annotated[
        bool, typer.Option(help="Keep what the file has, and fit only what it lacks.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Fits token tables, priors and latent coders on the clips of SPEC.

    Fit on other clips than those that you score: scoring a clip with tables that were fitted on it
    is refused.
    """
    from rdbench.cli.progress import make_progress, set_up_logging
    from rdbench.engine.fit import fit_tables
    from rdbench.rate.tables import Tables
    from rdbench.store.atomic import check_writable, write_atomic

    set_up_logging(verbose=0, quiet=quiet)
    if allow_code:
        find_code(spec)
    benchmark = read_spec(spec, data=data, limit=limit, options=option or [], quiet=quiet)
    progress = make_progress(quiet=quiet)
    known = Tables.load(out) if extend else None
    check_writable(out)
    with before_the_end(progress.stop):
        tables = fit_tables(
            benchmark,
            progress,
            device=device,
            allow_code=allow_code,
            allow_download=allow_download,
            known=known,
        )
    write_atomic(out, tables.dumps())
    if not quiet:
        count = len(tables.entries)
        typer.echo(f"{out}: {count} entries, {tables.label} ({len(tables.fitted_on)} files)")
