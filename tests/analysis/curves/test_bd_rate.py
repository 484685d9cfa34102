"""BD-rate equals the reference package, and what cannot be compared gets its reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bjontegaard
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import CURVES, changed, make_run, scores_of

from rdbench.analysis.curves.bd_rate import bd_table
from rdbench.analysis.curves.delta import crossings, curve, delta, percent
from rdbench.analysis.curves.readings import reading_table
from rdbench.analysis.runs import Run
from rdbench.analysis.stats.intervals import intervals, p_two_sided, spread
from rdbench.analysis.stats.leave_one_out import Sampling
from rdbench.types import RdbenchError

FEW = Sampling(resamples=200)


def one(run: Run, **chosen: str) -> dict[str, Any]:
    wanted = {"key": "quality", "quantity": "bd_rate", "method": "pchip", "basis": "headline"}
    table = bd_table(run, reference="old", sampling=FEW)
    for column, value in (wanted | chosen).items():
        table = table[table[column] == value]
    assert len(table) == 1
    return dict(table.iloc[0])


@pytest.mark.parametrize("method", ["pchip", "akima"])
@pytest.mark.parametrize("points", [(4, 4), (5, 5), (8, 8), (6, 4), (4, 9)])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_package_on_matching_input(
    method: str, points: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    curves = []
    for count in points:
        rate = np.sort(rng.uniform(4, 64, count))
        ends = 1.2 + 0.1 * rng.random(), 4.4 + 0.1 * rng.random()
        quality = np.array([ends[0], *np.sort(rng.uniform(1.4, 4.3, count - 2)), ends[1]])
        curves.append((rate, quality))
    (ra, qa), (rt, qt) = curves
    reference, test = (curve(r[:, None], q[:, None]) for r, q in curves)
    settings = {"method": method, "require_matching_points": False, "min_overlap": 0}
    expected = bjontegaard.bd_rate(ra, qa, rt, qt, **settings)
    found = float(percent(delta(reference, test, method, "quality").value)[0])
    assert found == pytest.approx(expected, abs=1e-9, rel=1e-9)
    expected = bjontegaard.bd_psnr(ra, qa, rt, qt, **settings)
    found = float(delta(reference, test, method, "rate").value[0])
    assert found == pytest.approx(expected, abs=1e-9, rel=1e-9)


@given(factor=st.floats(0.3, 3.0), order=st.permutations(range(5)))
@settings(max_examples=40)
def test_a_curve_at_a_multiple_of_the_rates_differs_by_that(
    factor: float, order: list[int]
) -> None:
    rate = np.array([4.0, 7, 12, 25, 40])
    quality = np.array([1.3, 2.0, 2.9, 3.8, 4.1])
    reference = curve(rate[:, None], quality[:, None])
    # Points may come in any order.
    test = curve(factor * rate[order][:, None], quality[order][:, None])
    found = percent(delta(reference, test, "pchip", "quality").value)[0]
    assert found == pytest.approx(100 * (factor - 1), abs=1e-8)


def test_every_resample_is_a_whole_curve() -> None:
    rng = np.random.default_rng(3)
    rates = np.array([4.0, 7, 12, 25])[:, None] * rng.uniform(0.9, 1.1, (4, 30))
    first, second = (np.sort(rng.uniform(1, 4.5, (4, 30)), axis=0) for _ in range(2))
    first[-1] = second[-1] = 4.6
    together = delta(curve(rates, first), curve(1.2 * rates, second), "akima", "quality").value
    for i in range(30):
        column = slice(i, i + 1)
        alone = delta(
            curve(rates[:, column], first[:, column]),
            curve(1.2 * rates[:, column], second[:, column]),
            "akima", "quality",
        ).value  # fmt: skip
        assert together[i] == pytest.approx(alone[0], rel=1e-12)


def test_a_table_has_interval_range_and_shares() -> None:
    row = one(make_run())
    assert row["reason"] == ""
    assert row["low"] < row["value"] < row["high"] < 0  # fewer bits than the old codec
    assert 2 < row["range_low"] < row["range_high"] < 4.5
    assert 0 < row["share_curve"] <= 1
    assert 0 < row["share_reference"] <= 1
    assert row["n_clips"] == row["n_total"] == 12
    assert row["n_groups"] == 8
    quality = one(make_run(), quantity="bd_quality")
    assert quality["value"] > 0
    assert quality["range_unit"] == "kbps"
    assert quality["range_low"] == pytest.approx(6.0)
    assert quality["range_high"] == pytest.approx(20.0)


def test_lower_is_better_gives_the_same_bits_and_the_opposite_quality() -> None:
    run = make_run()
    quality, distance = one(run), one(run, key="distance")
    assert distance["value"] == pytest.approx(quality["value"])
    assert distance["low"] == pytest.approx(quality["low"])
    up, down = (one(run, key=k, quantity="bd_quality") for k in ("quality", "distance"))
    assert down["value"] == pytest.approx(-up["value"])
    assert down["low"] == pytest.approx(-up["high"])
    assert down["p"] == pytest.approx(up["p"])
    assert distance["range_low"] == pytest.approx(20 - quality["range_high"])


def test_interval_and_p_are_those_of_the_change_without_each_group() -> None:
    run = make_run(count=20, noise=0.3)
    row = one(run)
    groups = sorted(set(run.rows["group"]))
    left_out = [one(replace(run, rows=run.rows[run.rows["group"] != g])) for g in groups]
    logs = np.log10(1 + np.array([[r["value"] for r in (row, *left_out)]]) / 100)
    share = run.rows.groupby("group")["clip"].nunique().to_numpy() / 20
    given = spread(logs[:, 0], logs[:, 1:].astype(float), share)
    found = intervals(logs[:, 0], given)
    assert row["low"] == pytest.approx(percent(found.low)[0])
    assert row["high"] == pytest.approx(percent(found.high)[0])
    assert row["p"] == pytest.approx(p_two_sided(logs[:, 0], given)[0])


def test_crossing_curves_are_said_to_cross_and_where() -> None:
    rate = np.array([4.0, 8, 16, 32])[:, None]
    first = curve(rate, np.array([1.0, 2, 3, 4])[:, None])
    second = curve(rate, np.array([1.5, 2.25, 2.75, 3.5])[:, None])
    (where,) = crossings(first, second, "pchip")
    assert 8 < 10 ** where[0] < 16
    assert crossings(first, first, "pchip") == []
    tilt = {"5": 0.3, "8": 0.1, "12": -0.2, "20": -0.35}
    run = make_run(shift=lambda s, p: tilt.get(p, 0.0) if s == "new" else 0.0)
    row = one(run)
    assert row["crosses"]
    assert 8 < row["crossing_kbps"] < 20
    assert row["fewer_bits"] == "below"
    assert 0 < row["crossing_share"] <= 1
    # The share is drawn, and its seed is the caller's.
    tilted = bd_table(run, reference="old", sampling=FEW)
    other = bd_table(run, reference="old", sampling=replace(FEW, seed=1))
    assert tilted["crossing_share"].iloc[0] == row["crossing_share"]
    assert other["crossing_share"].iloc[0] != row["crossing_share"]
    assert other["low"].iloc[0] == tilted["low"].iloc[0]
    assert not one(make_run())["crosses"]
    assert one(make_run())["fewer_bits"] == ""


def test_curves_that_do_not_overlap_are_refused_with_their_ranges() -> None:
    run = make_run(shift=lambda s, p: 9.0 if s == "new" else 0.0)
    row = one(run)
    assert np.isnan(row["value"])
    assert "do not overlap" in row["reason"]
    assert "old 2." in row["reason"]
    # At equal bits they can be compared all the same.
    assert one(run, quantity="bd_quality")["reason"] == ""


def test_a_curve_of_too_few_points_is_refused() -> None:
    curves = CURVES | {"new": ("payload", {"8": 8.0, "12": 12.0, "20": 20.0}, 6.0)}
    assert one(make_run(curves))["reason"] == ""
    assert one(make_run(curves), method="akima")["reason"] == (
        "refused: new has 3 points, akima needs 4"
    )


def test_a_curve_that_falls_beyond_its_uncertainty_is_refused_and_a_wiggle_repaired() -> None:
    falls = make_run(shift=lambda s, p: -3.0 if (s, p) == ("new", "20") else 0.0)
    assert "not monotone" in str(one(falls)["reason"])
    wiggle = make_run(shift=lambda s, p: -0.45 if (s, p) == ("new", "20") else 0.0)
    row = one(wiggle)
    assert row["reason"] == ""
    assert "repaired" in str(row["note"])


def test_all_scores_equal_and_equal_rates_are_refused() -> None:
    run = make_run()
    level = changed(run, scores_of(run, "new"), value=3.0)
    assert "the same at all its rates" in str(one(level)["reason"])
    twins = CURVES | {"new": ("payload", {"8": 8.0, "8b": 8.0, "12": 12.0, "20": 20.0}, 6.0)}
    assert "same rate (new 8 and new 8b" in str(one(make_run(twins))["reason"])


def test_a_saturated_metric_is_compared_below_its_ceiling() -> None:
    run = make_run()
    rows = run.rows
    high = scores_of(run, "new") & (rows["key"] == "quality") & rows["point"].isin(["12", "20"])
    saturated = changed(run, high, value=4.64)
    row = one(saturated)
    assert row["reason"] == ""
    assert row["range_high"] < 4.64
    assert one(saturated, method="akima")["reason"] == (
        "refused: new has 3 points after repair, akima needs 4"
    )


def test_clips_without_a_score_leave_both_curves_and_a_point_without_any_is_named() -> None:
    run = make_run()
    rows = run.rows
    gap = scores_of(run, "new", "8") & (rows["clip"] == "folder/c03.wav")
    holed = changed(run, gap, value=np.nan, status="failed")
    assert (one(holed)["n_clips"], one(holed)["n_total"]) == (11, 12)
    dead = changed(run, scores_of(run, "new", "8"), value=np.nan, status="failed")
    row = one(dead)
    assert row["n_clips"] == 12
    assert row["n_points"] == 3
    assert "without new 8" in str(row["note"])
    nothing = changed(run, scores_of(run, "new"), value=np.nan, status="undefined")
    assert "no clip" in str(one(nothing)["reason"])


def test_a_value_that_is_nan_though_ok_is_no_score() -> None:
    run = make_run()
    gap = scores_of(run, "new", "8") & (run.rows["clip"] == "folder/c03.wav")
    assert one(changed(run, gap, value=np.nan))["n_clips"] == 11


def test_duplicate_rows_do_not_count_twice() -> None:
    import pandas as pd

    run = make_run()
    doubled = replace(run, rows=pd.concat([run.rows, run.rows.iloc[:40]], ignore_index=True))
    assert one(doubled)["value"] == one(run)["value"]
    assert one(doubled)["low"] == one(run)["low"]


def test_a_single_clip_has_a_value_and_no_interval() -> None:
    row = one(make_run(count=1, noise=0.0))
    assert row["reason"] == ""
    assert np.isfinite(row["value"])
    assert np.isnan(row["low"])
    assert "one group" in str(row["note"])


def with_vae(run: Run) -> Run:
    """The curve `new` as a VAE with sample, mean and coded variants."""
    import pandas as pd

    rows = run.rows
    mean = rows[(rows["system"] == "new") & (rows["kind"] == "metric")].assign(variant="mean")
    coded = rows[rows["system"] == "new"].assign(variant="coded")
    is_rate = coded["kind"] == "rate"
    coded["key"] = coded["key"].where(~is_rate, "coded")
    coded["value"] = coded["value"].where(~is_rate, 1.25 * coded["value"])
    return replace(run, rows=pd.concat([rows, mean, coded], ignore_index=True))


def test_rates_of_different_kinds_bring_the_decodable_comparison_and_the_mean_is_refused() -> None:
    curves = CURVES | {"new": ("kl", CURVES["new"][1], 6.0)}
    run = with_vae(make_run(curves))
    table = bd_table(run, reference="old", sampling=FEW)
    table = table[(table["key"] == "quality") & (table["quantity"] == "bd_rate")]
    by = {(r["basis"], r["variant"], r["method"]): r for r in table.to_dict("records")}
    headline, coded = by["headline", "sample", "pchip"], by["decodable", "coded", "pchip"]
    assert (headline["rate_kind"], headline["reference_rate_kind"]) == ("kl", "payload")
    assert (coded["rate_kind"], coded["reference_rate_kind"]) == ("coded", "payload")
    # The same scores at 1.25 times the bits.
    assert 1 + coded["value"] / 100 == pytest.approx(1.25 * (1 + headline["value"] / 100))
    assert "mean of the latent" in by["headline", "mean", "pchip"]["reason"]
    assert np.isnan(by["headline", "mean", "pchip"]["value"])


def test_a_decodable_rate_that_was_not_measured_is_said() -> None:
    curves = CURVES | {"new": ("nominal", CURVES["new"][1], 6.0)}
    row = one(make_run(curves), basis="decodable")
    assert row["reason"] == "not measured: new has no entropy rate here"


def test_domains_are_never_pooled() -> None:
    import pandas as pd

    run = make_run()
    music = run.rows.assign(
        domain="music", clip="m/" + run.rows["clip"], unit_key="m" + run.rows["unit_key"]
    )
    both = replace(run, rows=pd.concat([run.rows, music], ignore_index=True))
    table = bd_table(both, reference="old", sampling=FEW)
    assert set(table["domain"]) == {"speech", "music"}
    assert (table["n_clips"] == 12).all()


def test_an_unknown_reference_is_one_sentence() -> None:
    with pytest.raises(RdbenchError, match="did you mean 'old'"):
        bd_table(make_run(), reference="olt")


@pytest.mark.parametrize("seed", range(3))
def test_only_points_that_moved_are_said_to_be_repaired(seed: int) -> None:
    """The mean of a block of one differs from its value by rounding, and was called a repair."""
    wiggle = make_run(seed=seed, shift=lambda s, p: -0.45 if (s, p) == ("new", "20") else 0.0)
    row = one(wiggle)
    assert row["repaired"] == "new 12, new 20"
    notes = str(row["note"]).split("; ")
    assert [n for n in notes if "repaired" in n] == ["repaired to be monotone at new 12, new 20"]


def test_what_rests_on_less_than_a_fifth_of_a_curve_is_marked() -> None:
    """+1028 % on less than 1 % of a curve stood among the others."""
    assert not one(make_run())["narrow"]
    high = CURVES | {"new": ("payload", {"25": 25.0, "40": 40.0, "60": 60.0, "90": 90.0}, 9.0)}
    row = one(make_run(high))
    assert row["reason"] == ""
    assert min(float(row["share_curve"]), float(row["share_reference"])) < 0.2
    assert row["narrow"]


def jump(system: str, point: str) -> float:
    """The old codec has another mode from 12 kbps on, as Opus has."""
    return {"6": -1.0, "9": -1.2}.get(point, 0.8) if system == "old" else 0.0


def test_what_is_taken_across_a_gap_in_a_curve_is_marked() -> None:
    """−27 % [−29, −24] stood on 73 % of a range where Opus has no point."""
    row = one(make_run(shift=jump))
    means = make_run(shift=jump).rows.query("key == 'quality' and system == 'old'")
    points = means.groupby("point")["value"].mean().sort_values().to_numpy()
    low, high = float(row["range_low"]), float(row["range_high"])
    stops = np.array([low, *points[(points > low) & (points < high)], high])
    gap = float(np.diff(stops).max()) / (high - low)
    assert row["gap_reference"] == pytest.approx(gap)
    assert gap > 0.5 > float(row["gap_curve"])
    assert min(float(row["share_curve"]), float(row["share_reference"])) > 0.2
    assert row["narrow"]
    assert f"no point of old on {100 * gap:.0f} % of the qualities" in str(row["note"])
    without = one(make_run())
    assert max(float(without["gap_curve"]), float(without["gap_reference"])) <= 0.5


def test_akima_outside_of_the_interval_is_told() -> None:
    run = make_run(noise=0.001, shift=jump)
    row, by_akima = one(run), one(run, method="akima")
    assert row["akima"] == pytest.approx(by_akima["value"])
    assert not row["low"] <= row["akima"] <= row["high"]
    assert f"{row['akima']:+.3g} % by Akima, outside of the interval" in str(row["note"])
    assert "by Akima" not in str(one(make_run(noise=0.5))["note"])
    three = CURVES | {"new": ("payload", {"8": 8.0, "12": 12.0, "20": 20.0}, 6.0)}
    assert np.isnan(one(make_run(three))["akima"])


def test_a_system_of_one_rate_is_read_at_its_own_quality() -> None:
    curves = CURVES | {"new": ("payload", {"8": 8.0}, 6.0)}
    run = make_run(curves, noise=0.01)
    assert one(run)["reason"] == "refused: new has 1 point, pchip needs 3"
    row = one(run, quantity="rate_at_point")
    # Of 1 + 4 r / (r + h): the same quality needs r in the proportion of the h.
    assert row["value"] == pytest.approx(100 * (6 / 9 - 1), abs=1.0)
    assert row["low"] < row["value"] < row["high"]
    assert row["range_low"] == row["range_high"]
    reading = reading_table(run, to_reach={"quality": [row["range_low"]]}, curves=["old"])
    assert row["value"] == pytest.approx(100 * (8 / reading["value"].iloc[0] - 1), rel=1e-9)
    lower = one(run, quantity="rate_at_point", key="distance")
    assert lower["value"] == pytest.approx(row["value"], rel=1e-6)


def test_a_curve_is_read_at_the_quality_of_a_reference_of_one_rate() -> None:
    run = make_run(CURVES | {"new": ("payload", {"8": 8.0}, 6.0)}, noise=0.01)
    at_its_own = one(run, quantity="rate_at_point")
    table = bd_table(run, reference="new", metrics=["quality"])
    row = table[table["quantity"] == "rate_at_point"].iloc[0]
    assert (row["reference"], row["curve"]) == ("new", "old")
    assert 1 + row["value"] / 100 == pytest.approx(1 / (1 + float(at_its_own["value"]) / 100))
    assert row["low"] < row["value"] < row["high"]


def test_two_systems_of_one_rate_are_a_pair_of_points() -> None:
    run = make_run({"old": ("payload", {"8": 8.0}, 9.0), "new": ("payload", {"8": 8.0}, 6.0)})
    table = bd_table(run, reference="old", metrics=["quality"])
    assert set(table["quantity"]) == {"bd_rate", "bd_quality"}
    assert table["reason"].str.contains("--pair").all()


def test_a_system_of_one_rate_beyond_the_other_curve_is_refused() -> None:
    run = make_run(CURVES | {"new": ("payload", {"90": 90.0}, 6.0)})
    reason = str(one(run, quantity="rate_at_point")["reason"])
    assert reason.startswith("refused: new is at 4.")
    assert "old was measured from" in reason
