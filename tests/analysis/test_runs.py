"""Runs that were not measured alike are not compared, and names that clash are told apart."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from small_runs import make_run

import rdbench
from rdbench.analysis.paired import paired_table
from rdbench.analysis.runs import NotComparableError, merge, run_of
from rdbench.store.variants import variants_of
from rdbench.types import RdbenchError


def test_a_system_of_two_runs_is_told_apart_by_its_run() -> None:
    last, now = make_run(name="last"), make_run(name="now", seed=1)
    run = merge([last, now])
    assert set(run.rows["system"]) == {"last:old", "last:new", "now:old", "now:new"}
    assert run.headlines["now:new"] == "payload"
    table = paired_table(
        run, pairs=[("now:new/8", "last:new/8")], metrics=["quality"],
    )  # fmt: skip
    assert table["n_clips"].iloc[0] == 12


def test_the_same_measurements_in_two_runs_stay_one_system() -> None:
    first = make_run(name="a")
    part = replace(first, name="b", rows=first.rows[first.rows["system"] == "old"])
    run = merge([first, part])
    assert set(run.rows["system"]) == {"old", "new"}


def test_runs_of_one_folder_name_are_numbered() -> None:
    run = merge([make_run(name="x"), replace(make_run(name="y", seed=1), name="x")])
    assert {"x:old", "x#2:old"} <= set(run.rows["system"])


def test_variants_and_seeds_of_all_runs_are_known_in_any_order() -> None:
    plain, other = make_run(name="a"), make_run(name="b", seed=1)
    card = {"source": "mine", "transmitted": True, "rate": "", "digest": ""}
    variants = {"mine": card, "mine@1": {**card, "of": "mine"}}
    rows = other.rows.assign(variant="mine", system="theirs", curve="theirs")
    drawn = pd.concat([rows, rows.assign(variant="mine@1")], ignore_index=True)
    cards = {"theirs": other.manifest["systems"]["new"]}
    manifest = {**other.manifest, "variants": variants, "systems": cards}
    theirs = run_of("b", drawn, manifest)
    assert "mine@1" not in set(theirs.rows["variant"])
    for both in (merge([plain, theirs]), merge([theirs, plain])):
        assert variants_of(both.manifest)["mine"].transmitted
        assert both.seeds is not None
        assert set(both.seeds["variant"]) == {"mine@1"}
    changed = {**manifest, "variants": {"mine": {**card, "digest": "another"}}}
    with pytest.raises(NotComparableError, match="the variant mine is another thing in each"):
        merge([theirs, replace(theirs, manifest=changed)])


def test_rows_that_are_handed_over_are_read_as_those_of_a_folder() -> None:
    run = make_run()
    new = run.rows["system"] == "new"
    rows = pd.concat([run.rows, run.rows[new].assign(variant="codes@1")], ignore_index=True)
    card = {"source": "codes", "transmitted": True, "rate": "", "digest": "", "of": "codes"}
    manifest = {**run.manifest, "variants": {"codes@1": card}}
    one = rdbench.bd_rate(rows, anchor="old", manifest=manifest)
    pd.testing.assert_frame_equal(
        one, rdbench.bd_rate(run.rows, anchor="old", manifest=run.manifest)
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"protocol": {"fingerprint": "other", "sample_rate": 8000}}, "sample_rate is 16000"),
        ({"metrics": {"quality": {"direction": "higher", "version": 2}}}, "version 1"),
        ({"corpus": {"clips": [{"name": "folder/c00.wav", "domain": "speech", "content": "?"}]}},
         "folder/c00.wav has other content"),
    ],
)  # fmt: skip
def test_runs_that_were_not_measured_alike_are_refused(
    change: dict[str, object], sentence: str
) -> None:
    first = make_run()
    other = replace(first, name="other", manifest={**first.manifest, **change})
    with pytest.raises(NotComparableError, match=sentence):
        merge([first, other])


def test_the_api_takes_rows_with_their_manifest_and_returns_tables() -> None:
    run = make_run()
    table = rdbench.bd_rate(run.rows, anchor="old", manifest=run.manifest, resamples=100)
    assert isinstance(table, pd.DataFrame)
    assert set(table["quantity"]) == {"bd_rate", "bd_quality"}
    pairs = rdbench.compare(run.rows, anchor="old", manifest=run.manifest)
    assert (pairs["reason"] == "").sum() == 2
    with pytest.raises(RdbenchError, match="manifest"):
        rdbench.bd_rate(run.rows, anchor="old")
    with pytest.raises(AttributeError, match="no attribute 'bd_rat'"):
        _ = rdbench.bd_rat


def test_a_metric_whose_direction_is_unknown_is_not_guessed() -> None:
    run = make_run()
    manifest = {**run.manifest, "metrics": {}}
    with pytest.raises(RdbenchError, match="does not say whether"):
        rdbench.bd_rate(run.rows, anchor="old", manifest=manifest)
