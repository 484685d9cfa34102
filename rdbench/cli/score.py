"""`rdbench score REFERENCE RECONSTRUCTION`: scores of audio files, without a spec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rdbench.cli.options import parse_options, terminal_width
from rdbench.text import printable
from rdbench.types import SpecError

FAILED = 1


def command(
    reference: Annotated[
        Path, typer.Argument(help="A file or a folder; with nothing behind it, what is scored.")
    ],
    reconstruction: Annotated[
        Path | None, typer.Argument(help="A file, or a folder whose files are named alike.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="A key of `rdbench metrics`; may be given again."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", help="METRIC.KEY=VALUE, as utmos.weights=FILE."),
    ] = None,
    domain: Annotated[
        str | None, typer.Option(help="What all of it is: speech, music, sound.")
    ] = None,
    residual: Annotated[
        bool,
        typer.Option("--align", help="Remove the delay that is left before every metric."),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write a row for each clip and metric.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where tensor metrics run: cpu, cuda.")] = "cpu",
) -> None:
    """Scores RECONSTRUCTION against REFERENCE, or a file or folder alone.

    Reconstructions are brought to the rate of their references. What cannot be scored is listed
    with its reason. Exit code 0: what could be scored was; 1: some scores failed; 2: usage.
    """
    from rdbench.engine.score import as_table, chosen, default_keys, score_pairs
    from rdbench.engine.score_files import find_pairs
    from rdbench.metrics.registry import definition
    from rdbench.report.spreadsheet import spreadsheet
    from rdbench.report.text.scores import scores_text
    from rdbench.store.atomic import check_writable, write_atomic

    if csv is not None:
        check_writable(csv)
    paired = reconstruction is not None
    files = find_pairs(reference if paired else None, reconstruction or reference)
    keys = tuple(metric) if metric else default_keys(files[0].sample_rate, domain, paired=paired)
    found = score_pairs(
        (one.read() for one in files),
        chosen(_with_options(keys, options or ())),
        paired=paired,
        domain=domain,
        alignment="residual" if residual else "metrics",
        device=device,
        threads=1,  # as in a run, and to start more takes longer than a pair of files does
    )
    table = as_table(found)
    better = {key: definition(key).direction.value for key in keys}
    typer.echo(scores_text(table, better, width=terminal_width()))
    if csv is not None:
        write_atomic(csv, spreadsheet(table).encode())
        typer.echo(f"{printable(str(csv))} has a row for each")
    if (table["status"] == "failed").any():
        raise typer.Exit(FAILED)


def _with_options(keys: Sequence[str], given: Sequence[str]) -> list[dict[str, Any]]:
    """Metrics as a spec has them, each with the options that are given for it."""
    from rdbench.spec.load import option_value
    from rdbench.suggest import nearest

    options: dict[str, dict[str, Any]] = {key: {} for key in keys}
    for (name, key), text in parse_options(given).items():
        if name not in options:
            raise SpecError(
                f"--option {name}.{key}: no metric {name!r} is asked for; "
                f"{nearest(name, keys, many='there are')}"
            )
        options[name][key] = option_value(text)
    return [{"key": key, "options": options[key]} for key in keys]
