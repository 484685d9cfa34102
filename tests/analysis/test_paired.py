"""Paired differences equal the textbook's, wins are counted, and many tests are corrected."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from small_runs import CURVES, changed, make_run, scores_of

from rdbench.analysis.paired import clip_table, holm, paired_table
from rdbench.analysis.runs import Run
from rdbench.types import RdbenchError

PAIR = [("new/12", "old/12")]


def test_the_difference_and_its_p_are_those_of_a_paired_t_test() -> None:
    run = make_run(count=8)  # a group for each clip
    row = paired_table(run, pairs=PAIR, metrics=["quality"]).iloc[0]
    rows = run.rows[run.rows["key"] == "quality"]
    values = [
        rows[(rows["system"] == s) & (rows["point"] == "12")].set_index("clip")["value"]
        for s in ("new", "old")
    ]
    change = (values[0] - values[1]).to_numpy()
    assert row["difference"] == pytest.approx(change.mean())
    t = abs(stats.ttest_rel(*values).statistic)
    freedom = 7 * 7 / 8  # less what the skewness takes
    assert row["p"] == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-9)
    assert row["n_better"] == (change > 0).sum()
    assert row["win_rate"] == pytest.approx((change > 0).mean())
    assert row["low"] < row["difference"] < row["high"]
    assert row["kbps"] == row["reference_kbps"] == pytest.approx(12.0)


def test_lower_is_better_turns_wins_and_not_differences() -> None:
    table = paired_table(make_run(), pairs=PAIR).set_index("key")
    up, down = table.loc["quality"], table.loc["distance"]
    assert down["difference"] == pytest.approx(-up["difference"])
    assert down["win_rate"] == up["win_rate"]
    assert down["n_better"] == up["n_better"]


def test_points_are_paired_with_the_references_nearest_in_rate() -> None:
    table = paired_table(make_run(), reference="old", metrics=["quality"])
    # 5 and 8 kbps have no point of the reference within 10 %, nor has 20: they say so. 8 and 12 of
    # the text come after 5.
    assert list(zip(table["point"], table["reference_point"], strict=True)) == [
        ("5", "6"), ("8", "9"), ("12", "12"), ("20", "18")
    ]  # fmt: skip
    assert [bool(reason) for reason in table["reason"]] == [True, True, False, True]
    assert "--pair new/20=old/18" in table["reason"].iloc[3]
    assert set(clip_table(make_run(), reference="old")["point"]) == {"12"}


def with_stream_and_mean() -> Run:
    """`old` with payloads, `new` with a KL, a stream of three quarters of its bits, and a mean."""
    run = make_run(CURVES | {"new": ("kl", {"8": 8.0, "12": 12.0}, 6.0)})
    new = run.rows["system"] == "new"
    stream = run.rows[new].assign(variant="coded_rd")
    rates = stream["kind"] == "rate"
    stream["key"] = stream["key"].mask(rates, "coded")
    stream["value"] *= np.where(rates, 0.75, 1.0)
    other = stream.assign(variant="coded")
    mean = run.rows[new].assign(variant="mean")
    rows = pd.concat([run.rows, other, stream, mean], ignore_index=True)
    told = {
        name: {"source": "stream", "transmitted": True, "rate": "coded"}
        for name in ("coded_rd", "coded")
    }
    return Run(run.name, rows, {**run.manifest, "variants": told})


def test_the_first_stream_is_paired_too_at_its_own_rate() -> None:
    table = paired_table(with_stream_and_mean(), reference="old", metrics=["quality"])
    columns = ["point", "variant", "kbps", "rate_kind", "reference_point", "reference_rate_kind"]
    found = table.loc[table["reason"] == "", columns].to_numpy().tolist()
    assert found == [
        ["12", "sample", 12.0, "kl", "12", "payload"],
        ["8", "coded_rd", 6.0, "coded", "6", "payload"],
        ["12", "coded_rd", 9.0, "coded", "9", "payload"],
    ]


def test_streams_are_held_against_the_streams_of_a_latent() -> None:
    table = paired_table(with_stream_and_mean(), reference="new", metrics=["quality"])
    near = table[table["reason"] == ""]
    columns = ["point", "reference_point", "reference_variant"]
    assert near[columns].to_numpy().tolist() == [
        ["12", "12", "sample"], ["6", "8", "coded_rd"], ["9", "12", "coded_rd"]
    ]  # fmt: skip


def test_a_decoded_mean_is_compared_without_a_rate() -> None:
    run = with_stream_and_mean()
    row = paired_table(run, pairs=[("new/8/mean", "old/9")], metrics=["quality"]).iloc[0]
    assert np.isfinite(row["difference"])
    assert np.isnan(row["kbps"])
    assert (row["rate_kind"], row["reference_kbps"]) == ("", 9.0)


def test_curves_are_chosen_before_tests_are_corrected() -> None:
    run = make_run(CURVES | {"third": ("payload", {"9": 9.0, "12": 12.0}, 7.0)})
    table = paired_table(run, reference="old", curves=["new"], metrics=["quality"])
    assert set(table["system"]) == {"new"}
    near = table[table["reason"] == ""]
    assert near["p_holm"].to_list() == near["p"].to_list()  # one test
    assert set(clip_table(run, reference="old", curves=["new"])["system"]) == {"new"}
    with pytest.raises(RdbenchError, match="--curve 'nwe' is not a curve"):
        paired_table(run, reference="old", curves=["nwe"])


def test_ties_count_half_and_no_change_is_no_finding() -> None:
    run = make_run()
    rows = run.rows
    same = changed(run, scores_of(run, "new", "12"), value=3.0)
    same = changed(same, scores_of(run, "old", "12"), value=3.0)
    row = paired_table(same, pairs=PAIR, metrics=["quality"]).iloc[0]
    assert (row["win_rate"], row["n_equal"], row["p"]) == (0.5, len(set(rows["clip"])), 1.0)
    assert (row["low"], row["high"]) == (0.0, 0.0)


def test_clips_with_the_largest_change_are_listed_best_and_worst() -> None:
    run = make_run(noise=0.0)
    rows = run.rows
    for clip, value in (("folder/c03.wav", 9.0), ("folder/c05.wav", -9.0)):
        point = scores_of(run, "new", "12") & (rows["clip"] == clip)
        run = changed(run, point & (rows["key"] == "quality"), value=value)
        run = changed(run, point & (rows["key"] == "distance"), value=20 - value)
    table = clip_table(run, pairs=PAIR, count=2)
    top = table[table["rank"] == 1].set_index(["key", "end"])["clip"]
    assert top["quality", "best"] == top["distance", "best"] == "folder/c03.wav"
    assert top["quality", "worst"] == top["distance", "worst"] == "folder/c05.wav"
    assert len(table) == 8


def test_a_point_without_scores_has_a_reason() -> None:
    run = make_run()
    dead = changed(run, scores_of(run, "new", "12"), value=np.nan, status="failed")
    row = paired_table(dead, pairs=PAIR, metrics=["quality"]).iloc[0]
    assert np.isnan(row["difference"])
    assert np.isnan(row["p_holm"])
    assert "no clip" in row["reason"]


def test_a_point_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(RdbenchError, match="SYSTEM/POINT"):
        paired_table(make_run(), pairs=[("new/13", "old/12")])
    run = changed(make_run(), make_run().rows["system"] == "new", curve="family")
    with pytest.raises(RdbenchError, match=r"no point 'family/12'.*such as 'new/12'"):
        paired_table(run, pairs=[("family/12", "old/12")])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_monotone_and_between_p_and_bonferroni(values: list[float]) -> None:
    p = np.array(values)
    found = holm(p)
    assert (found >= p - 1e-15).all()
    assert (found <= np.minimum(1, p * len(p)) + 1e-12).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= -1e-15).all()


def test_holm_by_hand_and_without_counting_nan() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    found = holm(np.array([0.02, np.nan, 0.5]))
    np.testing.assert_allclose(found, [0.04, np.nan, 0.5])
