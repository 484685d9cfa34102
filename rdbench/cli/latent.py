"""`rdbench latent …`: what a run says of its continuous latents, what a probe predicts, what there
is to hear.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli import latent_listen
from rdbench.cli.options import AllowCode, CodecOptions, DataFolder, Limit, Quiet, find_code

SOME_FAILED = 1

app = typer.Typer(
    help="What a continuous latent is worth to a generator.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("listen")(latent_listen.command)


@app.callback()
def main() -> None:
    """What a continuous latent is worth to a generator."""


@app.command("predict")
def predict(
    spec: Annotated[Path, typer.Argument(help="A benchmark spec: its clips and its systems.")],
    probe: Annotated[Path, typer.Option(help="A probe that `rdbench train` has finished.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the predicted latents.")],
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="conditioned, infill, renoise_T or unconditional, more than once as you like.  "
            "[default: conditioned]"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often each clip is drawn.")] = 1,
    first_seed: Annotated[
        int, typer.Option(min=0, help="Number of the first draw; another number is other noise.")
    ] = 0,
    system: Annotated[
        str | None, typer.Option(help="System of the probe's checkpoint.  [default: found]")
    ] = None,
    data: DataFolder = None,
    limit: Limit = None,
    option: CodecOptions = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    allow_code: AllowCode = False,
    quiet: Quiet = False,
) -> None:
    """Writes the latents that a probe predicts for the clips of SPEC, one array for each clip.

    Each task and seed has a folder, as the variant `predicted` reads it. Clips that the probe was
    trained on are refused. Exit code 0: every clip; 1: some could not be read or encoded.
    """
    from rdbench.cli.options import read_spec
    from rdbench.cli.progress import make_progress, set_up_logging
    from rdbench.engine.predict import predict as write
    from rdbench.interrupts import before_the_end

    set_up_logging(verbose=0, quiet=quiet)
    if allow_code:
        find_code(spec)
    benchmark = read_spec(spec, data=data, limit=limit, options=option or [], quiet=quiet)
    progress = make_progress(quiet=quiet)
    with before_the_end(progress.stop):
        found = write(
            benchmark,
            probe,
            out,
            progress,
            tasks=task or ["conditioned"],
            seeds=seeds,
            first=first_seed,
            system=system,
            device=device,
            allow_code=allow_code,
        )
    if not quiet:
        for folder in found.folders:
            typer.echo(str(folder))
    if found.failures:
        raise typer.Exit(SOME_FAILED)


@app.command("report")
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Results folders.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write into.  [default: latent in the first]"),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Write latent.html too, with its figures inside.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the files.")] = False,
) -> None:
    """Writes tables and figures of the continuous latents of RUN, without measuring anything.

    The prior ladder, statistics by place, truncation and collapse, decode paths, the gap of
    predicted latents, and rate against generation, as far as RUN holds them (docs/latent.md).
    """
    from rdbench.cli.progress import Patience
    from rdbench.cli.report import shown
    from rdbench.report.latent.write import write_latent

    with Patience(quiet=quiet) as patience:
        patience.at("reading what the latents say")
        page, *others = write_latent(runs, out, html=html)
    if not quiet:
        typer.echo(page)
        for path in shown(others):
            typer.echo(path)
