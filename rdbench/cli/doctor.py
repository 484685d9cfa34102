"""`rdbench doctor`: whether rdbench works here."""

from __future__ import annotations

import typer

NOT_READY = 1


def command() -> None:
    """Says what is installed, and checks rates and metrics against known values.

    Exit code 0: ready; 1: something must be mended first (the last lines say what).
    """
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
    if any(finding.fault for finding in findings):
        raise typer.Exit(NOT_READY)
