"""Ratios agree with scipy's bootstrap, pair their estimates, and never make an interval up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rdbench.analysis.stats.bootstrap import (
    NO_VARIATION,
    ONE_GROUP,
    PERCENTILE,
    replicates,
)
from rdbench.analysis.stats.intervals import STUDENT
from rdbench.analysis.stats.ratios import FEW_GROUPS, NO_CLIP, ratio_intervals
from rdbench.resampling import resample_weights


def skewed(groups: int = 14, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Sums of a skewed score over groups of unequal size."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, groups).astype(float)
    return sizes * (1 + rng.lognormal(0, 0.8, groups)), sizes


@pytest.mark.parametrize(("method", "name"), [("bca", "BCa"), ("percentile", "percentile")])
def test_equals_scipy_on_the_same_resamples(method: str, name: str) -> None:
    numerators, denominators = skewed()
    groups = len(numerators)

    def ratio(n: np.ndarray, d: np.ndarray, axis: int = -1) -> np.ndarray:
        return n.sum(axis=axis) / d.sum(axis=axis)

    expected = stats.bootstrap(
        (numerators, denominators), ratio, paired=True, vectorized=True, method=name,
        n_resamples=2000, rng=np.random.default_rng(11),
    ).confidence_interval  # fmt: skip
    # scipy draws its indices just as `resample_weights` does, from the same generator.
    weights = resample_weights(groups, resamples=2000, seed=11)
    found = ratio_intervals(numerators[None], denominators[None], weights, method=method)
    assert found.low[0] == pytest.approx(expected.low, rel=1e-12)
    assert found.high[0] == pytest.approx(expected.high, rel=1e-12)
    assert found.notes == ("",)


def test_the_default_is_the_studentised_interval_of_its_definition() -> None:
    numerators, denominators = skewed()
    groups = len(numerators)
    weights = resample_weights(groups, resamples=500, seed=2)
    value = numerators.sum() / denominators.sum()
    left_out = (numerators.sum() - numerators) / (denominators.sum() - denominators)
    u = (groups - 1) * (left_out.mean() - left_out)
    error = np.sqrt((u**2).sum() / (groups * (groups - 1)))
    steps = []
    for drawn in weights:
        spread = np.average(u**2, weights=drawn) - np.average(u, weights=drawn) ** 2
        theta = (drawn @ numerators) / (drawn @ denominators)
        steps.append((theta - value) / np.sqrt(spread / (groups - 1)))
    upper, lower = np.quantile(steps, [0.975, 0.025])
    found = ratio_intervals(numerators[None], denominators[None], weights)
    assert found.low[0] == pytest.approx(value - upper * error, rel=1e-12)
    assert found.high[0] == pytest.approx(value - lower * error, rel=1e-12)


def test_a_rate_has_the_same_interval_in_any_unit_and_never_reaches_zero() -> None:
    bits = np.array([[100.0, 90, 110, 2000, 95, 105, 99, 130]])
    seconds = np.ones_like(bits)
    weights = resample_weights(8, seed=4)
    logarithmic = np.array([True])
    found = ratio_intervals(bits, seconds, weights, logarithmic=logarithmic)
    assert 0 < found.low[0] < found.value[0] < found.high[0]
    other = ratio_intervals(bits / 1000, seconds, weights, logarithmic=logarithmic)
    assert other.low[0] == pytest.approx(found.low[0] / 1000, rel=1e-12)
    nothing = ratio_intervals(0 * bits, seconds, weights, logarithmic=logarithmic)
    assert (nothing.low[0], nothing.high[0], nothing.notes) == (0.0, 0.0, (NO_VARIATION,))


def test_few_groups_have_students_interval_over_those_that_have_a_score() -> None:
    scores = np.array([1.0, 2.0, 4.0, 3.5])
    mean, error = scores.mean(), scores.std(ddof=1) / 2
    expected = stats.t.interval(0.95, 3, mean, error)
    weights = resample_weights(12)
    numerators, denominators = np.zeros((1, 12)), np.zeros((1, 12))
    numerators[0, [1, 5, 6, 11]], denominators[0, [1, 5, 6, 11]] = scores, 1.0
    found = ratio_intervals(numerators, denominators, weights)
    assert (found.low[0], found.high[0]) == pytest.approx(expected, rel=1e-12)
    assert found.notes == (STUDENT,)
    assert found.groups.tolist() == [4]


def test_two_groups_have_no_interval() -> None:
    weights = resample_weights(2, seed=4)
    found = ratio_intervals(np.array([[1.0, 3.0]]), np.ones((1, 2)), weights)
    assert found.value[0] == 2.0
    assert np.isnan([found.low[0], found.high[0]]).all()
    assert found.notes == (FEW_GROUPS,)


def test_bca_leans_towards_the_tail_of_a_skewed_score() -> None:
    numerators, denominators = skewed()
    weights = resample_weights(len(numerators), seed=1)
    bca = ratio_intervals(numerators[None], denominators[None], weights, method="bca")
    plain = ratio_intervals(numerators[None], denominators[None], weights, method="percentile")
    assert bca.low[0] > plain.low[0]
    assert bca.high[0] > plain.high[0]


def test_weights_are_counts_of_groups_and_repeat_with_the_seed() -> None:
    weights = resample_weights(7, resamples=300, seed=3)
    assert weights.shape == (300, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert (weights == resample_weights(7, resamples=300, seed=3)).all()
    assert (weights != resample_weights(7, resamples=300, seed=4)).any()
    assert weights.mean() == pytest.approx(1.0)


def test_replicates_of_two_systems_are_paired() -> None:
    numerators, denominators = skewed()
    weights = resample_weights(len(numerators))
    shifted = numerators + 0.25 * denominators
    drawn = replicates(np.stack([numerators, shifted]), np.stack([denominators] * 2), weights)
    np.testing.assert_allclose(drawn[1] - drawn[0], 0.25, rtol=0, atol=1e-12)


def test_degenerate_cases_have_a_reason_and_no_invented_interval() -> None:
    weights = resample_weights(4, resamples=200)
    numerators = np.array([[0, 0, 0, 0], [3.0, 0, 0, 0], [2.0, 4, 6, 2], [1.0, 2, 3, 4]])
    denominators = np.array([[0, 0, 0, 0], [1.0, 0, 0, 0], [1.0, 2, 3, 1], [1.0, 1, 1, 1]])
    found = ratio_intervals(numerators, denominators, weights)
    assert found.notes == (NO_CLIP, ONE_GROUP, NO_VARIATION, STUDENT)
    assert np.isnan(found.value[0])
    assert np.isnan([found.low[:2], found.high[:2]]).all()
    assert found.value[1] == 3.0
    assert (found.low[2], found.high[2]) == (2.0, 2.0)
    assert found.low[3] < 2.5 < found.high[3]
    assert found.groups.tolist() == [0, 1, 4, 4]


def test_one_sided_replicates_fall_back_to_percentiles_and_say_so() -> None:
    # Two resamples, both above the estimate: z0 is infinite.
    weights = np.array([[0.0, 2.0], [0.0, 2.0]])
    weights[1] = [0.5, 1.5]
    found = ratio_intervals(np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]]), weights, method="bca")
    assert found.notes == (PERCENTILE,)
    assert 2.5 <= found.low[0] <= found.high[0] <= 3.0


def test_chunks_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    numerators, denominators = rng.normal(3, 1, (9, 6)), np.ones((9, 6))
    weights = resample_weights(6, resamples=100)
    whole = ratio_intervals(numerators, denominators, weights)
    monkeypatch.setattr("rdbench.analysis.stats.ratios.CHUNK", 200)
    parts = ratio_intervals(numerators, denominators, weights)
    np.testing.assert_allclose(parts.low, whole.low, rtol=1e-12)
    np.testing.assert_allclose(parts.high, whole.high, rtol=1e-12)


@given(
    values=st.lists(st.floats(-100, 100), min_size=2, max_size=12),
    shift=st.floats(-50, 50),
    scale=st.floats(0.01, 100),
)
@settings(max_examples=60, deadline=None)
def test_moves_and_stretches_with_the_scores(
    values: list[float], shift: float, scale: float
) -> None:
    scores = np.round(np.array(values), 3)
    weights = resample_weights(len(scores), resamples=200)
    both = np.stack([scores, shift + scale * scores])
    found = ratio_intervals(both, np.ones_like(both), weights, method="percentile")
    size = 1 + np.abs(both).max()
    np.testing.assert_allclose(found.low[1], shift + scale * found.low[0], atol=1e-9 * size)
    np.testing.assert_allclose(found.high[1], shift + scale * found.high[0], atol=1e-9 * size)
    assert scores.min() - 1e-9 <= found.low[0] <= found.high[0] <= scores.max() + 1e-9
