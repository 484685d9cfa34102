"""`rdbench reference-stats AUDIO --metric KEY --out FILE`: references to be used again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.text import printable
from rdbench.types import SpecError


def command(
    audio: Annotated[Path, typer.Argument(help="A folder of audio, or one file.")],
    metric: Annotated[str, typer.Option(help="A metric of sets, such as frechet_logmel.")],
    out: Annotated[Path, typer.Option(help="The file to write (.safetensors).")],
    name: Annotated[
        str | None, typer.Option(help="What to call them.  [default: the folder's name]")
    ] = None,
    sample_rate: Annotated[
        int | None,
        typer.Option(min=8000, help="Hertz, of a metric that is taken at the protocol's rate."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="The embedding's model: a file, a folder, or ID@REVISION.")
    ] = None,
    layer: Annotated[
        int | None, typer.Option(help="Of a model of speech: the layer whose features count.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where the embedding runs: cpu, cuda.")] = "cpu",
) -> None:
    """Saves the statistics of a set of references, against which runs can be measured.

    A spec names the file in the metric's option `reference`; all metrics of the same embedding can
    use it. Its hash is part of the key of every value.
    """
    from rdbench.engine.reference_stats import save_reference

    if out.suffix != ".safetensors":
        raise SpecError(f"the statistics {out} must end in .safetensors")
    made, problems = save_reference(
        audio,
        out,
        key=metric,
        name=name or audio.resolve().stem,
        sample_rate=sample_rate,
        options={k: v for k, v in (("weights", weights), ("layer", layer)) if v is not None},
        device=device,
    )
    for sentence in problems:
        typer.echo(f"rdbench: {printable(sentence)}", err=True)
    typer.echo(
        f"{printable(str(out))}: {made.name}, {made.windows} windows of {made.clips} clips at "
        f"{made.sample_rate} Hz, {made.embedding} ({made.identity})"
    )
