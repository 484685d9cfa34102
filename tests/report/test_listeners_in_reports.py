"""Scores that people gave are a metric of tables and figures, with intervals over people too."""

from __future__ import annotations

from pathlib import Path

import make_run
import numpy as np
import pandas as pd
import pytest

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.listeners.ratings import RATING_COLUMNS
from rdbench.analysis.runs import Run, read_run, with_ratings
from rdbench.report.config import ReportConfig
from rdbench.report.figures.write import write_figures
from rdbench.report.tables.run_tables import run_tables
from rdbench.report.tables.write import write_tables

CLIPS = tuple(f"s{i:02d}" for i in range(6))


def rated_run(listeners: int, taste: float) -> Run:
    """Opus and Lyra with scores by people who differ by ±`taste`."""
    frame = make_run.make_frame()
    frame = frame[frame["system"].isin(["opus", "lyra"]) & (frame["domain"] != "music")]
    found = []
    for system, curve, points in (("opus", "Opus", ("6", "12", "24")), ("lyra", "Lyra v2", ("6",))):
        for step, point in enumerate(points):
            for number, clip in enumerate(CLIPS):
                for listener in range(listeners):
                    opinion = taste * (2 * listener / max(listeners - 1, 1) - 1)
                    score = 2.5 + 0.6 * step + 0.05 * number + opinion
                    found.append(
                        ("mos", system, curve, point, "codes", clip, f"p{listener}", score)
                    )
    ratings = pd.DataFrame(found, columns=RATING_COLUMNS)
    return with_ratings(Run("rated", frame, make_run.make_manifest()), ratings)


def mos_rows(run: Run) -> pd.DataFrame:
    table = run_points(run)
    return table[table["key"] == "mos"].set_index(["system", "point"])


def test_the_mean_is_over_answers_and_the_interval_over_people_and_clips() -> None:
    alike, divided = mos_rows(rated_run(5, 0.0)), mos_rows(rated_run(5, 0.8))
    expected = 2.5 + 0.6 + 0.05 * np.mean(range(6))
    assert alike.loc[("opus", "12"), "value"] == pytest.approx(expected)
    assert divided.loc[("opus", "12"), "value"] == pytest.approx(expected)
    width = {
        name: float(t.loc[("opus", "12"), "high"] - t.loc[("opus", "12"), "low"])
        for name, t in (("alike", alike), ("divided", divided))
    }
    assert width["divided"] > 3 * width["alike"] > 0
    assert divided.loc[("opus", "12"), "n_ok"] == len(CLIPS)


def test_one_listener_gives_a_mean_without_an_interval() -> None:
    row = mos_rows(rated_run(1, 0.0)).loc[("lyra", "6")]
    assert np.isfinite(row["value"])
    assert np.isnan(row["low"])
    assert np.isnan(row["high"])


def test_tables_and_figures_have_the_metric(tmp_path: Path) -> None:
    run = rated_run(4, 0.3)
    table = run_points(run)
    table = table[(table["kind"] != "metric") | (table["key"] == "mos")]
    write_tables(tmp_path, run_tables(table, run.manifest))
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "MOS (MOS) ↑" in text
    assert "MOS (mos): version 1, MOS, higher is better" in text
    config = ReportConfig(formats=("svg",), data=True)
    written, _ = write_figures(tmp_path, points=table, manifest=run.manifest, config=config)
    assert tmp_path / "figures" / "speech_mos.svg" in written
    numbers = pd.read_csv(tmp_path / "figures" / "data" / "speech_mos.csv")
    assert len(numbers) == 4
    assert set(numbers["backend"]) == {"listeners"}


def test_a_folder_with_imported_scores_is_reported_with_them(tmp_path: Path) -> None:
    from rdbench.report.write import write_all

    source = Path(__file__).parents[2] / "results" / "speech_16k"
    if not (source / "manifest.json").is_file():
        pytest.skip("the published run results/speech_16k is not here")
    import shutil

    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(source / "manifest.json", folder)
    shutil.copytree(source / "measurements", folder / "measurements")
    run = read_run(folder)
    opus = run.rows[(run.rows["system"] == "opus") & (run.rows["clip"] != "")]
    clips = opus["clip"].astype(str).unique()[:5]
    lines = ["condition,clip,listener,score"]
    for point, score in (("6", 2.5), ("16", 4.0)):
        lines += [
            f"opus/{point},{clip},{who},{score + 0.1 * n}"
            for clip in clips for n, who in enumerate("ab")
        ]  # fmt: skip
    answers = tmp_path / "answers.csv"
    answers.write_text("\n".join(lines) + "\n")
    from rdbench.analysis.listeners.ratings import import_scores

    import_scores(folder, answers, scale="mos")
    config = ReportConfig(formats=("png",), metrics=("mos",))
    text, paths = write_all(folder, out=tmp_path / "out", config=config)
    assert "MOS" in text
    assert tmp_path / "out" / "figures" / "speech_mos.png" in paths
    assert not (folder / "figures").exists()
