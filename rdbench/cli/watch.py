"""`rdbench watch FOLDER`: evaluates checkpoints as they appear."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import AllowCode, Quiet, find_code

FAILED = 1


def command(
    folder: Annotated[Path, typer.Argument(help="Where checkpoints appear, with its subfolders.")],
    spec: Annotated[
        Path | None,
        typer.Option(
            help="What to measure; its one system has {checkpoint} in an option.  [default: a "
            "checkpoint of `rdbench train` on the embedded clips]"
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the runs, the table and the figure.")
    ] = Path("results/training"),
    pattern: Annotated[
        str, typer.Option(help="Names of checkpoints; the step is the number in the name.")
    ] = "*.safetensors",
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between looks at the folder.")
    ] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="Evaluate what is there, and end.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    allow_code: AllowCode = False,
    quiet: Quiet = False,
) -> None:
    """Evaluates the checkpoints in FOLDER as they appear, each once, and draws the curve of
    training: rate and quality over steps (`training.csv`, `training_DOMAIN.pdf`).

    Ends with Ctrl-C, and goes on when it is started again. Exit code with --once: 0, every
    checkpoint was evaluated; 1, some were not.
    """
    from rdbench.engine.run import RunOptions
    from rdbench.monitor.watch import watch

    if allow_code and spec is not None:
        find_code(spec)
    failures = watch(
        folder,
        spec,
        out,
        options=RunOptions(device=device, allow_code=allow_code, costs="none"),
        pattern=pattern,
        every=None if once else every,
        say=lambda line: None if quiet else typer.echo(line),
    )
    if failures:
        raise typer.Exit(FAILED)
