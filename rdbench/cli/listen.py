"""`rdbench listen RUN`: a listening test for webMUSHRA from the audio that a run has kept."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import parse_pairs


class Test(StrEnum):
    """What `--test` takes."""

    MUSHRA = "mushra"
    AB = "ab"
    ABX = "abx"


def command(
    run: Annotated[Path, typer.Argument(help="A results folder made with --keep-audio.")],
    test: Annotated[
        Test,
        typer.Option(
            help="mushra: points on one scale; ab: points against the reference; abx: pairs."
        ),
    ] = Test.MUSHRA,
    point: Annotated[
        list[str] | None,
        typer.Option(help="SYSTEM/POINT, more than once as you like.  [default: all]"),
    ] = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="SYSTEM/POINT=SYSTEM/POINT, for abx.")
    ] = None,
    clips: Annotated[int, typer.Option(help="How many clips, drawn by chance.")] = 10,
    domain: Annotated[str, typer.Option(help="Clips of this domain alone.")] = "",
    seconds: Annotated[float, typer.Option(help="Longest excerpt.")] = 10.0,
    loudness: Annotated[float, typer.Option(help="Of all files, in LUFS.")] = -23.0,
    seed: Annotated[int, typer.Option(help="Of clips, orders and names.")] = 0,
    title: Annotated[str, typer.Option(help="What listeners see.")] = "Listening test",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A new folder.  [default: RUN/listening/TEST]"),
    ] = None,
) -> None:
    """Writes level-matched, anonymous WAV files, a webMUSHRA configuration, and the key to both.

    Copy what is in webmushra/ over a webMUSHRA, keep key.csv to yourself, and bring the results
    back with `rdbench import-scores RESULTS --run RUN --key KEY`.
    """
    from rdbench.report.listening.write import ListeningTest, write_test

    asked = ListeningTest(
        kind=test.value,
        points=tuple(point or ()),
        pairs=tuple(parse_pairs(pair or [])),
        clips=clips,
        domain=domain,
        seconds=seconds,
        loudness=loudness,
        seed=seed,
        title=title,
    )
    config, key, *files = write_test(run, out or run / "listening" / test.value, asked)
    typer.echo(f"{config}: for webMUSHRA, with {len(files)} WAV files beside it")
    typer.echo(f"{key}: which file is what; keep it from listeners")
