"""Evaluations of one model by step: their table, and the figure of rate and quality over steps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.types import StoreError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TABLE = "training.csv"
FIGURE = "training"
COLUMNS = (
    "step", "system", "point", "variant", "domain", "metric", "unit", "better", "value", "low",
    "high", "rate_kind", "kbps", "kbps_low", "kbps_high", "clips", "failed",
)  # fmt: skip
"""Of the table: a row for each step, point, variant, domain and metric. low, high: 95 % intervals
over groups of clips. kbps: measured, on the clips of the score. clips: with a value; failed: rows
that failed."""
_PANEL = (2.2, 1.5)  # inches
_ACROSS = 3


def folder_of(out: Path, step: int) -> Path:
    """Where the run of a step lies."""
    return out / f"step_{step:09d}"


def read_step(folder: Path, step: int) -> pd.DataFrame:
    """What the run in `folder` measured, with `COLUMNS`; raises StoreError."""
    import pandas as pd

    from rdbench.analysis.aggregate import run_points
    from rdbench.analysis.runs import read_run
    from rdbench.report.cards import RESIDUAL_DELAY, describe

    run = read_run(folder)
    points = run_points(run)
    card = describe(points, run.manifest)
    found = card.rate_distortion(points)
    found = found[found["key"] != RESIDUAL_DELAY]
    found = found.sort_values("rate_point", ascending=False, kind="stable")
    table = pd.DataFrame(
        {
            "step": step,
            "metric": found["key"],
            "better": [card.metrics[key].direction for key in found["key"]],
            "clips": found["n_ok"],
            "failed": found["n_failed"],
            **{name: found[name] for name in COLUMNS if name in found},
        }
    )
    return table[list(COLUMNS)].reset_index(drop=True)


def read_table(out: Path) -> pd.DataFrame:
    """The table of all steps in `out`; empty where there is none. Raises StoreError."""
    import pandas as pd

    path = out / TABLE
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        table = pd.read_csv(
            path,
            keep_default_na=False,
            na_values={name: [""] for name in _NUMBERS},
            dtype=dict.fromkeys(_TEXTS, str),
        )
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); restore or delete it") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise StoreError(f"{path} lacks the columns {', '.join(missing)}; restore or delete it")
    return table


_TEXTS = ("system", "point", "variant", "domain", "metric", "unit", "better", "rate_kind")
_NUMBERS = ("value", "low", "high", "kbps", "kbps_low", "kbps_high")


def add_step(out: Path, found: pd.DataFrame) -> pd.DataFrame:
    """The table in `out` with the rows of a step in the place of those it had; written."""
    import pandas as pd

    from rdbench.report.spreadsheet import spreadsheet
    from rdbench.store.atomic import write_atomic

    before = read_table(out)
    kept = before[~before["step"].isin(found["step"])]
    table = pd.concat([kept, found], ignore_index=True) if len(kept) else found
    table = table.sort_values("step", kind="stable").reset_index(drop=True)
    write_atomic(out / TABLE, spreadsheet(table).encode(), within=out)
    return table


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the variant that stands for the model: the one with the rate, which is first."""
    first = table.groupby(["step", "system", "domain"])["variant"].transform("first")
    return table[table["variant"] == first]


def scalars(table: pd.DataFrame) -> dict[str, float]:
    """The scores of one step by name: `speech/pesq_wb`, of further variants `speech/pesq_wb/mean`,
    of further points `speech/pesq_wb@3`, and the rates as `speech/kbps`.
    """
    found: dict[str, float] = {}
    chosen = set(headline(table).index)
    points = table["point"].nunique()
    for index, row in table.iterrows():
        at = f"@{row['point']}" if points > 1 else ""
        if index in chosen and math.isfinite(row["kbps"]):
            found[f"{row['domain']}/kbps{at}"] = float(row["kbps"])
        if math.isfinite(row["value"]):
            other = "" if index in chosen else f"/{row['variant']}"
            found[f"{row['domain']}/{row['metric']}{at}{other}"] = float(row["value"])
    return found


def draw(table: pd.DataFrame) -> dict[str, Figure]:
    """A figure for each domain: the measured rate, and each score, over the steps."""
    return {
        str(domain): _draw_domain(rows, str(domain))
        for domain, rows in headline(table).groupby("domain", sort=False)
    }


def write_figures(out: Path, table: pd.DataFrame) -> list[Path]:
    """Draws the figures into `out` as PDF and PNG; returns the files."""
    from rdbench.report.config import ReportConfig
    from rdbench.report.figures.style import figure_style
    from rdbench.report.figures.write import figure_files
    from rdbench.report.names import slug

    written: list[Path] = []
    config = ReportConfig(formats=("pdf", "png"), data=False)
    with figure_style():
        for domain, figure in draw(table).items():
            stem = out / f"{FIGURE}_{slug(domain)}"
            written += figure_files(figure, stem, [], config, within=out)
    return written


def _draw_domain(rows: pd.DataFrame, domain: str) -> Figure:
    from matplotlib.figure import Figure

    from rdbench.report.names import clean

    metrics = list(dict.fromkeys(rows["metric"]))
    panels = (["kbps"] if rows["kbps"].notna().any() else []) + metrics
    across = min(_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(_PANEL[0] * across, _PANEL[1] * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True).flat
    for panel, axis in zip(panels, axes, strict=False):
        _draw_panel(axis, rows, panel)
    for axis in list(axes)[len(panels) :]:
        axis.set_axis_off()
    decoded = rows["variant"].iloc[0]
    bands = "; bands: 95 % intervals" if rows["low"].notna().any() else ""
    figure.suptitle(clean(f"{domain}, decoded: {decoded}{bands}"), fontsize=7)
    figure.supxlabel("Training step", fontsize=7)
    return figure


def _draw_panel(axis: Axes, rows: pd.DataFrame, panel: str) -> None:
    from rdbench.report.figures.style import curve_styles

    rate = panel == "kbps"
    shown = rows if rate else rows[rows["metric"] == panel]
    if rate:
        shown = shown.drop_duplicates(["step", "point"])
    names = ("kbps", "kbps_low", "kbps_high") if rate else ("value", "low", "high")
    points = list(dict.fromkeys(rows["point"]))
    styles = curve_styles(list(map(str, points)))
    for point in points:
        part = shown[shown["point"] == point]
        style = styles[str(point)]
        middle, low, high = (part[name].to_numpy(float) for name in names)
        steps = part["step"].to_numpy(float)
        axis.fill_between(steps, low, high, color=style.colour, alpha=0.18, linewidth=0)
        axis.plot(
            steps, middle, color=style.colour, marker=style.marker, markersize=2.4,
            label=str(point),
        )  # fmt: skip
    axis.set_title(_rate_title(shown) if rate else _title(shown, panel))
    if len(points) > 1 and rate:
        axis.legend(title="point")


def _title(rows: pd.DataFrame, metric: str) -> str:
    from rdbench.metrics.registry import definition
    from rdbench.report.cards import MetricCard

    card = MetricCard(metric, definition(metric).name, rows["unit"].iloc[0], rows["better"].iloc[0])
    return f"{card.title} {card.arrow}".rstrip()


def _rate_title(rows: pd.DataFrame) -> str:
    kind = rows["rate_kind"].iloc[0]
    return f"Rate ({'KL' if kind == 'kl' else kind}, kbps)"
