"""`rdbench report RUN`: tables and figures from a results folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdbench.cli.options import RunFolder, terminal_width

if TYPE_CHECKING:
    from rdbench.report.config import ReportConfig

OVERVIEWS = 4
"""Pictures that are named in the end."""


class RateAxis(StrEnum):
    """What `--rate` takes: the headline kind of each system, or one kind for all."""

    HEADLINE = "headline"
    NOMINAL = "nominal"
    ENTROPY = "entropy"
    KL = "kl"
    CODED = "coded"
    PAYLOAD = "payload"
    CONTAINER = "container"
    STATED = "stated"


class Style(StrEnum):
    """What `--style` takes."""

    PAPER = "paper"
    SCREEN = "screen"


def command(
    run: RunFolder,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="What is shown and how, a YAML file."),
    ] = None,
    style: Annotated[Style | None, typer.Option(help="paper (default) or screen.")] = None,
    rate: Annotated[
        RateAxis | None, typer.Option(help="Which bits the figures' rate axis shows.")
    ] = None,
    anchor: Annotated[
        str | None, typer.Option(help="The curve that BD-rates are taken against.")
    ] = None,
    arrows: Annotated[
        bool, typer.Option("--arrows", help="Arrows from kl to coded, from nominal to entropy.")
    ] = False,
    data: Annotated[
        bool, typer.Option("--data", help="Also write the numbers behind each figure as CSV.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write into.  [default: RUN]")
    ] = None,
    html: Annotated[
        bool,
        typer.Option("--html", help="Write the HTML report alone, into RUN/report or --out."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the table.")] = False,
) -> None:
    """Writes tables and figures of RUN again, without measuring anything.

    Tables as Markdown, CSV, LaTeX and HTML; figures as PDF, SVG and PNG in one and two column
    widths.
    """
    from rdbench.report.config import read_report_config

    asked: dict[str, Any] = {
        "style": style.value if style else None,
        "rate": rate.value if rate else None,
        "anchor": anchor,
        "arrows": arrows or None,
        "data": data or None,
    }
    chosen = read_report_config(config).model_copy(
        update={key: value for key, value in asked.items() if value is not None}
    )
    if html:
        write_page(run, out=out, config=chosen, quiet=quiet)
    else:
        write_report(run, out=out, config=chosen, quiet=quiet)


def write_page(run: Path, *, out: Path | None, config: ReportConfig, quiet: bool) -> None:
    """Writes the HTML report and prints the path of its page unless quiet."""
    from rdbench.cli.progress import Patience
    from rdbench.report.html.write import write_html

    with Patience(quiet=quiet) as patience:
        patience.at("writing the page")
        page, *_ = write_html(run, out, config=config)
    if not quiet:
        typer.echo(page)


def write_report(
    folder: Path, *, out: Path | None = None, config: ReportConfig | None = None, quiet: bool
) -> None:
    """Writes tables and figures into `out` (or `folder`); prints what they are unless quiet."""
    from rdbench.cli.progress import Patience
    from rdbench.report.text.columns import folded
    from rdbench.report.write import write_all

    with Patience(quiet=quiet) as patience:
        width = terminal_width()
        text, paths = write_all(folder, out=out, config=config, at=patience.at, width=width or 100)
    if not quiet:
        typer.echo(folded(text, width=width) if width else text)
        for line in shown(paths):
            typer.echo(line)
        typer.echo(f"as a page with a figure to click on: rdbench report {folder} --html")


def shown(paths: Sequence[Path]) -> list[str]:
    """What to open next, a line each; the other files are counted."""
    main = [path for path in paths if path.stem == "table"]
    main += [path for path in paths if path.stem.startswith(("overview", "domains"))
             and path.suffix == ".png"][:OVERVIEWS]  # fmt: skip
    lines = ["open this next:", *(f"  {path}" for path in main)] if main else []
    if len(paths) > len(main):
        folder = Path(os.path.commonpath([str(path.parent) for path in paths]))
        lines.append(f"{len(paths) - len(main)} more files in {folder}/ and its folders")
    return lines
