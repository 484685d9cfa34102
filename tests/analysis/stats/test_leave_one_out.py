"""Columns are what they say: the sample, and the sample without each group or listener."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_runs import make_run, row

from rdbench.analysis.aggregate import points
from rdbench.analysis.arrays import Ratings, by_domain
from rdbench.analysis.paired import paired_table
from rdbench.analysis.runs import Run
from rdbench.analysis.stats.leave_one_out import Sampling, columns_of, drawn, kbps, means
from rdbench.store.schema import COLUMNS

QUALITY = ("quality", "reference")


def test_means_and_rates_without_each_group() -> None:
    (scores,) = by_domain(make_run(count=20))
    chosen = np.arange(20) % 7 > 0
    columns = columns_of(scores, chosen, "quality")
    groups = np.unique(scores.groups[chosen])
    assert columns.groups.sum() == pytest.approx(1)
    assert len(columns.groups) == len(groups)
    found = means(scores, [0, 3], QUALITY, chosen)
    rates = kbps(scores, [0, 3], ("payload", ""), chosen, columns)
    assert found.shape == rates.shape == (2, 1 + len(groups))
    for column, group in enumerate([None, *groups]):
        kept = chosen & (scores.groups != group) if group is not None else chosen
        for at, point in enumerate((0, 3)):
            values = scores.metrics[QUALITY].values[point, kept]
            assert found[at, column] == pytest.approx(values.mean())
            bits = scores.rates["payload", ""].values[point, kept].sum()
            total = scores.seconds[point, kept].sum()
            assert rates[at, column] == pytest.approx(bits / total / 1000)
        if group is not None:
            share = (scores.groups[chosen] == group).mean()
            assert columns.groups[column - 1] == pytest.approx(share)


def test_answers_are_left_out_by_group_and_by_listener() -> None:
    (scores,) = by_domain(make_run(count=10))
    given = np.random.default_rng(0).uniform(0, 100, (len(scores.points), 4, 10))
    given[0, 1, 3] = np.nan
    scores = replace(scores, ratings={"quality": Ratings(given, ("a", "b", "c", "d"))})
    everyone = np.ones(10, dtype=bool)
    columns = columns_of(scores, everyone, "quality")
    assert columns.listeners is not None
    found = means(scores, [0], QUALITY, everyone)
    groups = int(scores.groups.max()) + 1
    assert found.shape == (1, 1 + groups + 4)
    assert found[0, 0] == pytest.approx(np.nanmean(given[0]))
    assert found[0, 1] == pytest.approx(np.nanmean(given[0][:, scores.groups != 0]))
    assert found[0, 1 + groups + 1] == pytest.approx(np.nanmean(np.delete(given[0], 1, axis=0)))
    rates = kbps(scores, [0], ("payload", ""), everyone, columns)
    np.testing.assert_allclose(rates[0, 1 + groups :], rates[0, 0])


def test_draws_are_paired_and_of_the_one_bootstrap() -> None:
    from rdbench.resampling import domain_seed, resample_weights

    (scores,) = by_domain(make_run(count=10))
    everyone = np.ones(10, dtype=bool)
    how = Sampling(resamples=50, seed=3)
    found, rates = drawn(scores, [0, 1], QUALITY, ("payload", ""), everyone, sampling=how)
    weights = resample_weights(8, resamples=50, seed=domain_seed(3, "speech"))
    clips = weights[:, scores.groups]
    values = scores.metrics[QUALITY].values[0]
    np.testing.assert_allclose(found[0], (clips @ values) / clips.sum(axis=1))
    assert rates.shape == (2, 50)
    again = drawn(scores, [0, 1], QUALITY, ("payload", ""), everyone, sampling=how)
    np.testing.assert_array_equal(found, again[0])


def many(clips: int) -> Run:
    """Two points of one system on many clips, each a group of its own."""
    rng = np.random.default_rng(0)
    first = row(system="old", curve="old", variant="codes", key="quality", kind="metric",
                unit="MOS", backend="reference")  # fmt: skip
    names = [f"c{i:05d}.wav" for i in range(clips)]
    parts = [
        pd.DataFrame([first] * clips).assign(point=point, clip=names, value=rng.normal(3, 1, clips))
        for point in ("6", "9")
    ]
    rows = pd.concat(parts, ignore_index=True)[list(COLUMNS)].astype({"value": float})
    return Run("many", rows, make_run().manifest)


def test_many_ungrouped_clips_fit_in_memory() -> None:
    """A matrix of clips by groups would take 3.2 GB."""
    run = many(20_000)
    tracemalloc.start()
    table = paired_table(run, pairs=[("old/6", "old/9")])
    points(run.rows, manifest=run.manifest)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table["n_groups"].tolist() == [20_000]
    assert np.isfinite(table["low"]).all()
    assert peak < 200e6
