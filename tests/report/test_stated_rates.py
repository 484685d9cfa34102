"""A rate that is stated is called so in tables and figures, hollow, and never bold."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rdbench.report.figures.curves import curve_label, draw_curve
from rdbench.report.figures.style import CurveStyle
from rdbench.report.numbers import STATED
from rdbench.report.tables.bold import needed_references


def line(kind: str) -> pd.DataFrame:
    both = {"curve": "mine", "variant": "codes", "rate_kind": kind, "rate_point": True}
    ends = {"low": 1.0, "high": 3.0, "kbps_low": 6.0, "kbps_high": 6.0}
    return pd.DataFrame([both | ends | {"kbps": kbps, "value": kbps / 4} for kbps in (6.0, 12.0)])


def test_figures_say_it_even_where_all_rates_are_stated() -> None:
    style = CurveStyle("#0072B2", "o", "-")
    for kind, label, face in (("stated", "mine (stated)", "white"), ("payload", "mine", "#0072B2")):
        rows = line(kind)
        axes = Figure().add_subplot()
        handle = draw_curve(axes, rows, style, x="kbps", own_rate=False)
        assert handle.get_markerfacecolor() == face
        assert curve_label("mine", "codes", rows, several=False, own_rate=False) == label


def test_no_curve_at_a_stated_rate_is_bold_or_a_rival() -> None:
    shared = {"domain": "audio", "key": "snr", "backend": "", "reference": "opus", "reason": ""}
    rows = [
        shared | {"curve": "said", "value": -50.0, "rate_kind": "stated"},
        shared | {"curve": "mp3", "value": -10.0, "rate_kind": "payload"},
    ]
    table = pd.DataFrame(rows).assign(reference_rate_kind="payload")
    assert needed_references(table) == {"mp3": ["snr"]}
    assert needed_references(table.assign(reference_rate_kind="stated")) == {}


def test_a_comparison_says_what_it_is_worth(tmp_path: Path) -> None:
    from engine_runs import make_clips, run
    from typer.testing import CliRunner

    from rdbench.cli.main import app

    clips = make_clips(tmp_path / "reference", ["a", "b"])
    folders = {str(kbps): str(clips) for kbps in (6, 9, 12)}
    stated = {point: float(point) for point in folders}
    said = {
        "codec": "files",
        "name": "said",
        "options": {"folders": folders, "stated_kbps": stated},
    }
    run(clips, tmp_path / "run", said, {"codec": "opus", "points": [8, 12, 16], "name": "opus"})
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "run"), "--anchor", "opus"])
    assert done.exit_code == 0, done.output
    assert STATED[:60] in " ".join(done.output.split())
    assert "stated : payload" in done.output
