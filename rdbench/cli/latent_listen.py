"""`rdbench latent listen SPEC`: a page to listen to what decoders make of latents."""

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

SOME_FAILED = 1
CLIPS = 3
"""Of a spec that says nothing of how many."""


def command(
    spec: Annotated[Path, typer.Argument(help="A benchmark spec: its clips and its systems.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the page.")],
    tables: Annotated[
        Path | None,
        typer.Option(help="A file of `rdbench fit-entropy`.  [default: the spec's]"),
    ] = None,
    probe: Annotated[
        list[Path] | None,
        typer.Option(help="A probe of one of the checkpoints, more than once as you like."),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            help="A variant to decode, more than once as you like.  [default: mean, sample, noise, "
            "projected or predicted, collapsed; the spec's own where it names some]"
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of a draw of a prior.")] = 4.0,
    draws: Annotated[int, typer.Option(min=1, max=99, help="Of each prior.")] = 2,
    limit: Limit = None,
    data: DataFolder = None,
    option: CodecOptions = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    allow_code: AllowCode = False,
    allow_download: AllowDownload = False,
    quiet: Quiet = False,
) -> None:
    """Writes sounds, their numbers and a page with players of the latents of SPEC.

    Draws of the priors of the ladder, paths between clips, latent arithmetic on level and F0, and
    decode paths (docs/latent.md). Three clips unless the spec or --limit says otherwise; they must
    not be those that tables were fitted on. Exit code 0: all of it; 1: something failed, and the
    page says what.
    """
    from rdbench.cli.progress import make_progress, set_up_logging
    from rdbench.engine.listen import Asked, listen
    from rdbench.interrupts import before_the_end
    from rdbench.report.listening.latents import write_listening
    from rdbench.spec.load import with_limit

    set_up_logging(verbose=0, quiet=quiet)
    if allow_code:
        find_code(spec)
    benchmark = read_spec(spec, data=data, limit=limit, options=option or [], quiet=quiet)
    if benchmark.corpus.sample is None:
        benchmark = with_limit(benchmark, CLIPS)
    progress = make_progress(quiet=quiet)
    with before_the_end(progress.stop):
        heard = listen(
            benchmark,
            Asked(seconds, draws, tuple(probe or ()), tuple(path or ()), tables),
            progress,
            device=device,
            allow_code=allow_code,
            allow_download=allow_download,
        )
        written = write_listening(heard, out)
    if not quiet:
        for one in written:
            typer.echo(str(one))
    if heard.failures:
        raise typer.Exit(SOME_FAILED)
