"""The gate fails when scores get worse, and only then; and says when it cannot tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from small_runs import changed, make_run, scores_of

import rdbench
from rdbench.analysis.baseline import baseline_text, read_baseline, write_baseline
from rdbench.analysis.gate import Exit, GateResult, check_run
from rdbench.analysis.gate_config import GateConfig, Tolerance, read_config
from rdbench.analysis.gate_tests import losses, moderated, one_sided
from rdbench.analysis.runs import NotComparableError, Run
from rdbench.types import SpecError, StoreError


def checked(run: Run, held: Run, tmp_path: Path, **config: Any) -> GateResult:
    write_baseline(tmp_path / "baseline.csv", held)
    settings = GateConfig.model_validate(config)
    return check_run(run, read_baseline(tmp_path / "baseline.csv"), settings)


def test_the_same_run_passes_without_a_single_test(tmp_path: Path) -> None:
    result = checked(make_run(), make_run(), tmp_path)
    assert result.exit_code is Exit.PASS
    assert set(result.findings["verdict"]) == {"pass"}
    assert result.findings["p"].isna().all()


def test_a_fall_is_a_regression_and_a_rise_an_improvement(tmp_path: Path) -> None:
    run = make_run()
    worse = make_run(seed=1, shift=lambda s, p: -0.5 if (s, p) == ("new", "8") else 0.0)
    result = checked(worse, run, tmp_path)
    assert result.exit_code is Exit.REGRESSION
    rows = result.findings[result.findings["verdict"] == "regression"]
    points = rows[rows["what"] == "metric"]
    # By both metrics, whichever way is better.
    assert set(points["key"]) == {"quality", "distance"}
    assert set(points["point"]) == {"8"}
    assert (points["loss"] > 0.3).all()
    better = checked(run, worse, tmp_path)
    assert better.exit_code is Exit.PASS
    assert better.count("improvement") >= 2


def test_the_same_system_with_another_seed_passes(tmp_path: Path) -> None:
    assert checked(make_run(seed=5), make_run(seed=6), tmp_path).exit_code is Exit.PASS


def test_a_curve_that_needs_more_bits_everywhere_is_found_by_bd_rate(tmp_path: Path) -> None:
    run = make_run(noise=0.02)
    worse = make_run(noise=0.02, seed=1, shift=lambda s, p: -0.06 if s == "new" else 0.0)
    tolerant = {"default": 0.1}
    result = checked(worse, run, tmp_path, **tolerant)
    rows = result.findings[result.findings["verdict"] == "regression"]
    assert set(rows["what"]) == {"bd_rate"}
    assert set(rows["curve"]) == {"new"}
    assert checked(worse, run, tmp_path, bd_rate="20 %", **tolerant).exit_code is Exit.PASS
    assert checked(worse, run, tmp_path, bd_rate=None, **tolerant).exit_code is Exit.PASS


@pytest.mark.parametrize(
    ("tolerance", "code"),
    [(0.2, Exit.REGRESSION), (0.4, Exit.PASS), ("5 %", Exit.REGRESSION), ("15 %", Exit.PASS),
     ("significant", Exit.REGRESSION), ({"significant": True, "absolute": 0.29}, Exit.PASS)],
)  # fmt: skip
def test_tolerances_are_absolute_percent_or_significant(
    tolerance: Any, code: Exit, tmp_path: Path
) -> None:
    run = make_run(noise=0.0)
    worse = changed(run, scores_of(run, "new", "12"), value=np.nan)
    rows = worse.rows
    for key, sign in (("quality", -1.0), ("distance", 1.0)):
        chosen = scores_of(run, "new", "12") & (rows["key"] == key)
        wobble = np.resize([0.05, -0.05], int(chosen.sum()))
        rows.loc[chosen, "value"] = run.rows.loc[chosen, "value"] + sign * (0.3 + wobble)
    config = {"metrics": {"quality": tolerance}, "default": 9, "bd_rate": None}
    assert checked(worse, run, tmp_path, **config).exit_code is code


def test_more_bits_are_worse(tmp_path: Path) -> None:
    run = make_run()
    rates = run.rows["kind"] == "rate"
    more = changed(run, rates, value=run.rows.loc[rates, "value"] * 1.02)
    result = checked(more, run, tmp_path, bd_rate=None)
    assert result.exit_code is Exit.REGRESSION
    assert set(result.findings.query("verdict == 'regression'")["what"]) == {"rate"}
    assert checked(more, run, tmp_path, rates="3 %", bd_rate=None).exit_code is Exit.PASS


def test_vanished_and_new_points_are_findings(tmp_path: Path) -> None:
    run = make_run()
    rows = run.rows
    less = replace(run, rows=rows[~((rows["system"] == "new") & (rows["point"] == "8"))])
    result = checked(less, run, tmp_path)
    assert result.exit_code is Exit.REGRESSION
    assert result.count("vanished") == 1
    assert checked(less, run, tmp_path, vanished="warn").exit_code is Exit.PASS
    more = checked(run, less, tmp_path)
    assert more.exit_code is Exit.PASS
    assert more.count("new") == 1
    no_metric = replace(run, rows=rows[rows["key"] != "distance"])
    assert checked(no_metric, run, tmp_path).exit_code is Exit.REGRESSION


def test_failed_units_have_their_own_exit_code(tmp_path: Path) -> None:
    run = make_run()
    one = scores_of(run, "new", "8") & (run.rows["clip"] == "folder/c01.wav")
    failed = changed(run, one, value=np.nan, status="failed", reason="it died")
    result = checked(failed, run, tmp_path)
    assert result.exit_code is Exit.FAILED_UNITS
    messages = result.findings.query("verdict == 'failed'")["message"]
    assert set(messages) == {"new failure: it died"}
    assert checked(failed, failed, tmp_path).exit_code is Exit.FAILED_UNITS
    accepted = checked(failed, failed, tmp_path, known_failures="accept")
    assert accepted.exit_code is Exit.PASS
    mended = checked(run, failed, tmp_path)
    assert mended.exit_code is Exit.PASS
    assert "mended" in " ".join(mended.findings["message"])


def test_other_protocols_clips_and_versions_are_not_comparable(tmp_path: Path) -> None:
    run = make_run()
    rows, manifest = run.rows, run.manifest
    others = [
        replace(run, manifest={**manifest, "protocol": {"fingerprint": "else"}}),
        replace(run, manifest={**manifest, "metrics": {"quality": {"version": 2}}}),
        make_run(count=11),
        replace(run, rows=rows.assign(clip=rows["clip"].str.replace("c00", "d00"))),
    ]
    for other in others:
        result = checked(other, run, tmp_path)
        assert result.exit_code is Exit.NOT_COMPARABLE
        assert set(result.findings["verdict"]) == {"not_comparable"}


def test_one_clip_decides_nothing_by_significance_and_something_by_a_number(
    tmp_path: Path,
) -> None:
    run = make_run(count=1)
    worse = make_run(count=1, shift=lambda s, p: -0.5)
    result = checked(worse, run, tmp_path)
    assert result.exit_code is Exit.PASS
    assert "one group" in " ".join(result.findings["message"])
    assert checked(worse, run, tmp_path, default=0.1).exit_code is Exit.REGRESSION


def test_undefined_scores_on_some_clips_are_left_out_on_both_sides(tmp_path: Path) -> None:
    run = make_run()
    one = scores_of(run, "new", "8") & (run.rows["clip"] == "folder/c01.wav")
    gap = changed(run, one, value=np.nan, status="undefined")
    result = checked(gap, run, tmp_path)
    assert result.exit_code is Exit.PASS
    found = result.findings.query("point == '8' and system == 'new' and what == 'metric'")
    assert set(found["n_clips"]) == {11}


def test_a_baseline_is_small_readable_and_comes_back_as_it_was(tmp_path: Path) -> None:
    run = make_run()
    text = baseline_text(run)
    assert len(text) < 100 * len(set(run.rows["clip"])) * 9 + 6000
    header, body = text.split("\nsystem,", 1)
    assert all(line.startswith("# ") for line in header.splitlines())
    assert body.splitlines()[1].startswith("new,new,12,codes,folder/c00.wav,4,48000,")
    # One changed score is one changed line.
    one = scores_of(run, "new", "8") & (run.rows["clip"] == "folder/c01.wav")
    other = baseline_text(changed(run, one, value=2.0))
    differ = [a for a, b in zip(text.splitlines(), other.splitlines(), strict=True) if a != b]
    assert len(differ) == 1
    write_baseline(tmp_path / "b.csv", run)
    back = read_baseline(tmp_path / "b.csv")
    assert baseline_text(back) == text
    keys = ["system", "point", "clip", "key"]
    both = run.rows.merge(back.rows, on=keys, suffixes=("", "_back"))
    assert len(both) == len(run.rows)
    np.testing.assert_allclose(both["value"], both["value_back"], rtol=1e-6)


def test_baselines_that_cannot_be_used_say_so(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    with pytest.raises(StoreError, match="--update"):
        read_baseline(path)
    path.write_text("system,point\n", encoding="utf-8")
    with pytest.raises(StoreError, match="not a baseline"):
        read_baseline(path)
    text = baseline_text(make_run())
    path.write_text(text.replace('"schema": 1', '"schema": 0'), encoding="utf-8")
    with pytest.raises(NotComparableError, match="schema 0"):
        read_baseline(path)
    path.write_text(text.replace(",codes,folder/c00.wav,4,", ",codes,folder/c00.wav,x,"))
    with pytest.raises(StoreError, match="damaged"):
        read_baseline(path)


@pytest.mark.parametrize(
    ("text", "place"),
    [("alpha: 2", "alpha"), ("metrics: {stoi: sometimes}", "metrics.stoi"),
     ("metrics: {stoi: {absolute: -1}}", "metrics.stoi.absolute"), ("colour: red", "colour"),
     ("a: [", "not valid YAML"), ("metrics: {stoi: {}}", "metrics.stoi")],
)  # fmt: skip
def test_a_mistake_in_gate_yaml_is_one_sentence(text: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=place) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_the_api_returns_the_findings_and_the_exit_code(tmp_path: Path) -> None:
    run = make_run()
    write_baseline(tmp_path / "b.csv", run)
    worse = make_run(seed=1, shift=lambda s, p: -0.5)
    table = rdbench.check(worse.rows, tmp_path / "b.csv", manifest=worse.manifest)
    assert isinstance(table, pd.DataFrame)
    assert table.attrs["exit_code"] == 1


def test_losses_and_p_are_those_of_a_one_sided_t_test() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, (5, 20))
    found = losses(values, np.arange(20))
    p = one_sided(found.mean, found.error, found.groups - 1.0, np.full(5, 0.05))
    expected = stats.ttest_1samp(values, 0.05, axis=1, alternative="greater").pvalue
    np.testing.assert_allclose(p, expected, rtol=1e-9)


def test_clips_of_one_group_are_one_observation() -> None:
    values = np.random.default_rng(1).normal(0, 1, (1, 10))
    doubled = losses(np.repeat(values, 3, axis=1), np.repeat(np.arange(10), 3))
    alone = losses(values, np.arange(10))
    assert doubled.error[0] == pytest.approx(alone.error[0])
    assert doubled.groups[0] == 10
    assert doubled.clips[0] == 30


def test_moderation_shrinks_errors_that_differ_by_chance_and_not_those_that_do() -> None:
    rng = np.random.default_rng(2)
    freedom = np.full(60, 9.0)
    alike = losses(rng.normal(0, 1, (60, 10)), np.arange(10)).error
    error, more = moderated(alike, freedom)
    assert error.std() < 0.5 * alike.std()
    assert (more > 2 * freedom).all()
    unlike = alike * np.exp(rng.normal(0, 2, 60))
    error, more = moderated(unlike, freedom)
    assert np.median(np.abs(error / unlike - 1)) < 0.1
    assert (more < 12).all()
    few, same = moderated(alike[:5], freedom[:5])
    np.testing.assert_array_equal(few, alike[:5])
    np.testing.assert_array_equal(same, freedom[:5])


def test_a_tolerance_says_something() -> None:
    assert Tolerance.model_validate("2 %").limit(-50.0) == 1.0
    assert Tolerance.model_validate({"absolute": 3, "percent": 2}).limit(50.0) == 3.0
    assert Tolerance.model_validate("significant").limit(50.0) == 0.0
