"""`rdbench weights fetch NAME|SPEC`: published weights, fetched because somebody asked for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rdbench.cli.options import AllowCode, is_spec

if TYPE_CHECKING:
    from rdbench.weights.published import Download

SOME_FAILED = 1

app = typer.Typer(
    help="Published weights (docs/weights.md).",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def main() -> None:
    """Published weights (docs/weights.md)."""


@app.command("fetch")
def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|SPEC…",
            help="Codecs (encodec_24khz), models of the Hugging Face hub (OWNER/NAME), or specs: "
            "what their systems and metrics lack.",
        ),
    ],
    subfolder: Annotated[
        str, typer.Option(help="Of models of the hub: where the model lies in them.")
    ] = "",
    revision: Annotated[
        str, typer.Option(help="Of models of the hub: a commit, so that it stays what it is.")
    ] = "main",
    folder: Annotated[
        Path | None,
        typer.Option("--from", help="Take the files from this folder, without a network."),
    ] = None,
    only_list: Annotated[
        bool, typer.Option("--list", help="Say what would be fetched, its size and licence.")
    ] = False,
    allow_code: AllowCode = False,
) -> None:
    """Brings weights into the cache, and says size, revision and SHA-256 of each file.

    A spec never does so by itself: `rdbench run` does with --allow-download. What is there is not
    fetched again, and what broke off is taken up.
    """
    from rdbench.codecs.published import download
    from rdbench.types import WeightsError

    wanted: list[Download] = []
    for name in names:
        if is_spec(name):
            wanted += _lacking(Path(name), allow_code=allow_code)
        else:
            wanted.append(download(name, subfolder=subfolder, revision=revision))
    failed = False
    for one in {one.name: one for one in wanted}.values():
        try:
            if only_list:
                one.tell(typer.echo)
            elif folder is not None:
                one.take(folder, typer.echo)
            else:
                one.fetch(typer.echo)
        except WeightsError as error:  # the others may be had
            typer.echo(f"rdbench: {error}", err=True)
            failed = True
    if failed:
        raise typer.Exit(SOME_FAILED)


def _lacking(path: Path, *, allow_code: bool) -> list[Download]:
    from rdbench.cli.options import find_code, read_spec
    from rdbench.engine.readiness import readiness

    if allow_code:
        find_code(path)
    lacking = [one for one in readiness(read_spec(path), allow_code=allow_code) if one.lacks]
    for one in lacking:
        if not one.downloads:
            typer.echo(f"{one.name} is left out: {one.lacks}")
    if not lacking:
        typer.echo(f"{path}: nothing to fetch")
    return [download for one in lacking for download in one.downloads]
