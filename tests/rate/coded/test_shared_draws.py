"""What both ends draw: the same in any process, uniform and normal as said."""

from __future__ import annotations

import numpy as np
from scipy import stats

from rdbench.rate.coded.shared import Purpose, normals, uniforms


def test_the_numbers_of_a_seed_are_pinned() -> None:
    drawn = uniforms(7, Purpose.DITHER, 2, 2)
    pinned = [0.8824668302545412, 0.3690383346754841, 0.5170696944527114, 0.331789750772001]
    expected = np.random.Philox(key=np.array([7, 1], np.uint64)).random_raw(4) >> np.uint64(12)
    np.testing.assert_array_equal(drawn.ravel(), (expected + 0.5) / 2**52)
    np.testing.assert_allclose(drawn.ravel(), pinned, rtol=0, atol=1e-15)


def test_seeds_and_purposes_have_numbers_of_their_own() -> None:
    drawn = [tuple(uniforms(seed, purpose, 3)) for seed in (0, 1, 2**63 - 1) for purpose in Purpose]
    assert len(set(drawn)) == len(drawn)


def test_uniforms_and_normals_are_what_they_are_called() -> None:
    drawn = uniforms(3, Purpose.FILL, 200, 100)
    assert drawn.min() > 0.0
    assert drawn.max() < 1.0
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-3
    assert stats.kstest(normals(3, Purpose.FILL, 200, 100).ravel(), "norm").pvalue > 1e-3
