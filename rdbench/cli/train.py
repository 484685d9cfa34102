"""`rdbench train RECIPE.yaml`: train checkpoints to a target rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import Quiet

UNFINISHED = 1


def command(
    recipe: Annotated[Path, typer.Argument(help="A recipe, a YAML file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of states and weights.")],
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
    quiet: Quiet = False,
) -> None:
    """Trains every stage of RECIPE that is not finished, going on from saved states.

    Exit code 0: all stages finished; 1: stopped before (run again to go on); 2: usage.
    """
    from rdbench.cli.progress import set_up_logging
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
    if any(outcome.weights is None for outcome in outcomes.values()):
        raise typer.Exit(UNFINISHED)
