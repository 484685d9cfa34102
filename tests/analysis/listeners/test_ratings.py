"""People's answers become a metric whose intervals know that people differ, too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_runs import CURVES, SECONDS, clips, make_run

from rdbench.analysis.arrays import by_domain
from rdbench.analysis.curves.bd_rate import bd_table
from rdbench.analysis.curves.readings import reading_table
from rdbench.analysis.listeners.ratings import import_scores
from rdbench.analysis.paired import paired_table
from rdbench.analysis.runs import Run, read_run, with_ratings
from rdbench.analysis.stats.leave_one_out import Sampling
from rdbench.store.schema import Kind, Row
from rdbench.store.writer import RunWriter
from rdbench.types import RdbenchError, Status

FEW = Sampling(resamples=300)


def store(run: Run, folder: Path) -> Path:
    with RunWriter(folder) as writer:
        writer.append(
            Row(**{**row, "kind": Kind(row["kind"]), "status": Status(row["status"])})
            for row in run.rows.to_dict("records")
        )
        writer.write_manifest(run.manifest)
    return folder


def listening(path: Path, *, strictness: float = 0.0, listeners: int = 8) -> Path:
    """Answers that follow the rate; listeners differ by `strictness`."""
    rng = np.random.default_rng(0)
    own = strictness * rng.standard_normal(listeners)
    lines = [
        (f"{system}/{point}", clip, f"p{who}",
         round(float(np.clip(50 + 20 * np.log2(kbps / half) + own[who] + rng.normal(0, 3), 0, 100)),
               2))
        for system, (_, points, half) in CURVES.items()
        for point, kbps in points.items()
        for clip, _ in clips()
        for who in range(listeners)
    ]  # fmt: skip
    table = pd.DataFrame(lines, columns=["condition", "clip", "listener", "score"])
    table.to_csv(path, index=False)
    return path


def test_bd_rate_is_taken_on_answers(tmp_path: Path) -> None:
    folder = store(make_run(), tmp_path / "run")
    import_scores(folder, listening(tmp_path / "l.csv"), scale="mushra")
    run = read_run(folder)
    row = bd_table(run, reference="old", metrics=["mushra"], sampling=FEW).iloc[0]
    # The same answers at two thirds of the rate.
    assert row["value"] == pytest.approx(-33.3, abs=2.0)
    assert row["low"] < -33.3 < row["high"]
    assert row["better"] == "higher"


def test_listeners_who_differ_widen_the_interval_of_a_mean_and_cancel_in_pairs(
    tmp_path: Path,
) -> None:
    widths = []
    for number, strictness in enumerate((0.0, 12.0)):
        folder = store(make_run(), tmp_path / f"run{number}")
        answers = listening(tmp_path / f"l{number}.csv", strictness=strictness)
        import_scores(folder, answers, scale="mushra")
        run = read_run(folder)
        read = reading_table(run, at_kbps=[12.0], metrics=["mushra"], curves=["new"])
        pair = paired_table(run, pairs=[("new/12", "old/12")], metrics=["mushra"])
        widths.append([float((t["high"] - t["low"]).iloc[0]) for t in (read, pair)])
    assert widths[1][0] > 2 * widths[0][0]
    assert widths[1][1] < 1.5 * widths[0][1]


def test_conditions_may_be_named_otherwise_or_left_out(tmp_path: Path) -> None:
    folder = store(make_run(), tmp_path / "run")
    answers = tmp_path / "l.csv"
    answers.write_text(
        "condition,clip,listener,score\nA,c01,x,4\nreference,c01,x,5\nold/6,folder/c02.wav,x,3\n"
    )
    table = import_scores(folder, answers, scale="mos", conditions={"A": "new/8", "reference": ""})
    assert list(zip(table["system"], table["point"], table["clip"], strict=True)) == [
        ("new", "8", "folder/c01.wav"), ("old", "6", "folder/c02.wav"),
    ]  # fmt: skip
    assert json.loads((folder / "manifest.json").read_text())["metrics"].keys() == {
        "quality", "distance",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("condition,clip,score\n", "lacks the columns listener"),
        ("condition,clip,listener,score\nnew/9,c01,x,4\n", "line 2 of l.csv names the condition"),
        ("condition,clip,listener,score\nnew/8,c99,x,4\n", "names the clip 'c99'"),
        ("condition,clip,listener,score\nnew/8,c01,x,7\n", "goes from 1 to 5"),
        ("condition,clip,listener,score\nnew/8,c01,x,nan\n", "'nan'"),
        ("condition,clip,listener,score\nnew/8,c01,x,4\nnew/8,c01,x,3\n", "repeats line 2"),
        ("condition,clip,listener,score\nnew/8,c01,,3\n", "has no listener"),
        ("condition,clip,listener,score\n", "holds no scores"),
    ],
)
def test_a_mistake_in_the_answers_names_its_line(text: str, sentence: str, tmp_path: Path) -> None:
    folder = store(make_run(), tmp_path / "run")
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(RdbenchError, match=sentence):
        import_scores(folder, tmp_path / "l.csv", scale="mos")


def test_a_row_that_failed_early_does_not_make_its_clip_last_no_time(tmp_path: Path) -> None:
    """Such rows say 0 seconds, wherever they stand."""
    run = make_run()
    early = {"kind": "metric", "value": np.nan, "status": "failed", "reason": "x", "seconds": 0.0}
    where = run.rows.drop_duplicates(["system", "point", "clip"])
    first, last = (where.assign(**early, key=key, unit_key=key + where["unit_key"]) for key in "ab")
    rows = pd.concat([first, run.rows, last], ignore_index=True)
    folder = store(replace(run, rows=rows), tmp_path / "run")
    ratings = import_scores(folder, listening(tmp_path / "l.csv"), scale="mushra")
    given = with_ratings(replace(run, rows=rows), ratings).rows
    assert set(given.loc[given["key"] == "mushra", "seconds"]) == {SECONDS}
    (scores,) = by_domain(replace(run, rows=rows))
    assert (scores.seconds == SECONDS).all()
