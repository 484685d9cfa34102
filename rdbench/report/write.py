"""All that a run's folder shows: tables and figures, made from its rows and manifest alone."""

from __future__ import annotations

from pathlib import Path


def write_all(folder: Path, *, rate: str = "headline", seed: int = 0) -> tuple[str, list[Path]]:
    """Writes tables and figures into `folder`; returns the terminal's text and the files.

    rate: "headline", or one rate kind for the axis of every figure.

    Raises StoreError for a folder that is no run, or cannot be read or written.
    """
    from rdbench.analysis.aggregate import points
    from rdbench.report.figures import write_figures
    from rdbench.report.tables import summary_text, write_tables
    from rdbench.store.reader import read_manifest, read_rows

    manifest = read_manifest(folder)
    aggregates = points(read_rows(folder), seed=seed)
    written = write_tables(folder, points=aggregates, manifest=manifest)
    written += write_figures(folder, points=aggregates, manifest=manifest, rate=rate)
    return summary_text(aggregates, manifest), written
