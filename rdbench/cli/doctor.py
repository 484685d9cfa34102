"""`rdbench doctor`: whether rdbench works here, and which systems of a spec can run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdbench.cli.options import AllowCode

NOT_READY = 1


def command(
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="SPEC",
            help="Say instead which systems and metrics of SPEC can run, and what others lack.",
        ),
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Says what is installed, and checks rates and metrics against known values.

    Exit code 0: ready; 1: something must be mended first (the last lines say what).
    """
    ready = _say_ready(weights, allow_code=allow_code) if weights else _say_findings()
    if not ready:
        raise typer.Exit(NOT_READY)


def _say_findings() -> bool:
    from rdbench.engine.doctor import examine, verdict

    findings = []
    part = ""
    for finding in examine():
        if finding.part != part:
            part = finding.part
            typer.echo(f"{part}:")
        mark = "!" if finding.fault else " "
        typer.echo(f" {mark} {finding.name}: {finding.said}")
        findings.append(finding)
    typer.echo(verdict(findings))
    return not any(finding.fault for finding in findings)


def _say_ready(path: Path, *, allow_code: bool) -> bool:
    """Whether all systems and metrics of a spec can run, each with a line."""
    from rdbench.cli.options import find_code, read_spec
    from rdbench.engine.readiness import readiness

    if allow_code:
        find_code(path)
    found = []
    for one in readiness(read_spec(path), allow_code=allow_code):
        typer.echo(f" {'!' if one.lacks else ' '} {one.name}: {one.lacks or 'ready'}")
        found.append(one)
    if not any(one.lacks for one in found):
        typer.echo("ready")
        return True
    lacking = [one for one in found if one.lacks]
    fetched = sum(bool(one.downloads) for one in lacking)
    hint = f"; `rdbench weights fetch {path}` fetches what {fetched} of them lack"
    typer.echo(f"{len(lacking)} of {len(found)} are not ready{hint if fetched else ''}")
    return False
