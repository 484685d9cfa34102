"""The kernel distance against its sums by hand, its closed form, and what it is not biased by."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.metrics.sets.kernel import MOST_WINDOWS, Kernel, kernel_sums, median_distance

Array = np.ndarray


def drawn(seed: int, *shape: int, offset: float = 0.0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape) + offset


def by_hand(references: list[Array], reconstructions: list[Array]) -> float:
    """Means over pairs of windows of two different groups, one pair after the other."""
    width = median_distance(np.concatenate(references))

    def mean(first: list[Array], second: list[Array]) -> float:
        found = [
            math.exp(-float(np.square(a - b).sum()) / (2 * width**2))
            for i, one in enumerate(first)
            for j, other in enumerate(second)
            if i != j
            for a in one
            for b in other
        ]
        return float(np.mean(found))

    within = mean(references, references) + mean(reconstructions, reconstructions)
    return 100 * (within - 2 * mean(references, reconstructions))


def test_it_is_its_sums_by_hand() -> None:
    sides = [[drawn(s + i, n, 3, offset=s) for i, n in enumerate((4, 2, 5))] for s in (0, 1)]
    found = Kernel().distance(reference=sides[0], reconstruction=sides[1])(np.ones((1, 3)))
    assert found[0] == pytest.approx(by_hand(*sides), rel=1e-9)


def test_weights_are_groups_that_are_left_out_or_counted_twice() -> None:
    sides = [[drawn(s + i, 4, 2, offset=s) for i in range(4)] for s in (0, 1)]
    metric = Kernel()
    found = metric.distance(reference=sides[0], reconstruction=sides[1])
    width = median_distance(np.concatenate(sides[0]))
    sums = [kernel_sums(a, b, width) for a, b in (sides[:1] * 2, sides[1:] * 2, sides)]
    weights = np.array([1.0, 0, 2, 1])
    pairs = np.outer(weights, weights) * (1 - np.eye(4))
    own, other, shared = ((pairs * one).sum() / (16 * pairs.sum()) for one in sums)
    assert found(weights[None])[0] == pytest.approx(100 * (own + other - 2 * shared), rel=1e-9)
    assert math.isnan(found(np.array([[0.0, 0, 3, 0]]))[0])


def test_references_themselves_are_at_no_distance() -> None:
    side = [drawn(i, 5, 3) for i in range(6)]
    found = Kernel().distance(reference=side, reconstruction=side)(np.ones((1, 6)))
    assert found[0] == pytest.approx(0.0, abs=1e-9)


def test_it_tends_to_the_closed_form_between_gaussians() -> None:
    """E k of N(0, I) and N(m, I) is (1 + 2/σ²)^(-d/2) exp(-|m|²/(2 (σ² + 2)))."""
    d, m = 3, 0.8
    sides = [[drawn(s, 3000, 1, d, offset=s * m)[i] for i in range(3000)] for s in (0, 1)]
    width = median_distance(np.concatenate(sides[0]))
    within = (1 + 2 / width**2) ** (-d / 2)
    between = within * math.exp(-d * m * m / (2 * (width**2 + 2)))
    found = Kernel().distance(reference=sides[0], reconstruction=sides[1])(np.ones((1, 3000)))
    assert found[0] == pytest.approx(100 * 2 * (within - between), rel=0.06)


def test_few_clips_and_likeness_within_a_clip_do_not_bias_it() -> None:
    values = []
    for seed in range(300):
        each = [drawn(2 * seed + s, 6, 1, 4) + drawn(900_000 + seed, 6, 3, 4) * 0.1 for s in (0, 1)]
        made = Kernel().distance(reference=list(each[0]), reconstruction=list(each[1]))
        values.append(float(made(np.ones((1, 6)))[0]))
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


def test_against_a_fixed_reference_all_pairs_between_the_sets_count() -> None:
    reference = [drawn(i, 3, 2) for i in range(7)]
    reconstruction = [drawn(50 + i, 4, 2, offset=1.0) for i in range(3)]
    made = Kernel(fixed_reference=True).distance(reference=reference, reconstruction=reconstruction)
    width = median_distance(np.concatenate(reference))
    shared = kernel_sums(reference, reconstruction, width).sum() / (21 * 12)
    own, other = (
        (one * (1 - np.eye(len(one)))).sum() / (size**2 * len(one) * (len(one) - 1))
        for one, size in (
            (kernel_sums(reference, reference, width), 3),
            (kernel_sums(reconstruction, reconstruction, width), 4),
        )
    )
    assert made(np.ones((1, 3)))[0] == pytest.approx(100 * (own + other - 2 * shared), rel=1e-9)


def test_long_clips_count_with_windows_that_are_spread_over_them() -> None:
    clip = np.arange(1000, dtype=np.float32)[:, None]
    kept = Kernel().summary([clip, clip[:5]])
    assert len(kept) == MOST_WINDOWS + 5
    assert kept[0, 0] == 0
    assert kept[MOST_WINDOWS - 1, 0] == 999


def test_windows_that_are_all_the_same_have_a_kernel_too() -> None:
    side = [np.ones((2, 3)) for _ in range(3)]
    found = Kernel().distance(reference=side, reconstruction=side)(np.ones((1, 3)))
    assert found[0] == pytest.approx(0.0, abs=1e-12)
