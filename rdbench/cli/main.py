"""The entry point `rdbench`: one subcommand per module, errors as one sentence.

Exit codes: 0 every unit done, 1 some units failed, 2 usage (something that the user can mend before
any work), 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rdbench.cli import (
    check,
    compare,
    doctor,
    fit_entropy,
    import_scores,
    listen,
    listing,
    report,
    run,
    status,
    train,
    validate,
    weights,
)
from rdbench.text import printable
from rdbench.types import RdbenchError
from rdbench.version import __version__

USAGE = 2

app = typer.Typer(
    name="rdbench",
    help="A rate–distortion benchmark for audio codecs and audio VAEs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.command)
app.command("report")(report.command)
app.command("status")(status.command)
app.command("validate")(validate.command)
app.command("compare")(compare.command)
app.command("check")(check.command)
app.command("listen")(listen.command)
app.command("import-scores")(import_scores.command)
app.command("train")(train.command)
app.command("codecs")(listing.codecs)
app.command("metrics")(listing.metrics)
app.command("fit-entropy")(fit_entropy.command)
app.command("doctor")(doctor.command)
app.add_typer(weights.app, name="weights")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rdbench {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A rate–distortion benchmark for audio codecs and audio VAEs."""


def entry() -> None:
    """Runs the command line; a user's mistake is one sentence on stderr and exit code 2."""
    try:
        app()
    except RdbenchError as error:
        typer.echo(f"rdbench: {printable(str(error))}", err=True)
        sys.exit(USAGE)
