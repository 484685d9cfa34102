"""`rdbench train RECIPE.yaml`: train checkpoints to a target rate, and draw how it went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import Quiet

UNFINISHED = 1


def command(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe, a YAML file.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of states and weights.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder or manifest in place of the recipe's data.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this stage (repeatable).")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so long, with the state saved.")
    ] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Devices of this machine.")] = 1,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard logs.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Draw what the runs in FOLDER logged, and train nothing."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Trains every stage of RECIPE that is not finished, going on from saved states.

    Exit code 0: all stages finished; 1: stopped before (run again to go on), or a stage failed its
    gate; 2: usage.
    """
    from rdbench.cli.progress import set_up_logging

    if report is not None:
        _draw(report)
        return
    if recipe is None or out is None:
        raise typer.BadParameter("give a RECIPE and --out FOLDER, or --report FOLDER")
    from rdbench.training.run import train_file

    set_up_logging(verbose=0 if quiet else 1, quiet=quiet)
    outcomes = train_file(
        recipe,
        out=out,
        data=data,
        only=only,
        max_minutes=max_minutes,
        accelerator=accelerator,
        devices=devices,
        tensorboard=tensorboard,
    )
    for name, outcome in outcomes.items():
        typer.echo(f"{name}: {outcome.weights or f'stopped at step {outcome.step}; run again'}")
        if outcome.failure:
            typer.echo(f"{name} failed: {outcome.failure}; nothing after it was begun", err=True)
    if not all(outcome.finished for outcome in outcomes.values()):
        raise typer.Exit(UNFINISHED)


def _draw(folder: Path) -> None:
    """Draws every log in `folder`, or one folder below it, beside the log."""
    from rdbench.report.figures.training import write_training
    from rdbench.training.record.log import LOG, read_log
    from rdbench.types import RdbenchError

    logs = sorted([*folder.glob(LOG), *folder.glob(f"*/{LOG}")])
    if not logs:
        raise RdbenchError(f"{folder} holds no run of `rdbench train` (no {LOG}); name its --out")
    for log in logs:
        for written in write_training(read_log(log), log.parent, log.parent.resolve().name):
            typer.echo(str(written))
