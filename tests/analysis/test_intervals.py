"""Studentised intervals: the textbook's, and an answer for every degenerate sample."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rdbench.analysis.stats.bootstrap import NO_VARIATION, ONE_GROUP
from rdbench.analysis.stats.intervals import Factor, influences, intervals, standard_error
from rdbench.resampling import resample_weights


def mean_of(sample: np.ndarray, resamples: int = 4000, seed: int = 0):
    size = len(sample)
    weights = resample_weights(size, resamples=resamples, seed=seed)
    left = (sample.sum() - sample) / (size - 1)
    drawn = weights @ sample / size
    return sample.mean()[None], drawn[None], [Factor(weights, influences(left[None]))]


def test_the_error_of_a_mean_is_that_of_the_textbook() -> None:
    sample = np.random.default_rng(0).exponential(2.0, 23)
    _, _, factors = mean_of(sample)
    assert standard_error(factors)[0] == pytest.approx(stats.sem(sample), rel=1e-12)


def test_equals_the_bootstrap_t_written_out() -> None:
    sample = np.random.default_rng(1).exponential(2.0, 20)
    value, drawn, factors = mean_of(sample)
    found = intervals(value, drawn, factors)
    weights = factors[0].weights
    steps = []
    for row in weights:
        again = np.repeat(sample, row.astype(int))
        error = again.std(ddof=0) / np.sqrt(len(sample) - 1)
        steps.append((again.mean() - sample.mean()) / error)
    high, low = np.quantile(steps, [0.025, 0.975])
    error = stats.sem(sample)
    assert found.low[0] == pytest.approx(sample.mean() - low * error, rel=1e-9)
    assert found.high[0] == pytest.approx(sample.mean() - high * error, rel=1e-9)


def test_near_the_t_interval_for_normal_scores() -> None:
    sample = np.random.default_rng(2).normal(0, 1, 40)
    found = intervals(*mean_of(sample, resamples=20000))
    low, high = stats.t.interval(0.95, 39, sample.mean(), stats.sem(sample))
    assert found.low[0] == pytest.approx(low, abs=0.04)
    assert found.high[0] == pytest.approx(high, abs=0.04)


def test_leans_towards_the_tail_of_skewed_scores() -> None:
    sample = np.random.default_rng(3).lognormal(0, 1, 25)
    value, drawn, factors = mean_of(sample)
    student = intervals(value, drawn, factors)
    plain = intervals(value, drawn, factors, method="percentile")
    assert student.high[0] - value[0] > value[0] - student.low[0]
    assert student.high[0] > plain.high[0]


def test_degenerate_samples_have_a_note_and_no_invented_interval() -> None:
    same = intervals(*mean_of(np.full(6, 2.0), resamples=200))
    assert (same.low[0], same.high[0]) == (2.0, 2.0)
    assert same.notes == (NO_VARIATION,)
    lone = intervals(np.array([3.0]), np.full((1, 50), 3.0),
                     [Factor(np.ones((50, 1)), np.full((1, 1), np.nan))])  # fmt: skip
    assert np.isnan([lone.low[0], lone.high[0]]).all()
    assert lone.notes == (ONE_GROUP,)
    value, drawn, factors = mean_of(np.random.default_rng(0).normal(0, 1, 10), resamples=200)
    drawn[0, :30] = np.nan
    lost = intervals(value, drawn, factors)
    assert np.isnan(lost.low[0])
    assert "15 % of the resamples" in lost.notes[0]


def test_two_sources_of_uncertainty_add() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(0, 1, 15), rng.normal(0, 2, 12)
    _, drawn_one, (one,) = mean_of(first)
    _, drawn_two, (two,) = mean_of(second, seed=1)
    value = np.array([first.mean() + second.mean()])
    both = intervals(value, drawn_one + drawn_two, [one, two])
    expected = np.hypot(stats.sem(first), stats.sem(second))
    assert both.error[0] == pytest.approx(expected, rel=1e-12)
    assert both.low[0] < value[0] < both.high[0]


def test_confidence_must_be_a_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        intervals(*mean_of(np.arange(5.0), resamples=100), confidence=95)
