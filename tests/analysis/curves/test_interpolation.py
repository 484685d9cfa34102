"""PCHIP and Akima for many curves at once agree with SciPy's, one curve at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from rdbench.analysis.curves.interpolation import spline

SCIPY = {"pchip": PchipInterpolator, "akima": Akima1DInterpolator}


def curves(points: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.05, 2.0, (points, count)), axis=0)
    y = rng.normal(0, 1, (points, count))
    y[:, ::2] = np.sort(y[:, ::2], axis=0)
    return x, y


@pytest.mark.parametrize("method", ["pchip", "akima"])
@pytest.mark.parametrize("points", [2, 3, 4, 5, 9])
def test_values_and_integrals_equal_scipys(method: str, points: int) -> None:
    x, y = curves(points, 40, seed=points)
    made = spline(x, y, method)
    share = np.random.default_rng(1).uniform(0, 1, (7, 40))
    at = x[0] + share * (x[-1] - x[0])
    low, high = np.sort(at[:2], axis=0)
    values, integrals = made(at), made.integrate(low, high)
    for i in range(40):
        expected = SCIPY[method](x[:, i], y[:, i])
        np.testing.assert_allclose(values[:, i], expected(at[:, i]), rtol=1e-10, atol=1e-12)
        integral = expected.integrate(low[i], high[i])
        assert integrals[i] == pytest.approx(float(integral), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("method", ["pchip", "akima"])
def test_level_and_straight_pieces_equal_scipys(method: str) -> None:
    x = np.arange(6.0)[:, None]
    for values in ([0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 4, 5], [0, 1, 1, 0, 2, 2], [2, 2, 2, 2, 2, 2]):
        y = np.array(values, float)[:, None]
        at = np.linspace(0, 5, 41)
        expected = SCIPY[method](x[:, 0], y[:, 0])(at)
        np.testing.assert_allclose(spline(x, y, method)(at[:, None])[:, 0], expected, atol=1e-12)


@given(
    values=st.lists(st.floats(-50, 50), min_size=3, max_size=8),
    steps=st.lists(st.floats(0.01, 10), min_size=8, max_size=8),
)
@settings(max_examples=60)
def test_pchip_stays_between_neighbours(values: list[float], steps: list[float]) -> None:
    y = np.sort(np.array(values))[:, None]
    x = np.cumsum(steps[: len(values)])[:, None]
    at = np.linspace(x[0, 0], x[-1, 0], 201)[:, None]
    found = spline(x, y, "pchip")(at)[:, 0]
    assert (np.diff(found) >= -1e-9).all()
    assert found.min() >= y.min() - 1e-9
    assert found.max() <= y.max() + 1e-9


def test_one_point_and_an_unknown_method_are_refused() -> None:
    with pytest.raises(ValueError, match="two points"):
        spline(np.ones((1, 1)), np.ones((1, 1)), "pchip")
    with pytest.raises(ValueError, match="cubic"):
        spline(np.ones((3, 1)), np.ones((3, 1)), "cubic")  # type: ignore[arg-type]
