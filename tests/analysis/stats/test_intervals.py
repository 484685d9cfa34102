"""Intervals: the textbook's for equal groups, their definition for unequal ones, and coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from scipy import linalg, stats

from rdbench.analysis.stats.intervals import (
    FEW,
    NO_CLIP,
    NO_VARIATION,
    NOTHING_VARIES,
    ONE_GROUP,
    UNDEFINED,
    UNEQUAL,
    Spread,
    added,
    intervals,
    p_above,
    p_two_sided,
    spread,
)

UNEQUAL_SIZES = np.array([8, 4, 3] + [1] * 28)


def of_means(sums: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, Spread]:
    """Means over clips and their spread; sums per group (samples, groups)."""
    total = sums.sum(axis=1, keepdims=True)
    left_out = (total - sums) / (sizes.sum() - sizes)
    value = total[:, 0] / sizes.sum()
    return value, spread(value, left_out, sizes / sizes.sum())


def of_one(sample: np.ndarray) -> tuple[np.ndarray, Spread]:
    return of_means(sample[None], np.ones(len(sample)))


def transformed(t: float, given: Spread) -> float:
    a = given.lean[0]
    return float(t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6)


def test_equal_groups_have_the_textbooks_error_and_freedom() -> None:
    sample = np.random.default_rng(0).exponential(2.0, 23)
    _, given = of_one(sample)
    assert given.error[0] == pytest.approx(stats.sem(sample), rel=1e-12)
    assert given.freedom[0] == pytest.approx(22 * 22 / 23)  # a share of them for the skewness
    expected = stats.skew(sample, bias=False) / np.sqrt(23) * (1 + 60 / 23**2)
    assert given.lean[0] == pytest.approx(expected, rel=1e-12)


def test_unequal_groups_have_cr2_written_out() -> None:
    rng = np.random.default_rng(1)
    sizes = np.array([6, 3, 2, 1, 1, 1, 1])
    group = np.repeat(np.arange(len(sizes)), sizes)
    scores = rng.normal(0, 1, len(sizes))[group] + rng.normal(0, 1, len(group))
    clips = len(group)
    residual = np.eye(clips) - 1 / clips
    rows = []
    for g in range(len(sizes)):
        own = np.flatnonzero(group == g)
        adjusted = linalg.inv(linalg.sqrtm(residual[np.ix_(own, own)]).real)
        rows.append(np.ones(len(own)) / clips @ adjusted @ residual[own])
    made = np.array(rows)
    variance = ((made @ scores) ** 2).sum()
    sums = np.bincount(group, weights=scores)
    _, given = of_means(sums[None], sizes)
    assert given.error[0] == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_the_interval_holds_what_the_transformed_t_does_not_reject() -> None:
    sample = np.random.default_rng(9).lognormal(0, 0.5, 25)
    value, given = of_one(sample)
    found = intervals(value, given, confidence=0.9)
    reach = stats.t.ppf(0.95, 24 * 24 / 25)
    for end, expected in ((found.low[0], reach), (found.high[0], -reach)):
        t = (value[0] - end) / given.error[0]
        assert transformed(t, given) == pytest.approx(expected, rel=1e-9)
    # It leans towards the long tail.
    assert found.high[0] - value[0] > 1.2 * (value[0] - found.low[0])


@pytest.mark.parametrize("far", [5.0, 50.0, 5000.0])
def test_one_group_that_lies_far_off_does_not_throw_an_end_away(far: float) -> None:
    """An estimated skewness bends an interval, to less than twice Student's."""
    sample = np.append(np.random.default_rng(3).normal(0, 1, 30), -far)
    value, given = of_one(sample)
    found = intervals(value, given)
    students = stats.t.ppf(0.975, 30 * 30 / 31) * given.error[0]
    assert 0.5 * students < found.high[0] - value[0] <= value[0] - found.low[0] < 2 * students


def test_symmetric_scores_have_students_interval() -> None:
    half = np.random.default_rng(2).normal(0, 1, 20)
    sample = np.concatenate([half, -half])
    found = intervals(*of_one(sample))
    low, high = stats.t.interval(0.95, 39 * 39 / 40, sample.mean(), stats.sem(sample))
    assert (found.low[0], found.high[0]) == pytest.approx((low, high), rel=1e-9)


def test_a_p_value_is_the_larger_of_students_and_the_transformed() -> None:
    sample = np.random.default_rng(4).lognormal(0, 0.4, 12)
    value, given = of_one(sample)
    freedom = 11 * 11 / 12
    for truth in (0.7, 0.9, 1.1, 1.3, 1.5):
        distance = value - truth
        t = distance[0] / given.error[0]
        assert given.lean[0] * t > -1.5  # where the transformation is as steep as it is taken
        either = (t, transformed(t, given))
        one = max(stats.t.sf(x, freedom) for x in either)
        assert p_above(distance, given)[0] == pytest.approx(one, rel=1e-9)
        both = max(stats.t.sf(x, freedom) if t > 0 else stats.t.cdf(x, freedom) for x in either)
        assert p_two_sided(distance, given)[0] == pytest.approx(min(1, 2 * both), rel=1e-9)


@settings(max_examples=300)
@drawn(
    t=st.floats(0.05, 40),
    lean=st.floats(-4, 4),
    freedom=st.floats(1.2, 400),
    confidence=st.floats(0.5, 0.9999),
)
def test_the_interval_holds_0_where_the_p_value_is_above_its_level(
    t: float, lean: float, freedom: float, confidence: float
) -> None:
    """However skewed: where T is taken no further, the test stops where the interval does."""
    one = np.ones(1)
    given = Spread(one, freedom * one, lean * one, np.array([9]), np.array([False]))
    found = intervals(t * one, given, confidence=confidence)
    p = p_two_sided(t * one, given)[0]
    if p < 1 - confidence - 1e-9:
        assert found.low[0] > 0
    plain = replace(given, lean=0 * one)  # a p-value is never below Student's
    if found.low[0] > 1e-9 and p_two_sided(t * one, plain)[0] < 1 - confidence - 1e-9:
        assert p < 1 - confidence + 1e-9


def test_what_an_interval_holds_is_never_significant() -> None:
    rng = np.random.default_rng(5)
    sums = rng.lognormal(0, 1, (400, 31)) * UNEQUAL_SIZES - 1.4 * UNEQUAL_SIZES
    value, given = of_means(sums, UNEQUAL_SIZES)
    found = intervals(value, given)
    held = (found.low <= 0) & (found.high >= 0)
    assert 50 < held.sum() < 400
    assert (p_two_sided(value, given)[held] >= 0.05 - 1e-12).all()


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("within", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(
    "sizes", [UNEQUAL_SIZES, np.array([5, 2, 2] + [1] * 15), np.array([20] + [1] * 30)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    sizes: np.ndarray, within: float, skewed: bool
) -> None:
    """Where the studentised bootstrap, which was here before, held it in 81 to 89 %."""
    rng = np.random.default_rng(6)
    draws = 4000

    def effect(shape: tuple[int, ...]) -> np.ndarray:
        if not skewed:
            return rng.standard_normal(shape)
        raw = rng.lognormal(0, 0.6, shape)
        return (raw - np.exp(0.18)) / np.sqrt((np.exp(0.36) - 1) * np.exp(0.36))

    own = np.add.reduceat(effect((draws, sizes.sum())), np.cumsum([0, *sizes[:-1]]), axis=1)
    sums = np.sqrt(within) * sizes * effect((draws, len(sizes))) + np.sqrt(1 - within) * own
    found = intervals(*of_means(sums, sizes))
    share = ((found.low <= 0) & (found.high >= 0)).mean()
    # Three standard errors of a share of 4,000 around 93 … 97 %.
    assert 0.93 - 0.012 < share < 0.97 + 0.008


def test_degenerate_samples_have_a_note_and_no_invented_interval() -> None:
    constant = of_one(np.full(9, 2.0))
    same = intervals(*constant)
    assert (str(same.low[0]), str(same.high[0]), same.notes) == ("nan", "nan", (NOTHING_VARIES,))
    same = intervals(*constant, certain=True)
    assert (same.low[0], same.high[0], same.notes) == (2.0, 2.0, (NO_VARIATION,))
    for sizes, note in (
        ([1.0], ONE_GROUP), ([1, 1], UNEQUAL), ([30, 1, 1, 1], UNEQUAL), ([1, 1, 1], FEW),
        ([1] * 7, FEW), ([1] * 8, ""), ([3, 2, 1, 1, 1], FEW), ([133] + [1] * 199, UNEQUAL),
    ):  # fmt: skip
        sums = np.random.default_rng(0).normal(3, 1, (1, len(sizes))) * sizes
        value, given = of_means(sums, np.array(sizes, dtype=float))
        found = intervals(value, given)
        assert found.notes == (note,), sizes
        refused = note in (ONE_GROUP, UNEQUAL)
        assert np.isnan([found.low[0], found.high[0]]).all() == refused
        assert np.isnan(p_above(value, given)[0]) == refused
    nothing = intervals(np.array([np.nan]), spread(np.array([np.nan]), np.full((1, 3), np.nan),
                                                   np.zeros(3)))  # fmt: skip
    assert nothing.notes == (NO_CLIP,)
    left_out = np.array([[1.0, np.nan, 2.0, 3.0, 2.0]])
    lost = intervals(np.array([2.0]), spread(np.array([2.0]), left_out, np.full(5, 0.2)))
    assert np.isnan(lost.low[0])
    assert lost.notes == (UNDEFINED,)


def test_a_group_without_a_say_changes_nothing() -> None:
    sample = np.random.default_rng(7).exponential(1.0, 9)
    value, given = of_one(sample)
    left_out = np.full((1, 12), np.nan)
    left_out[0, 1:10] = (sample.sum() - sample) / 8
    share = np.zeros((1, 12))
    share[0, 1:10] = 1 / 9
    wider = spread(value, left_out, share)
    for one, other in zip(vars(given).values(), vars(wider).values(), strict=True):
        np.testing.assert_allclose(one, other)


def test_two_sources_of_uncertainty_add() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(0, 1, 15), rng.normal(0, 2, 12)
    (_, one), (_, two) = of_one(first), of_one(second)
    both = added([one, two])
    variances = np.array([stats.sem(first), stats.sem(second)]) ** 2
    assert both.error[0] == pytest.approx(np.sqrt(variances.sum()), rel=1e-12)
    own = np.array([14 * 14 / 15, 11 * 11 / 12])
    freedom = variances.sum() ** 2 / (variances**2 / own).sum()
    assert both.freedom[0] == pytest.approx(freedom, rel=1e-12)
    assert both.groups[0] == 12
    still = replace(one, error=np.zeros(1), still=np.array([True]), lean=np.zeros(1))
    alone = added([still, two])
    assert alone.freedom[0] == pytest.approx(own[1])
    assert not alone.still[0]


def test_without_spread_the_answer_is_certain_where_it_is_so_by_nature_and_else_none() -> None:
    """Scores of few values are alike in all groups by chance: 0.1 nine times of ten, else −0.9."""
    _, given = of_one(np.full(9, 0.5))
    for test, sign in ((p_above, 1), (p_two_sided, -1)):
        assert test(np.array([sign * 0.5]), given, certain=True)[0] == 0.0
        assert np.isnan(test(np.array([sign * 0.5]), given)[0])
        assert test(np.array([0.0]), given)[0] == 1.0
    assert p_above(np.array([-0.5]), given)[0] == 1.0


def test_rounding_is_of_the_size_of_what_is_subtracted() -> None:
    scores = 3 + np.array([1e-14, 2e-14, 0, 1e-14, 3e-14, 0, 2e-14, 1e-14, 0])
    left_out = (scores.sum() - scores) / 8 - 3
    share = np.full(9, 1 / 9)
    value = np.array([scores.mean() - 3])
    assert not spread(value, left_out[None], share).still[0]
    assert spread(value, left_out[None], share, size=3.0).still[0]


def test_confidence_must_be_a_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        intervals(*of_one(np.arange(5.0)), confidence=95)
