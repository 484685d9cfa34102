"""The gap's two terms: they add up, are losses, and seeds are a part of their uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_runs import make_run

from rdbench.analysis.latent.gap import GAP_COLUMNS, gap_table
from rdbench.analysis.paired import paired_table
from rdbench.analysis.runs import Run

CURVES = {"vae": ("kl", {"6": 6.0, "12": 12.0}, 8.0)}
SEEDS = {f"predicted@{n}": {"source": "predicted", "of": "predicted"} for n in (1, 2, 3)}


def with_variants(added: Mapping[str, float], *, noise: float = 0.0, seed: int = 1) -> Run:
    """A run whose other variants are better than the sample by `added` quality, for each clip."""
    run, rng = make_run(CURVES, noise=0.3), np.random.default_rng(seed)
    parts = []
    scores = run.rows[(run.rows["kind"] == "metric") & (run.rows["clip"] != "")]
    for name, more in added.items():
        moved = more + noise * rng.standard_normal(len(scores) // 2).repeat(2)
        sign = np.where(scores["key"] == "quality", 1.0, -1.0)
        parts.append(scores.assign(variant=name, value=scores["value"] + sign * moved))
    rows = pd.concat(parts, ignore_index=True)
    apart = rows["variant"].str.contains("@")
    return replace(
        run,
        rows=pd.concat([run.rows, rows[~apart]], ignore_index=True),
        seeds=rows[apart].reset_index(drop=True) if apart.any() else None,
        manifest={**run.manifest, "variants": SEEDS},
    )


def term(table: pd.DataFrame, name: str, key: str = "quality") -> pd.Series:
    chosen = (table["term"] == name) & (table["key"] == key) & (table["point"] == "6")
    return table[chosen].iloc[0]


def test_the_terms_are_losses_and_add_up_whichever_way_a_metric_counts() -> None:
    table = gap_table(with_variants({"mean": 0.4, "predicted": -1.5, "predicted_clamp": -1.2}))
    assert list(table.columns) == GAP_COLUMNS
    assert len(table) == 2 * 2 * 4
    for key in ("quality", "distance"):
        assert term(table, "posterior", key)["difference"] == pytest.approx(0.4)
        assert term(table, "generator", key)["difference"] == pytest.approx(1.5)
        assert term(table, "total", key)["difference"] == pytest.approx(1.9)
        assert term(table, "gain of clamp", key)["difference"] == pytest.approx(0.3)


def test_a_prediction_that_is_the_sample_has_no_second_term() -> None:
    table = gap_table(with_variants({"mean": 0.4, "predicted": 0.0}))
    row = term(table, "generator")
    assert (row["difference"], row["low"], row["high"]) == (0.0, 0.0, 0.0)
    assert term(table, "posterior")["difference"] == term(table, "total")["difference"]


def test_with_one_seed_it_is_the_paired_difference() -> None:
    run = with_variants({"mean": 0.4, "predicted": -0.2}, noise=0.3)
    row = term(gap_table(run), "generator")
    pair = ("vae/6/sample", "vae/6/predicted")
    other = paired_table(run, pairs=[pair], metrics=["quality"]).iloc[0]
    for column in ("value", "reference_value", "difference", "low", "high", "p", "n_groups"):
        assert row[column] == pytest.approx(other[column]), column
    assert row["n_seeds"] == 1
    assert np.isnan(row["deviation"])


def test_three_seeds_widen_the_interval_and_two_are_told_alone() -> None:
    apart = {"predicted": -1.0, "predicted@1": -1.4, "predicted@2": -0.6}
    alike = dict.fromkeys(apart, -1.0)
    rows = {}
    for name, added in (("apart", apart), ("alike", alike)):
        run = with_variants({"mean": 0.4, **added}, noise=1e-9)
        rows[name] = term(gap_table(run), "generator")
        assert rows[name]["n_seeds"] == 3
        assert rows[name]["difference"] == pytest.approx(1.0)
        assert term(gap_table(run), "posterior")["n_seeds"] == 1
    assert rows["apart"]["deviation"] == pytest.approx(0.4)
    assert rows["alike"]["deviation"] == pytest.approx(0.0, abs=1e-8)
    reach = rows["apart"]["high"] - rows["apart"]["low"]
    # Student's with some 1.3 degrees of freedom, of 0.4 / √3.
    assert reach > 2 * 4.3 * 0.4 / 3**0.5
    assert rows["apart"]["note"] == "3 seeds of the generator: the interval may be too narrow"
    assert rows["alike"]["high"] - rows["alike"]["low"] < 1e-6
    two = with_variants({"mean": 0.4, "predicted": -1.0, "predicted@1": -1.4}, noise=0.1)
    row = term(gap_table(two), "generator")
    assert (row["n_seeds"], row["n_groups"]) == (2, 8)
    assert row["high"] - row["low"] < 0.5
    assert row["deviation"] == pytest.approx(0.28, abs=0.1)


def test_a_clip_that_one_variant_lacks_is_left_out_of_all_terms() -> None:
    run = with_variants({"mean": 0.4, "predicted": -1.0, "predicted@1": -1.2}, noise=0.2)
    assert run.seeds is not None
    seeds = run.seeds.copy()
    seeds.loc[seeds.index[:2], ["value", "status"]] = [np.nan, "failed"]
    table = gap_table(replace(run, seeds=seeds))
    rows = [term(table, name) for name in ("posterior", "generator", "total")]
    assert {row["n_clips"] for row in rows} == {11}
    assert rows[0]["difference"] + rows[1]["difference"] == pytest.approx(rows[2]["difference"])


def test_without_predictions_or_common_clips_there_is_no_gap() -> None:
    assert gap_table(make_run(CURVES)).empty
    run = with_variants({"mean": 0.4, "predicted": -1.0})
    rows = run.rows.copy()
    lost = (rows["variant"] == "predicted") & (rows["point"] == "6")
    rows.loc[lost, ["value", "status"]] = [np.nan, "failed"]
    row = term(gap_table(replace(run, rows=rows)), "generator")
    assert np.isnan(row["difference"])
    assert row["reason"] == "refused: no clip has a score of all that is compared"
