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
from rdbench.analysis.aggregate import points
from rdbench.analysis.gate.baseline import baseline_text, read_baseline, write_baseline
from rdbench.analysis.gate.check import Exit, GateResult, check_run
from rdbench.analysis.gate.config import GateConfig, Tolerance, read_config
from rdbench.analysis.gate.losses import losses, moderated, rate_losses
from rdbench.analysis.paired import holm
from rdbench.analysis.runs import NotComparableError, Run
from rdbench.analysis.stats.intervals import Spread, p_above, spread
from rdbench.report.text.gate import gate_junit, gate_text
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
    scores = rows[rows["what"] == "metric"]
    # By both metrics, whichever way is better.
    assert set(scores["key"]) == {"quality", "distance"}
    assert set(scores["point"]) == {"8"}
    assert (scores["loss"] > 0.3).all()
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


def test_the_same_loss_on_every_clip_is_too_little_to_judge(tmp_path: Path) -> None:
    """Scores of few values are alike by chance: 0.1 less on nine clips of ten, 0.9 more on one."""
    run = make_run()
    quality = scores_of(run, "new") & (run.rows["key"] == "quality")
    before, after = (changed(run, quality, value=value) for value in (4.0, 3.5))
    result = checked(after, before, tmp_path)
    assert result.exit_code is Exit.UNDECIDED
    told = result.findings.query("verdict == 'undecided' and key == 'quality' and what != 'curve'")
    assert told["message"].str.contains("the same loss in every group of clips").any()
    metrics = {"quality": {"significant": True, "absolute": 0.4}}
    assert checked(after, before, tmp_path, metrics=metrics).exit_code is Exit.REGRESSION


def test_too_few_groups_are_no_pass_but_an_answer_of_their_own(tmp_path: Path) -> None:
    run, worse = make_run(count=1), make_run(count=1, shift=lambda s, p: -0.5)
    result = checked(worse, run, tmp_path)
    assert result.exit_code is Exit.UNDECIDED == 5
    told = result.findings.query("verdict == 'undecided'")
    assert told["message"].str.startswith("too little to judge: 1 group of clips").all()
    assert "too little to judge" in gate_text(result)
    assert "<error" in gate_junit(result)
    # An unchanged run is as good as it was, and so is one that is better.
    assert checked(run, run, tmp_path).exit_code is Exit.PASS
    assert checked(run, worse, tmp_path).exit_code is Exit.PASS
    assert checked(worse, run, tmp_path, undecided="accept").exit_code is Exit.PASS


@pytest.mark.parametrize("stated", [0.1, {"significant": True, "absolute": 0.1}, "2 %"])
def test_what_falls_beyond_a_stated_tolerance_fails_on_any_number_of_groups(
    stated: Any, tmp_path: Path
) -> None:
    run, worse = make_run(count=1), make_run(count=1, shift=lambda s, p: -0.5)
    result = checked(worse, run, tmp_path, default=stated)
    assert result.exit_code is Exit.REGRESSION


def silent(run: Run, clips: list[str], key: str = "quality") -> Run:
    """The run without a score on some clips of the point 8 of `new`."""
    where = (run.rows["system"] == "new") & (run.rows["point"] == "8") & (run.rows["key"] == key)
    where &= run.rows["clip"].isin(clips)
    return changed(run, where, value=np.nan, status="undefined", reason="it is silent")


@pytest.mark.parametrize("count", [1, 6, 12])
@pytest.mark.parametrize("key", ["quality", "payload"])
def test_what_becomes_undefined_is_a_regression_with_clip_and_reason(
    key: str, count: int, tmp_path: Path
) -> None:
    run = make_run()
    lost = sorted(set(run.rows["clip"]))[:count]
    result = checked(silent(run, lost, key), run, tmp_path)
    assert result.exit_code is Exit.REGRESSION
    found = result.findings.query("verdict == 'regression'")
    assert sorted(found["clip"]) == lost
    assert set(found["key"]) == {key}
    assert set(found["point"]) == {"8"}
    assert found["message"].str.contains("it is silent").all()
    assert lost[0] in gate_text(result)
    assert gate_junit(result).count("<failure") == count


def test_what_is_undefined_in_both_or_was_before_is_no_regression(tmp_path: Path) -> None:
    run = make_run()
    gap = silent(run, ["folder/c01.wav"])
    assert checked(run, gap, tmp_path).exit_code is Exit.PASS
    result = checked(gap, gap, tmp_path)
    assert result.exit_code is Exit.PASS
    found = result.findings.query("point == '8' and system == 'new' and key == 'quality'")
    assert set(found["n_clips"]) == {11}


def test_only_what_is_checked_must_stay_defined(tmp_path: Path) -> None:
    run = make_run()
    gap = silent(run, ["folder/c01.wav"])
    assert checked(gap, run, tmp_path, ignore=["quality"]).exit_code is Exit.PASS
    rates = silent(run, ["folder/c01.wav"], "payload")
    assert checked(rates, run, tmp_path, rates=None).exit_code is Exit.PASS


def planned(run: Run) -> Run:
    """The run with the plan that its rows fulfil, before it was finished."""
    place = ["system", "point", "variant", "domain"]
    rows = run.rows.assign(what=run.rows["kind"] + "/" + run.rows["key"])
    plan = [
        dict(zip(place, where, strict=True))
        | {"each": [[*what.split("/"), ""] for what in part["what"].unique()], "whole": []}
        for where, part in rows.groupby(place)
    ]
    return replace(run, manifest={**run.manifest, "plan": plan, "finished": None})


@pytest.mark.parametrize("vanished", ["fail", "warn"])
def test_an_interrupted_run_does_not_pass(vanished: str, tmp_path: Path) -> None:
    whole = planned(make_run())
    names = sorted(set(whole.rows["clip"]))
    some = replace(whole, rows=whole.rows[whole.rows["clip"].isin(names[:3])])
    result = checked(some, whole, tmp_path, vanished=vanished)
    assert result.exit_code is Exit.REGRESSION
    found = result.findings.query("what == 'clips'")
    assert len(found) == 9 * 3
    assert set(found["verdict"]) == {"vanished"}
    assert set(found["key"]) == {"quality", "distance", "payload"}
    assert set(found["message"]) == {
        "no row on 9 of 12 clips: folder/c03.wav, folder/c04.wav, folder/c05.wav and 6 more"
    }
    (told,) = result.findings.query("what == 'run'")["message"]
    assert "243 scores and rates to check are missing" in told
    # Points that it did not come to are missing, and not taken out by anyone.
    less = replace(whole, rows=whole.rows[whole.rows["point"] != "8"])
    code = Exit.REGRESSION if vanished == "fail" else Exit.FAILED_UNITS
    assert checked(less, whole, tmp_path, vanished=vanished).exit_code is code


def test_one_row_that_is_gone_is_found_whatever_it_said(tmp_path: Path) -> None:
    run = make_run()
    for held in (run, silent(run, ["folder/c01.wav"])):
        one = (held.rows["clip"] == "folder/c01.wav") & (held.rows["key"] == "quality")
        one &= held.rows["point"] == "8"
        result = checked(replace(held, rows=held.rows[~one]), held, tmp_path)
        assert result.exit_code is Exit.REGRESSION
        (message,) = result.findings.query("verdict == 'vanished'")["message"]
        assert message == "no row on 1 of 12 clips: folder/c01.wav"
    gone = replace(run, rows=run.rows[~one])
    assert checked(gone, run, tmp_path, ignore=["quality"]).exit_code is Exit.PASS
    failed = changed(run, one, value=np.nan, status="failed", reason="it died")
    assert "mended" not in " ".join(checked(gone, failed, tmp_path).findings["message"])


def test_a_domain_that_a_run_did_not_come_to_has_vanished(tmp_path: Path) -> None:
    run = make_run()
    music = run.rows["clip"].isin(sorted(set(run.rows["clip"]))[6:])
    listed = [
        {**clip, "domain": "speech" if i < 6 else "music"}
        for i, clip in enumerate(run.manifest["corpus"]["clips"])
    ]
    both = changed(run, music, domain="music")
    both = replace(both, manifest={**both.manifest, "corpus": {"clips": listed}})
    result = checked(replace(both, rows=both.rows[~music]), both, tmp_path)
    assert result.exit_code is Exit.REGRESSION
    found = result.findings.query("verdict == 'vanished'")
    assert set(found["domain"]) == {"music"}
    assert len(found) == 9


def test_a_rate_is_total_bits_over_total_seconds(tmp_path: Path) -> None:
    run = make_run()
    rates = run.rows["kind"] == "rate"
    long = run.rows["clip"] == "folder/c00.wav"
    run = changed(run, long, seconds=40.0)
    rows = run.rows
    kbps = np.where(long, 10.0, 20.0)
    run = changed(run, rates, value=(1000 * kbps * rows["seconds"])[rates])
    more = changed(run, rates & long, value=1000 * 10.2 * 40.0)
    config = {"default": 9, "bd_rate": None}
    result = checked(more, run, tmp_path, **config)
    before, after = ((11 * 4 * 20 + 40 * of) / (11 * 4 + 40) for of in (10.0, 10.2))
    found = result.findings.query("what == 'rate'")
    np.testing.assert_allclose(found["baseline"], before)
    np.testing.assert_allclose(found["value"], after)
    np.testing.assert_allclose(found["loss"], after - before)
    table = points(more.rows).query("kind == 'rate'")
    np.testing.assert_allclose(found["value"], table["value"])
    # By 0.63 % of the rate, though the mean of the clips' rates rises by 0.09 %.
    assert checked(more, run, tmp_path, rates="0.7 %", **config).exit_code is Exit.PASS
    assert checked(more, run, tmp_path, rates="0.6 %", **config).exit_code is Exit.REGRESSION


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
    half = np.random.default_rng(0).normal(0.1, 1, (5, 10))
    values = np.concatenate([half, 0.4 - half], axis=1)  # of no skewness
    found = losses(values, np.arange(20))
    p = p_above(found.mean - 0.05, found.spread)
    t = stats.ttest_1samp(values, 0.05, axis=1).statistic
    expected = stats.t.sf(t, 19 * 19 / 20)  # less what the skewness takes
    np.testing.assert_allclose(p, expected, rtol=1e-9)


def test_the_error_of_a_rate_is_the_jackknife_of_the_ratio() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(8), 2)
    seconds = rng.uniform(1, 20, (2, 1, 16))
    bits = rng.uniform(8, 12, (2, 1, 16)) * seconds
    bits[0, 0, 5] = np.nan
    found = rate_losses((bits[0], seconds[0]), (bits[1], seconds[1]), groups)

    def rise(chosen: Any) -> float:
        chosen = chosen & np.isfinite(bits[0, 0])
        old, new = (bits[i, 0, chosen].sum() / seconds[i, 0, chosen].sum() for i in (0, 1))
        return float(new - old)

    assert found.mean[0] == pytest.approx(rise(groups >= 0))
    left = np.array([[rise(groups != g) for g in range(8)]])
    share = np.array([2, 2, 1, 2, 2, 2, 2, 2]) / 15
    assert found.spread.error[0] == pytest.approx(spread(found.mean, left, share).error[0])
    assert (found.spread.groups[0], found.clips[0]) == (8, 15)
    # Clips of one length: the rate is the mean of rates.
    even = np.full_like(bits[:, :, 8:], 4.0)
    ratio = rate_losses((bits[0, :, 8:], even[0]), (bits[1, :, 8:], even[1]), groups[8:] - 4)
    plain = losses((bits[1] - bits[0])[:, 8:] / 4, groups[8:] - 4)
    np.testing.assert_allclose(ratio.mean, plain.mean)
    np.testing.assert_allclose(ratio.spread.error, plain.spread.error)


def test_clips_of_one_group_are_one_observation() -> None:
    values = np.random.default_rng(1).normal(0, 1, (1, 10))
    doubled = losses(np.repeat(values, 3, axis=1), np.repeat(np.arange(10), 3))
    alone = losses(values, np.arange(10))
    assert doubled.spread.error[0] == pytest.approx(alone.spread.error[0])
    assert doubled.spread.groups[0] == 10
    assert doubled.clips[0] == 30


def spreads(error: np.ndarray) -> Spread:
    tests = len(error)
    return Spread(
        error, np.full(tests, 9.0), np.zeros(tests), np.full(tests, 10), np.zeros(tests, dtype=bool)
    )


def test_moderation_shrinks_errors_that_differ_by_chance_and_not_those_that_do() -> None:
    rng = np.random.default_rng(2)
    alike = losses(rng.normal(0, 1, (60, 10)), np.arange(10)).spread.error
    made = moderated(spreads(alike))
    assert made.error.std() < 0.5 * alike.std()
    assert (made.freedom > 18).all()
    unlike = alike * np.exp(rng.normal(0, 2, 60))
    made = moderated(spreads(unlike))
    assert np.median(np.abs(made.error / unlike - 1)) < 0.1
    assert (made.freedom < 12).all()
    few = spreads(alike[:2])
    assert moderated(few) is few


def test_few_skewed_losses_are_moderated_too() -> None:
    """Large gains on few clips that all others pay for, mean 0: 15 % of alarms without."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        found = losses(1 - rng.exponential(1, (9, 8)), np.arange(8))
        alarms += bool((holm(p_above(found.mean, moderated(found.spread))) <= 0.05).any())
    assert alarms / 300 < 0.09


def test_a_tolerance_says_something() -> None:
    assert Tolerance.model_validate("2 %").limit(-50.0) == 1.0
    assert Tolerance.model_validate({"absolute": 3, "percent": 2}).limit(50.0) == 3.0
    assert Tolerance.model_validate("significant").limit(50.0) == 0.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"metrics": {"qualiti": 0.1}}, "`metrics` names 'qualiti', .* did you mean 'quality'"),
        ({"ignore": ["pesq_wb"]}, "`ignore` names 'pesq_wb', .* measured: .*quality"),
    ],
)
def test_a_metric_that_nobody_measured_is_no_tolerance(
    content: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """A misspelt one would be checked by the default, which nobody asked for."""
    with pytest.raises(SpecError, match=said):
        checked(make_run(), make_run(), tmp_path, **content)


def test_the_residual_delay_is_never_checked_and_a_misspelt_field_is_named(tmp_path: Path) -> None:
    config = GateConfig.model_validate({"ignore": ["quality"]})
    assert config.of("metric", "residual_delay") is None
    (tmp_path / "gate.yaml").write_text("alfa: 0.05")
    with pytest.raises(SpecError, match="`alfa` is not a known key; did you mean 'alpha'"):
        read_config(tmp_path / "gate.yaml")
    (tmp_path / "gate.yaml").write_text("metrics: {stoi: {absolut: 1}}")
    with pytest.raises(SpecError, match="did you mean 'absolute'"):
        read_config(tmp_path / "gate.yaml")
