"""All that a run's folder shows: tables and figures, made from its rows and manifest alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rdbench.report.config import ReportConfig


def write_all(
    folder: Path,
    *,
    out: Path | None = None,
    config: ReportConfig | None = None,
    at: Callable[[str], None] = lambda _: None,
    width: int = 100,
) -> tuple[str, list[Path]]:
    """Writes tables and figures of a run; returns the terminal's text and the files.

    folder: the run. out: where to write, by default into `folder`. config: what is shown and how
    (`rdbench.report.config`). Scores that listeners gave are a metric like the others. at: told
    what is begun, since with thousands of points each takes its time. width: columns of the text.

    Raises StoreError for a folder that is no run, or cannot be read or written; RdbenchError for a
    configuration that names what the run does not have.

    What is written into `folder` is noted there in the end (`rdbench.report.state`).
    """
    from rdbench.analysis.aggregate import run_points
    from rdbench.analysis.runs import read_run
    from rdbench.report import state
    from rdbench.report.config import configured
    from rdbench.report.figures.write import write_figures
    from rdbench.report.tables.run_tables import run_tables
    from rdbench.report.tables.write import summary_text, write_tables
    from rdbench.report.text.status import caveats, read_notes
    from rdbench.store.traces import read_traces

    config = config or ReportConfig()
    inside = out is None or Path(out).absolute() == Path(folder).absolute()
    at("reading the run")
    made_from = state.digest(folder)
    whole = read_run(folder)
    run = configured(whole, config)
    points = run_points(run)
    at("comparing curves for the tables")
    tables = run_tables(
        points,
        run.manifest,
        run=run,
        reference=config.anchor,
        pairs=config.pairs,
        traces=read_traces(folder),
        notes=read_notes(folder),
        caveats=caveats(whole),
        seed=config.seed,
    )
    if inside:
        state.begin(folder)
    written = write_tables(out or folder, tables)
    made, notes = write_figures(
        out or folder, points=points, manifest=run.manifest, config=config, at=at
    )
    if inside:
        state.end(folder, made_from, [*written, *made])
    text = summary_text(tables, width=width)
    return "\n\n".join([text.rstrip(), *notes]) + "\n", [*written, *made]
