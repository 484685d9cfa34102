"""Files of a figure: PDF, SVG and PNG, the same for the same numbers, and the numbers as CSV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.report.config import ReportConfig
from rdbench.store.atomic import make_folder, write_atomic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def figure_files(
    figure: Figure, stem: Path, numbers: Sequence[pd.DataFrame], config: ReportConfig
) -> list[Path]:
    """Writes `stem`.pdf, .svg and .png as `config.formats` asks, each whole.

    numbers: what the figure shows; written to data/NAME.csv beside it with `config.data`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    written = []
    # One layout for all formats: it costs more than drawing.
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    for kind in config.formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        write_atomic(path, _drawn(figure, kind))
        written.append(path)
    if config.data:
        written.append(_write_numbers(stem, numbers))
    return written


def _write_numbers(stem: Path, numbers: Sequence[pd.DataFrame]) -> Path:
    import pandas as pd

    folder = stem.parent / "data"
    make_folder(folder)
    path = folder / f"{stem.name}.csv"
    text = pd.concat(numbers, ignore_index=True).to_csv(index=False, lineterminator="\n")
    write_atomic(path, text.encode("utf-8", errors="replace"))
    return path


def _drawn(figure: Figure, kind: str) -> bytes:
    """The figure as a file; without a date, so that the same numbers make the same file.

    `Figure.savefig` would draw everything twice, to leave room for a layout that is done by now.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    # matplotlib's writers are untyped.
    if kind == "png":
        figure.set_dpi(matplotlib.rcParams["savefig.dpi"])
        FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    elif kind == "pdf":
        FigureCanvasPdf(figure).print_pdf(buffer, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]
    else:
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()
