"""A codec that mutes a clip is not better for having no score on it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_runs import CURVES, SECONDS, changed, make_run, scores_of

from rdbench.analysis.aggregate import FEW_SCORED, NONE_IN_COMMON, points, rate_distortion
from rdbench.analysis.curves.bd_rate import bd_table
from rdbench.analysis.paired import paired_table
from rdbench.analysis.runs import Run

CLIPS = 12
MUTED = [f"folder/c{i:02d}.wav" for i in (1, 4, 7)]
LOUD = [f"folder/c{i:02d}.wav" for i in range(CLIPS) if i not in (1, 4, 7)]


def muting() -> Run:
    """ "new" at 8 kbps has no score on three clips, which cost it twice the bits."""
    run = make_run()
    rows = run.rows
    there = rows["clip"].isin(MUTED) & (rows["system"] == "new") & (rows["point"] == "8")
    dear = changed(run, there & (rows["kind"] == "rate"), value=2 * 8000 * SECONDS)
    silent = there & scores_of(run, "new") & (rows["key"] == "quality")
    return changed(dear, silent, status="undefined", value=np.nan, reason="silent")


def scored(run: Run) -> dict[tuple[str, str], dict[str, object]]:
    table = rate_distortion(points(run.rows, manifest=run.manifest), run.headlines)
    table = table[table["key"] == "quality"]
    return {(row["system"], row["point"]): dict(row) for _, row in table.iterrows()}


def test_a_score_stands_beside_the_rate_of_its_own_clips() -> None:
    found = scored(muting())
    assert found["new", "8"]["kbps"] == pytest.approx(8.0)
    assert found["new", "12"]["kbps"] == pytest.approx(12.0)
    assert found["new", "8"]["kbps_high"] == pytest.approx(8.0)
    whole = rate_distortion(points(muting().rows), muting().headlines)
    distance = whole[(whole["key"] == "distance") & (whole["system"] == "new")]
    assert distance.set_index("point")["kbps"]["8"] == pytest.approx(8.0 * 15 / 12)


def test_a_point_that_lacks_scores_is_marked_and_the_others_are_not() -> None:
    found = scored(muting())
    assert [place for place, row in found.items() if row["common"]] == [("new", "8")]


def test_the_mean_of_such_a_point_is_over_the_clips_that_all_have() -> None:
    run = muting()
    rows = run.rows
    lost = (rows["system"] == "old") & (rows["point"] == "6") & (rows["clip"] == "folder/c00.wav")
    both = changed(run, lost & (rows["key"] == "quality"), status="undefined", value=np.nan)
    found = scored(both)
    common = [clip for clip in LOUD if clip != "folder/c00.wav"]
    values = rows[scores_of(run, "new", "8") & (rows["key"] == "quality")].set_index("clip")[
        "value"
    ]
    assert found["new", "8"]["value"] == pytest.approx(values[common].mean())
    assert found["new", "8"]["n_ok"] == len(common)
    assert {place for place, row in found.items() if row["common"]} == {("new", "8"), ("old", "6")}
    assert found["old", "9"]["n_ok"] == CLIPS


def test_a_point_that_is_mute_on_most_clips_costs_the_others_none() -> None:
    run = muting()
    most = [f"folder/c{i:02d}.wav" for i in range(CLIPS) if i != 3]
    mute = (run.rows["system"] == "old") & (run.rows["point"] == "9")
    mute &= run.rows["clip"].isin(most) & (run.rows["key"] == "quality")
    both = changed(run, mute, status="undefined", value=np.nan, reason="silent")
    found = scored(both)
    assert found["new", "8"]["n_ok"] == CLIPS - len(MUTED)
    own = points(both.rows)
    row = own[(own["system"] == "old") & (own["point"] == "9") & (own["key"] == "quality")].iloc[0]
    assert (row["n_ok"], row["n_apart"], row["note"]) == (0, 1, FEW_SCORED)
    bd = bd_table(both, reference="old", metrics=["quality"]).iloc[0]
    assert "without old 9: no scores on half of the clips or more" in bd["note"]
    assert bd["n_clips"] == CLIPS - len(MUTED)


def test_points_that_are_scored_on_other_clips_have_no_mean_and_say_so() -> None:
    run = make_run()
    for system, half in (("old", range(6)), ("new", range(6, CLIPS))):
        there = (run.rows["system"] == system) & (run.rows["point"] == "12")
        there &= run.rows["clip"].isin([f"folder/c{i:02d}.wav" for i in half])
        there &= run.rows["key"] == "quality"
        run = changed(run, there, status="undefined", value=np.nan)
    found = points(run.rows).query("point == '12' and key == 'quality'")
    assert found["n_ok"].tolist() == [0, 0]
    assert set(found["note"]) == {NONE_IN_COMMON}


def test_what_no_point_can_be_scored_on_marks_none() -> None:
    run = make_run()
    silent = (run.rows["key"] == "quality") & (run.rows["clip"] == MUTED[0])
    found = scored(changed(run, silent, status="undefined", value=np.nan))
    assert not any(row["common"] for row in found.values())
    assert {row["n_ok"] for row in found.values()} == {CLIPS - 1}


def test_a_variant_that_shares_its_rate_shares_its_clips() -> None:
    run = make_run(CURVES | {"vae": ("kl", {"6": 6.0}, 6.0)})
    rows = run.rows
    mean = rows[(rows["system"] == "vae") & (rows["kind"] == "metric")].assign(variant="mean")
    there = rows["clip"].isin(MUTED) & (rows["system"] == "vae") & (rows["kind"] == "rate")
    rows = rows.assign(value=rows["value"].mask(there, 2 * 6000 * SECONDS))
    mean["status"] = mean["status"].mask(mean["clip"].isin(MUTED), "undefined")
    mean["value"] = mean["value"].mask(mean["clip"].isin(MUTED))
    table = rate_distortion(points(pd.concat([rows, mean])), run.headlines | {"vae": "kl"})
    table = table[(table["system"] == "vae") & (table["key"] == "quality")].set_index("variant")
    assert table["kbps"]["sample"] == pytest.approx(6.0 * 15 / 12)
    assert table["kbps"]["mean"] == pytest.approx(6.0)


def test_pairs_and_bd_rates_are_of_the_clips_that_both_have() -> None:
    run = muting()
    row = paired_table(run, pairs=[("new/8", "old/9")], metrics=["quality"]).iloc[0]
    assert row["n_clips"] == len(LOUD)
    assert row["kbps"] == pytest.approx(8.0)
    left = Run("loud", run.rows[run.rows["clip"].isin(LOUD)], run.manifest)
    found = [
        bd_table(one, reference="old", metrics=["quality"]).query("quantity == 'bd_rate'")
        for one in (run, left)
    ]
    assert found[0]["value"].to_numpy() == pytest.approx(found[1]["value"].to_numpy(), rel=1e-12)
    assert set(found[0]["n_clips"]) == {len(LOUD)}
