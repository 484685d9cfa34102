"""The trellis: nearest of all allowed sequences, and as near to a ball as its code should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbench.rate.coded.trellis import STATES_256, UNIFORM, Trellis

STATES_4 = Trellis(2, (0o5, 0o2), 0.0)


def allowed(trellis: Trellis, times: int, state: int = 0) -> list[list[int]]:
    """Every allowed sequence of points from −5 to 5 from a state on."""
    if times == 0:
        return [[]]
    odd = int(trellis.parity(np.array([state]))[0])
    return [
        [point, *rest]
        for point in range(-5, 6)
        if point & 1 == odd
        for rest in allowed(trellis, times - 1, int(trellis.following[state, (point >> 1) & 1]))
    ]


@pytest.mark.parametrize("trellis", [STATES_4, STATES_256])
def test_every_state_has_two_ways_in_and_two_out(trellis: Trellis) -> None:
    into = np.bincount(trellis.following.ravel(), minlength=1 << trellis.memory)
    assert (into == 2).all()
    assert (trellis.following[:, 0] != trellis.following[:, 1]).all()


@given(st.lists(st.floats(-2.9, 2.9), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_the_sequence_found_is_the_nearest_allowed_one(values: list[float]) -> None:
    x, every = np.array(values), np.array(allowed(STATES_4, len(values)))
    points, parities = STATES_4.quantize(x[None], np.ones((1, len(x)), bool))
    assert points[0].tolist() in every.tolist()
    np.testing.assert_array_equal(parities[0], points[0] & 1)
    best = np.square(every - x).sum(axis=1).min()
    assert np.square(points[0] - x).sum() == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(("trellis", "tolerance"), [(UNIFORM, 0.01), (STATES_256, 0.01)])
def test_the_mean_square_error_is_the_one_stated(trellis: Trellis, tolerance: float) -> None:
    x = np.random.default_rng(1).uniform(-100, 100, (20, 2000))
    points, _ = trellis.quantize(x, np.ones(x.shape, bool))
    error = (points - x)[:, 50:-50]  # rows begin in one state and end in any
    assert np.square(error).mean() / 4.0 == pytest.approx(trellis.moment, rel=tolerance)


def test_what_is_not_used_is_skipped_and_left_zero() -> None:
    x = np.random.default_rng(2).uniform(-9, 9, (2, 60))
    used = np.random.default_rng(3).random((2, 60)) < 0.5
    points, parities = STATES_256.quantize(x, used)
    assert not points[~used].any()
    assert not parities[~used].any()
    for row in range(2):
        alone, _ = STATES_256.quantize(
            x[row : row + 1, used[row]], np.ones((1, used[row].sum()), bool)
        )
        np.testing.assert_array_equal(points[row, used[row]], alone[0])
