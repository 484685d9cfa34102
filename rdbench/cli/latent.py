"""`rdbench latent report RUN …`: what a run says of its continuous latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="What a continuous latent is worth to a generator.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def main() -> None:
    """What a continuous latent is worth to a generator."""


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
