"""`rdbench check RUN --baseline BASELINE`: fails when reconstruction has become worse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.text import printable
from rdbench.types import SpecError


def command(
    run: Annotated[Path, typer.Argument(help="A results folder.")],
    baseline: Annotated[
        Path | None, typer.Option(help="The baseline, a file made with --update.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Tolerances, a YAML file (docs/gate.md).")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Write tolerances to begin with, for the metrics of RUN, to this file."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Make RUN the baseline and say what changes.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write Markdown for a pull request to this file.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all findings as JSON.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:
    """Holds RUN against a baseline, on the same clips.

    Exit code 0: pass; 1: regression; 2: usage; 3: not comparable (other protocol, schema, clips);
    4: the run has failed units, or is not finished; 5: too little to judge (a loss on too few
    groups of clips to tell from chance, and no absolute tolerance that it exceeds).
    """
    if init is not None:
        _write_starter(run, init)
        config = config or init
        if baseline is None:
            return
    if baseline is None:
        raise SpecError("check needs --baseline FILE; make it once with --baseline FILE --update")
    from rdbench.analysis.gate.check import Exit, gate_files
    from rdbench.analysis.runs import NotComparableError
    from rdbench.report.text.gate import gate_text, write_outputs

    try:
        result = gate_files(run, baseline, config, update=update)
    except NotComparableError as error:
        typer.echo(f"rdbench: {printable(str(error))}", err=True)
        raise typer.Exit(int(Exit.NOT_COMPARABLE)) from None
    if result is not None:
        for said in write_outputs(result, junit=junit, markdown=markdown, json_path=json):
            typer.echo(f"rdbench: {said}", err=True)
        if not quiet:
            typer.echo(gate_text(result), nl=False)
    if update:
        if not quiet:
            typer.echo(f"{baseline} now holds the scores of {run}")
        return
    if result is not None and result.exit_code:
        raise typer.Exit(int(result.exit_code))


def _write_starter(run: Path, path: Path) -> None:
    """Writes a configuration with a least effect for each metric; never over one that is there."""
    from rdbench.analysis.gate.starter import starter
    from rdbench.analysis.runs import read_run
    from rdbench.report.text.outputs import write_text

    if path.exists():
        raise SpecError(f"{path} is there already; remove it, or name another file with --init")
    rows = read_run(run).rows
    scores = rows.loc[rows["kind"] == "metric", ["key", "unit"]].drop_duplicates("key")
    write_text(path, starter(scores.astype(str).itertuples(index=False, name=None)))
    typer.echo(f"{path} has a least effect for each metric of {run}; make them yours")
