"""Isotonic repair equals SciPy's, touches nothing that rises, and merges what is level."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from rdbench.analysis.curves.monotone import in_order, isotonic, merged, rises


@given(st.lists(st.lists(st.floats(-9, 9), min_size=6, max_size=6), min_size=1, max_size=5))
@settings(max_examples=60)
def test_equals_scipys_isotonic_regression(columns: list[list[float]]) -> None:
    values = np.round(np.array(columns).T, 3)
    found = isotonic(values)
    for i in range(values.shape[1]):
        np.testing.assert_allclose(found[:, i], isotonic_regression(values[:, i]).x, atol=1e-9)


def test_a_rising_curve_is_returned_as_it_is() -> None:
    values = np.array([[1.0, 2.0], [3.0, 2.5], [4.0, 9.0]])
    assert isotonic(values) is values


def test_points_are_put_in_order_of_rate_in_every_column() -> None:
    rate = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    quality = np.array([[30.0, 10.0], [10.0, 20.0], [20.0, 30.0]])
    ordered_rate, ordered_quality = in_order(rate, quality)
    np.testing.assert_array_equal(ordered_rate, [[1, 1], [2, 2], [3, 3]])
    np.testing.assert_array_equal(ordered_quality, [[10, 10], [20, 20], [30, 30]])


def test_a_level_block_becomes_one_point_at_its_mean() -> None:
    level = np.array([[1.0], [2.0], [2.0], [2.0], [5.0]])
    starts = rises(level)[:, 0]
    assert starts.tolist() == [True, True, False, False, True]
    rates = np.array([[0.0], [1.0], [2.0], [6.0], [7.0]])
    np.testing.assert_allclose(merged(rates, starts)[:, 0], [0.0, 3.0, 7.0])
