"""The entry point `rdbench`: one subcommand per module, errors as one sentence.

Exit codes: 0 every unit done, 1 some units failed, 2 usage (something that the user can mend, on
this machine or in what was asked), 70 a mistake in rdbench itself, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from rdbench import interrupts
from rdbench.cli import (
    check,
    compare,
    corpora,
    doctor,
    fit_entropy,
    import_files,
    import_scores,
    init,
    latent,
    leaderboard,
    listen,
    listing,
    merge,
    reference_stats,
    report,
    reproduce,
    run,
    score,
    status,
    submit,
    train,
    validate,
    watch,
    weights,
)
from rdbench.text import printable
from rdbench.types import GoingWarning, RdbenchError
from rdbench.version import __version__

NUMBA_SETTINGS = ".numba_config.yaml"
USAGE = 2
FAULT = 70
IS_FAULT = "this is a mistake in rdbench; please report it with the lines above"

app = typer.Typer(
    name="rdbench",
    help="A rate–distortion benchmark for audio codecs and audio VAEs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.command)
app.command("run")(run.command)
app.command("report")(report.command)
app.command("status")(status.command)
app.command("validate")(validate.command)
app.command("merge")(merge.command)
app.command("compare")(compare.command)
app.command("check")(check.command)
app.command("score")(score.command)
app.command("listen")(listen.command)
app.command("submit")(submit.command)
app.command("reproduce")(reproduce.command)
app.command("leaderboard")(leaderboard.command)
app.command("import-files")(import_files.command)
app.command("import-scores")(import_scores.command)
app.command("train")(train.command)
app.command("watch")(watch.command)
app.command("specs")(listing.specs)
app.command("codecs")(listing.codecs)
app.command("metrics")(listing.metrics)
app.command("reference-stats")(reference_stats.command)
app.command("fit-entropy")(fit_entropy.command)
app.command("doctor")(doctor.command)
app.add_typer(latent.app, name="latent")
app.add_typer(weights.app, name="weights")
app.add_typer(corpora.app, name="corpora")


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="With --version: of packages, and the device.")
    ] = False,
) -> None:
    """A rate–distortion benchmark for audio codecs and audio VAEs."""
    if version:
        for line in _versions() if verbose else [f"rdbench {__version__}"]:
            typer.echo(line)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.BadParameter("it goes with --version", param_hint="-v")


def _versions() -> Iterator[str]:
    """What a report of a mistake should name: versions, the platform, and devices."""
    from rdbench.engine.environment import hardware, versions

    for name, found in versions().items():
        yield f"{name} {found}"
    import torch

    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    about = hardware(devices[0] if devices else "cpu")
    yield f"{about['platform']}, {about['processor']}, {about['cores']} cores"
    names = [f"{device} {torch.cuda.get_device_name(device)}" for device in devices]
    yield f"devices: {', '.join(['cpu', *names])}"


def entry() -> None:
    """Runs the command line; what a user or this machine can mend is one sentence on stderr."""
    # No command opens a window, and matplotlib ends its import over a name that it does not know.
    os.environ.pop("MPLBACKEND", None)
    warnings.showwarning = _warned
    try:
        _stand_somewhere()
        app()
    except Exception as error:  # whatever it is, the command ends here and says why
        sentence = _sentence(error)
        if sentence is None:
            traceback.print_exception(error)
        interrupts.end_children()  # a server of processes that has not ended its own start
        typer.echo(f"rdbench: {printable(sentence or IS_FAULT)}", err=True)
        sys.exit(FAULT if sentence is None else USAGE)
    finally:
        interrupts.leave()


_showwarning = warnings.showwarning


def _warned(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """What is going to be taken away is one sentence, as an error is."""
    if issubclass(category, GoingWarning):
        typer.echo(f"rdbench: {printable(str(message))}", err=True)
    else:
        _showwarning(message, category, *where, **more)


def _stand_somewhere() -> None:
    """Raises RdbenchError in a folder that is gone, cannot be entered, or configures a library.

    Numeric libraries end the process in the first, and processes that are started in the second.
    Numba reads its settings in the third, and takes compiled code from where they say.
    """
    try:
        os.chdir(Path.cwd())
    except OSError as error:
        raise RdbenchError(
            f"the current folder cannot be used ({error.strerror}); change to another one"
        ) from error
    if os.path.lexists(NUMBA_SETTINGS):
        raise RdbenchError(
            f"the current folder has {NUMBA_SETTINGS}, by which code of anybody's can be run; "
            "change to another folder, or take it away (NUMBA_… variables say the same)"
        )


def _sentence(error: Exception) -> str | None:
    """What to mend, or None for a mistake in rdbench, which whoever mends it wants to see whole."""
    if isinstance(error, RdbenchError):
        return str(error)
    if isinstance(error, OSError):
        what = f"{error.filename} cannot be used" if error.filename else "the system refuses"
        why = error.strerror or str(error) or type(error).__name__
        return f"{what} ({why}); check names, permissions, limits and the disk"
    if isinstance(error, ImportError):
        return (
            f"a package cannot be loaded here ({error}); install rdbench again, or raise the "
            "memory limit of this process (`ulimit -v`)"
        )
    if isinstance(error, MemoryError):
        return "there is no more memory for this process; raise its limit (`ulimit -v`)"
    return None
