"""The oracles hold, and would not if rates were counted wrongly."""

from __future__ import annotations

import numpy as np
import pytest

from rdbench.rate import kl
from rdbench.rate.oracles import LEVELS, ORACLES, SPECTRUM, curve, gaussian_checks, water_filling


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.__name__)
def test_the_oracle_holds(oracle) -> None:  # type: ignore[no-untyped-def]
    for check in oracle():
        assert check.measured == pytest.approx(check.expected, abs=check.tolerance), check
        assert check.passed, check


def test_ten_rates_and_the_mean_decode_below_the_curve() -> None:
    assert len(LEVELS) == 10
    for level in LEVELS[::3]:
        point = water_filling(float(level))
        assert point.mean_distortion < 0.9 * point.distortion


def test_water_filling_of_one_component_is_shannons_formula() -> None:
    assert curve(np.array([4.0]), 0.25) == (2.0, 0.25)
    assert curve(np.array([4.0]), 5.0) == (0.0, 4.0)
    assert curve(SPECTRUM, 1e-9)[0] > curve(SPECTRUM, 1e-6)[0]


def test_a_kl_without_its_half_fails_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    true = kl.kl_bits
    monkeypatch.setattr(kl, "kl_bits", lambda posterior: 2 * true(posterior))
    assert not all(check.passed for check in gaussian_checks())
