"""Degrees of freedom: of groups of one size Student's, of others by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rdbench.analysis.stats.freedom import COMMON, FURTHEST, SIZES, covered, freedom

SPEECH = [8, 4, 3] + [1] * 28


def shares(sizes: list[float]) -> np.ndarray:
    return np.array([sizes], dtype=float) / np.sum(sizes)


@pytest.mark.parametrize("groups", [3, 8, 31, 400])
def test_groups_of_one_size_are_students_however_much_they_have_in_common(groups: int) -> None:
    assert freedom(shares([2.0] * groups))[0] == groups - 1
    np.testing.assert_allclose(covered([1 / groups], [groups], groups - 1), 0.95, atol=1e-9)


@pytest.mark.parametrize("sizes", [SPEECH, [5, 1, 1, 1, 1, 1, 1, 1], [20] + [1] * 30])
def test_the_coverage_of_normal_scores_is_that_of_a_simulation(sizes: list[float]) -> None:
    h = shares(sizes)[0]
    rng, draws = np.random.default_rng(0), 40_000
    distinct, counts = np.unique(h, return_counts=True)
    found = covered(distinct.tolist(), counts.tolist(), 6.0)
    for common, expected in zip(COMMON, found, strict=True):
        variance = (1 - common) / h + common / (h**2).sum()
        means = np.sqrt(variance) * rng.standard_normal((draws, len(h)))
        value = means @ h
        error = np.sqrt(((h * (means - value[:, None])) ** 2 / (1 - h)).sum(axis=1))
        held = (np.abs(value / error) < stats.t.ppf(0.975, 6.0)).mean()
        assert held == pytest.approx(expected, abs=0.0045)  # four standard errors


def test_what_is_too_much_for_some_is_as_much_too_little_for_others() -> None:
    found = freedom(shares(SPEECH))[0]
    distinct, counts = np.unique(shares(SPEECH)[0], return_counts=True)
    held = covered(distinct.tolist(), counts.tolist(), found)
    assert held.max() - 0.95 == pytest.approx(0.95 - held.min(), abs=1e-5)
    assert 0.004 < held.max() - 0.95 < 0.007
    assert 12 < found < 13.5


@pytest.mark.parametrize(
    ("sizes", "given"),
    [
        ([1, 1], False), ([1, 1, 1], True), ([3, 1, 1], False), ([20] + [1] * 30, True),
        ([30] + [1] * 30, False), ([133] + [1] * 199, False), ([50] + [1] * 199, True),
        ([1], False),
    ],
)  # fmt: skip
def test_there_are_none_where_groups_are_too_few_or_too_unequal(
    sizes: list[float], given: bool
) -> None:
    assert (freedom(shares(sizes))[0] > 0) == given


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=3, max_size=30))
def test_there_are_never_more_than_groups_less_one_and_order_says_nothing(sizes: list[int]) -> None:
    found = freedom(shares(sizes))[0]
    assert found <= len(sizes) - 1
    assert freedom(shares([*sizes[::-1], 0, 0]))[0] == found
    if found:
        distinct, counts = np.unique(np.round(shares(sizes)[0], 9), return_counts=True)
        held = covered(distinct.tolist(), counts.tolist(), found)
        assert np.abs(held - 0.95).max() < FURTHEST + 1e-4


def test_many_different_sizes_are_put_together_without_harm() -> None:
    seconds = np.random.default_rng(1).uniform(2, 10, 120)
    assert len(seconds) > 2 * SIZES
    found = freedom(shares(list(seconds)))[0]
    alone = shares(list(seconds))[0]
    held = covered(alone.tolist(), [1] * len(alone), found)
    assert held.max() - 0.95 == pytest.approx(0.95 - held.min(), abs=1e-4)
