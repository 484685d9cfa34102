"""`rdbench weights fetch NAME`: published weights, downloaded because somebody asked for them."""

from __future__ import annotations

from typing import Annotated

import typer

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
            help="Codecs (encodec_24khz), or models of the Hugging Face hub (OWNER/NAME)."
        ),
    ],
    subfolder: Annotated[
        str, typer.Option(help="Of models of the hub: where the model lies in them.")
    ] = "",
    revision: Annotated[
        str, typer.Option(help="Of models of the hub: a commit, so that it stays what it is.")
    ] = "main",
) -> None:
    """Downloads weights into the cache, and says size, revision and SHA-256 of each file.

    A spec never does so by itself: `rdbench run` does with --allow-download.
    """
    from rdbench.codecs.published import download

    for name in names:
        download(name, subfolder=subfolder, revision=revision).fetch(typer.echo)
