"""`rdbench metrics --against LISTENING`: how well the metrics of a run agree with its listeners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rdbench.cli.options import terminal_width
from rdbench.types import SpecError

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run

FORMATS = (".pdf", ".svg", ".png")


def compare_with_listeners(
    folder: Path,
    *,
    metrics: Sequence[str],
    csv: Path | None,
    markdown: Path | None,
    figure: Path | None,
) -> None:
    """Prints the tables of the run in `folder`, and writes them and the scatter where asked."""
    from rdbench.analysis.listeners.agreement import agreement
    from rdbench.analysis.runs import read_run
    from rdbench.report.cards import describe
    from rdbench.report.spreadsheet import spreadsheet
    from rdbench.report.tables.agreement import agreement_page, agreement_tables, agreement_text
    from rdbench.report.text.outputs import write_text

    if figure is not None and figure.suffix not in FORMATS:
        raise SpecError(f"the figure {figure} must end in one of {', '.join(FORMATS)}")
    run = read_run(folder)
    table = agreement(run, metrics=metrics)
    tables = agreement_tables(table, describe(run.rows, run.manifest))
    said = []
    if csv is not None:
        said.append(write_text(csv, spreadsheet(table)))
    if markdown is not None:
        said.append(write_text(markdown, agreement_page(tables)))
    if figure is not None:
        _draw(run, table, metrics, figure)
    for sentence in filter(None, said):
        typer.echo(f"rdbench: {sentence}", err=True)
    typer.echo(agreement_text(tables, width=terminal_width()))


def _draw(run: Run, table: pd.DataFrame, metrics: Sequence[str], path: Path) -> None:
    """A figure for each domain and scale; where there are several, their names are in its own."""
    from rdbench.analysis.listeners.agreement import paired_scores
    from rdbench.report.cards import describe
    from rdbench.report.config import ReportConfig
    from rdbench.report.figures.agreement import draw_agreement
    from rdbench.report.figures.style import figure_style
    from rdbench.report.figures.write import figure_files
    from rdbench.report.names import slug
    from rdbench.store.atomic import make_folder

    pairs = paired_scores(run, metrics=metrics)
    card = describe(run.rows, run.manifest)
    kinds = list(dict.fromkeys(zip(table["domain"], table["scale"], strict=True)))
    config = ReportConfig.model_validate({"formats": [path.suffix[1:]], "data": False})
    make_folder(path.parent)
    with figure_style(config.style, config.font):
        for domain, scale in kinds:
            parts = [
                one[(one["domain"] == domain) & (one["scale"] == scale)] for one in (pairs, table)
            ]
            more = f"_{slug(domain)}_{scale}" if len(kinds) > 1 else ""
            stem = path.with_name(f"{path.stem}{more}")
            figure_files(draw_agreement(parts[0], parts[1], card), stem, [], config)
