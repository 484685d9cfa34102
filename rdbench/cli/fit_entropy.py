"""`rdbench fit-entropy SPEC`: tables for entropy coding, fitted on clips that are not scored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    spec: Annotated[Path, typer.Argument(help="A benchmark spec: its systems and its clips.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The tables file to write.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder that replaces the corpus folder of the spec.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many clips.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="SYSTEM.KEY=VALUE: replaces a codec option, as lyra.models=DIR."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Let `module:Class` codecs of the spec run.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only errors.")] = False,
) -> None:
    """Fits token tables, priors and latent coders on the clips of SPEC.

    Fit on other clips than those that you score: scoring a clip with tables that were fitted on it
    is refused.
    """
    from rdbench.cli.progress import make_progress, set_up_logging
    from rdbench.cli.specs import read_spec
    from rdbench.engine.fit import fit_tables

    set_up_logging(verbose=0, quiet=quiet)
    benchmark = read_spec(spec, data=data, limit=limit, options=option or [])
    progress = make_progress(quiet=quiet)
    tables = fit_tables(benchmark, progress, device=device, allow_code=allow_code)
    tables.save(out)
    if not quiet:
        count = len(tables.entries)
        typer.echo(f"{out}: {count} entries, {tables.label} ({len(tables.fitted_on)} files)")
