"""Values of sets of clips: intervals, differences, BD-rates and the gate, as for any metric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_runs import CURVES, SECONDS, clips, make_run, score

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.arrays import by_domain
from rdbench.analysis.compare import all_tables
from rdbench.analysis.curves.bd_rate import bd_table
from rdbench.analysis.gate.baseline import baseline_text, read_baseline, write_baseline
from rdbench.analysis.gate.check import Exit, GateResult, check_run
from rdbench.analysis.gate.config import GateConfig
from rdbench.analysis.paired import paired_p, paired_table
from rdbench.analysis.runs import Run, merge, read_run
from rdbench.analysis.stats.intervals import intervals, spread
from rdbench.resampling import RESAMPLES, domain_seed, resample_weights
from rdbench.store.schema import Kind, Row
from rdbench.store.writer import RunWriter
from rdbench.types import Status

KEY = "frechet"
CARD = {
    "name": "Fréchet", "unit": "", "direction": "lower", "version": 1, "scope": "set",
    "feature": [KEY, ""],
}  # fmt: skip
METRIC = (KEY, "numpy")


def distance(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A smooth function of all clips: the square of the mean feature; weights (draws, groups).

    features: sums over the clips of each group, and their counts, (2, groups).
    """
    sums, counts = features
    return np.asarray((weights @ sums / (weights @ counts)) ** 2)


def write(
    folder: Path, *, seed: int = 0, worse: float = 0.0, without: tuple[str, ...] = ()
) -> Path:
    """A run of `small_runs` with a metric of sets; `without`: clips that have no feature."""
    run = make_run(seed=seed, count=24)
    rng = np.random.default_rng(seed)
    heard = [(clip, group) for clip, group in clips(24) if clip not in without]
    with RunWriter(folder) as writer:
        writer.append(
            Row(**{**row, "kind": Kind(row["kind"]), "status": Status(row["status"])})
            for row in run.rows.to_dict("records")
        )
        for system, (_, points, half) in CURVES.items():
            for point, kbps in points.items():
                features = 6 - score(kbps, half) + worse + 0.2 * rng.standard_normal(len(heard))
                write_point(writer, (system, point), heard, features)
        writer.write_manifest({**run.manifest, "metrics": {**run.metrics, KEY: CARD}})
    return folder


def write_point(
    writer: RunWriter,
    where: tuple[str, str],
    heard: list[tuple[str, str]],
    features: np.ndarray,
) -> None:
    system, point = where

    def row(kind: Kind, backend: str, value: float, clip: str = "", group: str = "") -> Row:
        return Row(
            "/".join((*where, clip, kind, backend)), system, system, point, "codes", clip,
            "speech", group, SECONDS if clip else 0.0, kind, KEY, value, "", backend,
            Status.OK, "",
        )  # fmt: skip

    names, group = np.unique([name for _, name in heard], return_inverse=True)
    for (clip, name), feature in zip(heard, features, strict=True):
        writer.feature(row(Kind.FEATURE, "", 1.0, clip, name), np.array([feature]))
    sums = np.stack([np.bincount(group, weights=features), np.bincount(group)])
    writer.append([row(Kind.METRIC, "numpy", float(distance(sums, np.ones((1, len(names))))[0]))])
    weights = resample_weights(len(names), seed=domain_seed(0, "speech"))
    for model, drawn in (("bootstrap", weights), ("jackknife", 1 - np.eye(len(names)))):
        writer.feature(row(Kind.FEATURE, model, float(len(drawn))), distance(sums, drawn))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return read_run(write(tmp_path / "run"))


def test_a_table_of_points_has_its_interval_clips_and_groups(run: Run) -> None:
    table = run_points(run)
    row = table[(table["key"] == KEY) & (table["system"] == "new") & (table["point"] == "8")].iloc[
        0
    ]
    one = next(s for s in run.sets if s.point[:3] == ("new", "new", "8"))
    share = pd.Series(dict(clips(24))).value_counts().sort_index().to_numpy() / 24
    value = np.array([row["value"]])
    expected = intervals(value, spread(value, one.left_out[None], share))
    assert (row["low"], row["high"]) == (expected.low[0], expected.high[0])
    assert row["low"] < row["value"] < row["high"]
    assert row[["n_ok", "n_total", "n_groups"]].tolist() == [24, 24, 12]
    assert len(table) == len(run_points(replace(run, sets=())))


def test_differences_are_paired_and_have_no_clips_to_win(run: Run) -> None:
    table = paired_table(run, pairs=[("new/12", "old/12")]).set_index("key")
    row = table.loc[KEY]
    assert row["difference"] < 0
    assert row["low"] < row["difference"] < row["high"]
    assert row["p"] < 0.01
    assert np.isnan(row["win_rate"])
    assert (row["n_better"], row["n_clips"], row["n_groups"]) == (0, 24, 12)
    (scores,) = by_domain(run)
    numbers = [scores.find(name) for name in ("new/12", "old/12")]
    assert None not in numbers
    found = paired_p(scores, METRIC, *[n for n in numbers if n is not None])
    assert found == (row["difference"], row["p"])
    listed = all_tables(run, anchor="old", pairs=[("new/12", "old/12")])["clips"]
    assert KEY not in set(listed["key"])


def test_a_bd_rate_is_taken_and_its_crossing_drawn_from_what_is_kept(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "run"))
    table = bd_table(run, reference="old", metrics=[KEY])
    row = table[(table["quantity"] == "bd_rate") & (table["method"] == "pchip")].iloc[0]
    assert row["reason"] == ""
    assert row["low"] < row["value"] < row["high"] < 0
    assert row["better"] == "lower"
    (scores,) = by_domain(run)
    one = scores.metrics[METRIC].sets
    assert one is not None
    assert len(one[0].drawn) == RESAMPLES


def test_values_of_other_clips_are_not_compared(tmp_path: Path) -> None:
    whole = read_run(write(tmp_path / "whole"))
    less = read_run(write(tmp_path / "less", seed=1, without=("folder/c03.wav",)))
    both = merge([whole, less])
    row = paired_table(both, pairs=[("whole:new/8", "less:new/8")], metrics=[KEY]).iloc[0]
    assert row["reason"] == "refused: the two values are not of the same clips"
    assert np.isnan(row["difference"])
    assert row["p"] != row["p"]
    table = bd_table(both, reference="whole:old", curves=["less:new"], metrics=[KEY])
    assert table["reason"].str.contains("not all of its values are of the same clips").all()
    alike = paired_table(both, pairs=[("less:new/8", "less:old/9")], metrics=[KEY]).iloc[0]
    assert (alike["n_clips"], alike["reason"]) == (23, "")


def checked(now: Run, held: Run, tmp_path: Path, **config: Any) -> GateResult:
    write_baseline(tmp_path / "b.csv", held)
    settings = {"default": 9, "metrics": {KEY: "significant"}, "bd_rate": None} | config
    return check_run(now, read_baseline(tmp_path / "b.csv"), GateConfig.model_validate(settings))


def test_the_gate_holds_it_against_the_baseline_pairwise(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "run"))
    same = checked(run, run, tmp_path)
    assert same.exit_code is Exit.PASS
    found = same.findings.query(f"key == '{KEY}'")
    assert set(found["message"]) == {"unchanged"}
    assert set(found["n_clips"]) == {24}
    other = read_run(write(tmp_path / "other", seed=3))
    assert checked(other, run, tmp_path).exit_code is Exit.PASS
    worse = read_run(write(tmp_path / "worse", seed=3, worse=0.3))
    result = checked(worse, run, tmp_path)
    assert result.exit_code is Exit.REGRESSION
    rows = result.findings.query("verdict == 'regression'")
    assert set(rows["key"]) == {KEY}
    assert (rows["loss"] > 0).all()
    assert (rows["low"] < rows["loss"]).all()
    assert checked(run, worse, tmp_path).count("improvement") > 0
    curves = checked(worse, run, tmp_path, metrics={KEY: 99}, bd_rate="significant")
    told = curves.findings.query(f"what == 'bd_rate' and key == '{KEY}'")
    assert "regression" in set(told["verdict"])


def test_the_gate_tells_that_a_value_is_of_other_clips_or_gone(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "run"))
    less = read_run(write(tmp_path / "less", without=("folder/c03.wav",)))
    found = checked(less, run, tmp_path).findings.query(f"key == '{KEY}'")
    assert set(found["verdict"]) == {"undecided"}
    assert set(found["message"]) == {"the values are not of the same clips"}
    is_set = (run.rows["key"] == KEY) & (run.rows["system"] == "new") & (run.rows["point"] == "8")
    gone = replace(run, rows=run.rows[~is_set])
    (message,) = checked(gone, run, tmp_path).findings.query("verdict == 'vanished'")["message"]
    assert message == "in the baseline, not in the run"
    rows = run.rows.copy()
    rows.loc[is_set, ["value", "status", "reason"]] = [np.nan, "failed", "a clip failed"]
    result = checked(replace(run, rows=rows), run, tmp_path)
    assert result.exit_code is Exit.FAILED_UNITS
    told = result.findings.query("verdict == 'failed'")
    assert told["message"].tolist() == ["new failure: a clip failed"]
    assert told["clip"].tolist() == [""]


def test_a_baseline_keeps_value_clips_and_values_without_each_group(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "run", without=("folder/c03.wav",)))
    write_baseline(tmp_path / "b.csv", run)
    back = read_baseline(tmp_path / "b.csv")
    assert baseline_text(back) == baseline_text(run)
    assert len(back.sets) == len(run.sets) == 9
    ours = {one.point: one for one in run.sets}
    for one in back.sets:
        assert set(one.clips) == set(ours[one.point].clips)
        np.testing.assert_allclose(one.left_out, ours[one.point].left_out, rtol=1e-9)
    # A baseline of an rdbench without metrics of sets is read as before.
    plain = baseline_text(make_run())
    (tmp_path / "old.csv").write_text(plain.replace(',\n#  "sets": []', ""))
    assert '"sets"' not in (tmp_path / "old.csv").read_text()
    assert read_baseline(tmp_path / "old.csv").sets == ()


def test_without_its_features_a_value_has_no_interval_and_says_so(run: Run) -> None:
    bare = replace(run, sets=())
    row = paired_table(bare, pairs=[("new/12", "old/12")], metrics=[KEY]).iloc[0]
    assert np.isfinite(row["difference"])
    assert np.isnan(row["low"])
    assert "without one of the groups there is no value" in row["note"]
