"""The spread over seeds: of means over the clips that every seed has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import make_run

from rdbench.analysis.runs import Run
from rdbench.analysis.seeds import SEED_COLUMNS, seed_table

CURVES = {"vae": ("kl", {"6": 6.0}, 8.0)}
VARIANTS = {f"sample@{seed}": {"source": "sample", "of": "sample"} for seed in (1, 2, 3)}


def seeded_run(offsets: np.ndarray) -> Run:
    """A run whose `quality` with seed k is that with seed 0 and `offsets[k - 1]` more per clip."""
    run = make_run(CURVES)
    scores = run.rows[(run.rows["key"] == "quality") & (run.rows["clip"] != "")]
    scores = scores[scores["domain"] == scores["domain"].iloc[0]]
    parts = [
        scores.assign(variant=f"sample@{k}", value=scores["value"] + np.resize(offset, len(scores)))
        for k, offset in enumerate(offsets, start=1)
    ]
    manifest = {**run.manifest, "variants": VARIANTS}
    return replace(run, manifest=manifest, seeds=pd.concat(parts, ignore_index=True))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_the_deviation_is_that_of_the_means(offsets: list[float]) -> None:
    run = seeded_run(np.array(offsets)[:, None])
    (row,) = seed_table(run).itertuples()
    means = np.array([0, *offsets])
    assert (row.variant, row.n_seeds) == ("sample", 4)
    assert row.deviation == pytest.approx(means.std(ddof=1), abs=1e-9)
    assert row.highest - row.lowest == pytest.approx(np.ptp(means), abs=1e-9)


def test_a_clip_that_one_seed_lacks_is_left_out_of_all() -> None:
    run = seeded_run(np.array([[0.1], [0.2]]))
    whole = seed_table(run).iloc[0]
    assert run.seeds is not None
    broken = run.seeds.copy()
    broken.loc[broken.index[0], ["value", "status"]] = [np.nan, "failed"]
    part = seed_table(replace(run, seeds=broken)).iloc[0]
    assert part["n_clips"] == whole["n_clips"] - 1
    assert part["deviation"] == pytest.approx(whole["deviation"])
    assert part["mean"] != whole["mean"]


def test_without_further_seeds_there_is_no_spread() -> None:
    table = seed_table(make_run(CURVES))
    assert table.empty
    assert list(table.columns) == SEED_COLUMNS
