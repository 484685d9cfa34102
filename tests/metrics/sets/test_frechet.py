"""The Fréchet distance against its closed form, and its features against levels that are known."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rdbench.metrics.base import SetBackend
from rdbench.metrics.registry import backend, definition
from rdbench.metrics.sets.frechet import (
    Extrapolated,
    Frechet,
    Moments,
    frechet_distance,
    gaussian_distance,
)
from rdbench.metrics.sets.logmel import BANDS
from rdbench.types import AudioBatch

Array = npt.NDArray[np.float64]
D = 6


def gaussian(seed: int, rank: int = D) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    factor = generator.standard_normal((D, rank))
    return 3 * generator.standard_normal(D), factor @ factor.T


def windows(seed: int, count: int, offset: float = 0.0) -> npt.NDArray[np.float32]:
    mean, covariance = gaussian(seed)
    drawn = np.random.default_rng(seed).multivariate_normal(mean + offset, covariance, count)
    return drawn.astype(np.float32)


def one(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    return gaussian_distance(first, second)


def groups(seed: int, offset: float = 0.0) -> list[Moments]:
    sizes = (40, 3, 17, 90)
    return [Moments.of([windows(seed + i, n, offset)]) for i, n in enumerate(sizes)]


def test_covariances_that_commute_have_the_distance_of_their_standard_deviations() -> None:
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((D, D)))[0]
    first, second = np.array([1.0, 4, 9, 0, 2, 3]), np.array([4.0, 4, 1, 5, 0, 0.5])
    sides = [(np.zeros(D), rotation @ np.diag(v) @ rotation.T) for v in (first, second)]
    expected = np.square(np.sqrt(first) - np.sqrt(second)).sum()
    assert one(*sides) == pytest.approx(expected, rel=1e-12)
    apart = (sides[0][0] + 2.0, sides[0][1])
    assert one(apart, sides[1]) == pytest.approx(expected + 4 * D, rel=1e-12)


def test_it_is_that_of_a_matrix_root_where_covariances_do_not_commute() -> None:
    from scipy.linalg import sqrtm

    (mean, cov), (other, other_cov) = gaussian(2), gaussian(3)
    shared = np.trace(sqrtm(cov @ other_cov)).real
    expected = np.square(mean - other).sum() + np.trace(cov) + np.trace(other_cov) - 2 * shared
    assert one((mean, cov), (other, other_cov)) == pytest.approx(expected, rel=1e-9)
    assert one((other, other_cov), (mean, cov)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ranks", [(0, 0), (0, D), (1, 3), (2, D)])
def test_sets_of_fewer_windows_than_dimensions_have_a_distance(ranks: tuple[int, int]) -> None:
    first, second = (gaussian(5 + i, rank) for i, rank in enumerate(ranks))
    there, back = one(first, second), one(second, first)
    assert math.isfinite(there)
    assert there >= np.square(first[0] - second[0]).sum() * (1 - 1e-12)
    assert there == pytest.approx(back, rel=1e-9)
    assert one(first, first) == pytest.approx(0.0, abs=1e-12 * max(1.0, np.trace(first[1])))


def test_moments_of_groups_add_up_to_those_of_all_windows() -> None:
    parts = [windows(7, 30, 900.0), windows(8, 2, 900.0), windows(9, 41, 900.0)]
    other = [windows(17, 30), windows(18, 2), windows(19, 41)]
    metric = Frechet()
    distance = metric.distance(
        reference=[metric.summary([part]) for part in parts],
        reconstruction=[metric.summary([part]) for part in other],
    )
    whole = [np.concatenate(side).astype(np.float64) for side in (parts, other)]
    expected = one(*[(side.mean(0), np.cov(side.T)) for side in whole])
    assert distance(np.ones((1, 3)))[0] == pytest.approx(expected, rel=1e-9)


def test_samples_of_two_gaussians_tend_to_their_distance() -> None:
    metric = Frechet()
    sides = [[metric.summary([windows(seed, 200_000)])] for seed in (2, 3)]
    found = metric.distance(reference=sides[0], reconstruction=sides[1])(np.ones((1, 1)))[0]
    assert found == pytest.approx(one(gaussian(2), gaussian(3)), rel=0.02)


def test_replicates_equal_a_loop_over_the_windows_drawn() -> None:
    parts = [windows(20 + i, n) for i, n in enumerate((40, 3, 17, 90))]
    other = [windows(40 + i, n) for i, n in enumerate((40, 3, 17, 90))]
    metric = Frechet()
    distance = metric.distance(
        reference=[metric.summary([part]) for part in parts],
        reconstruction=[metric.summary([part]) for part in other],
    )
    weights = np.random.default_rng(0).integers(0, 3, (12, 4)).astype(np.float64)
    weights[0] = [0, 2, 0, 1]
    weights[weights.sum(1) == 0] = 1
    expected = []
    for row in weights.astype(int):
        drawn = [
            np.concatenate([np.repeat(p, n, axis=0) for p, n in zip(side, row, strict=True)])
            for side in (parts, other)
        ]
        expected.append(one(*[(s.mean(0, np.float64), np.cov(s.T.astype(float))) for s in drawn]))
    np.testing.assert_allclose(distance(weights), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("sizes", "dimensions"), [((1,) * 12, 40), ((3, 2, 1, 4), 8), ((9,) * 5, 7)]
)
def test_every_way_to_a_factor_gives_the_distance_of_the_covariances(
    sizes: tuple[int, ...], dimensions: int
) -> None:
    """Fewer windows than dimensions, some more, and many; also under weights that leave few."""
    generator = np.random.default_rng(4)
    sides = [[generator.normal(side, 1 + side, (n, dimensions)) for n in sizes] for side in (0, 1)]
    metric = Frechet()
    first, second = ([metric.summary([part]) for part in side] for side in sides)
    weights = generator.multinomial(len(sizes), [1 / len(sizes)] * len(sizes), size=4).astype(float)
    found = metric.distance(reference=first, reconstruction=second)(weights)
    expected = [
        one(*[(s.mean(0), np.cov(s.T)) for s in (_drawn(side, row) for side in sides)])
        for row in weights.astype(int)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    whole = [np.concatenate(side) for side in sides]
    joined = frechet_distance(reference=sides[0], reconstruction=sides[1])
    assert joined == pytest.approx(one(*[(s.mean(0), np.cov(s.T)) for s in whole]), rel=1e-9)


def _drawn(side: list[Array], counts: Array) -> Array:
    return np.concatenate([np.repeat(p, n, axis=0) for p, n in zip(side, counts, strict=True)])


def test_under_two_windows_there_is_no_covariance() -> None:
    one_window = [Moments.of([windows(1, 1)]), Moments.of([windows(2, 5)])]
    distance = Frechet().distance(reference=one_window, reconstruction=one_window)
    values = distance(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    assert np.isnan(values).tolist() == [True, False, True]


def test_sides_that_are_no_two_sets_of_the_same_clips_are_refused() -> None:
    one, other = windows(1, 5), np.zeros((5, 99))
    for reference, reconstruction, message in (
        ([], [], "features of 0 references"),
        ([one], [one, one], "of 1 references and 2 reconstructions; give one of each"),
        ([one], [other], "differ in dimensions"),
        ([one[0]], [one[0]], "differ in dimensions, or have none"),
    ):
        with pytest.raises(ValueError, match=message):
            frechet_distance(reference=reference, reconstruction=reconstruction)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def batch(samples: torch.Tensor, lengths: list[int], rate: int = 16000) -> AudioBatch:
    return AudioBatch(samples, torch.tensor(lengths), rate)


def features(audio: AudioBatch) -> list[npt.NDArray[np.float32]]:
    metric = backend("frechet_logmel")
    assert isinstance(metric, SetBackend)
    return metric.feature(audio)


def test_features_are_of_whole_half_seconds_and_read_no_padding() -> None:
    samples = noise(0, 3, 2, 40_000)
    lengths = [40_000, 7_999, 24_000]
    found = features(batch(samples, lengths))
    assert [one.shape for one in found] == [(5, BANDS), (0, BANDS), (3, BANDS)]
    samples[2, :, 24_000:] = math.nan
    for index, length in enumerate(lengths):
        alone = features(batch(samples[index : index + 1, :, :length], [length]))[0]
        np.testing.assert_allclose(found[index], alone, atol=1e-4)


def test_a_gain_moves_every_level_by_its_decibels_and_silence_lies_on_the_floor() -> None:
    samples = noise(1, 1, 1, 32_000)
    loud, quiet = (features(batch(samples * g, [32_000]))[0] for g in (1.0, 0.1))
    np.testing.assert_allclose(loud - quiet, 20.0, atol=1e-3)
    silent = features(batch(torch.zeros(1, 1, 32_000), [32_000]))[0]
    np.testing.assert_allclose(silent, -100.0, atol=1e-4)


def test_channels_are_averaged_in_power() -> None:
    sound = noise(2, 1, 1, 16_000)
    both = torch.cat([sound, torch.zeros_like(sound)], dim=1)
    halved = features(batch(sound, [16_000]))[0] - features(batch(both, [16_000]))[0]
    np.testing.assert_allclose(halved, 10 * math.log10(2), atol=1e-3)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_sinusoid_at_full_scale_lies_in_one_band_near_0_db(rate: int) -> None:
    time = torch.arange(rate) / rate
    level = features(batch(torch.sin(2 * torch.pi * 1000 * time)[None, None], [rate], rate))[0]
    assert level.max() == pytest.approx(0.0, abs=2.5)
    assert (level.max(axis=1) - np.sort(level, axis=1)[:, -6] > 40).all()


def test_worse_is_farther_and_exchanged_clips_are_not() -> None:
    samples = noise(3, 4, 1, 32_000) * torch.tensor([0.1, 0.5, 1.0, 2.0])[:, None, None]
    lengths = [32_000] * 4
    metric = Frechet()

    def distance(changed: torch.Tensor) -> float:
        sides = [
            [metric.summary([clip]) for clip in features(batch(side, lengths))]
            for side in (samples, changed)
        ]
        found = metric.distance(reference=sides[0], reconstruction=sides[1])
        return float(found(np.ones((1, 4)))[0])

    assert distance(samples) == pytest.approx(0.0, abs=1e-9)
    assert distance(samples.flip(0)) == pytest.approx(0.0, abs=1e-9)
    rough = distance((samples * 128).round() / 128)
    rougher = distance((samples * 16).round() / 16)
    assert 0.01 < rough < rougher
    assert distance(samples * 2) == pytest.approx((20 * math.log10(2)) ** 2 * BANDS, rel=1e-4)


def test_the_definition_says_that_it_scores_sets() -> None:
    meant = definition("frechet_logmel")
    assert meant.scope.value == "set"
    assert meant.minimum_clips == 2


def pairs(seed: int, clips: int) -> tuple[list[Moments], list[Moments]]:
    """References and reconstructions of clips of six windows each, all of one Gaussian."""
    generator = np.random.default_rng(seed)
    drawn = generator.multivariate_normal(*gaussian(2), (2, clips, 6)).astype(np.float32)
    sides = [[Moments.of([clip]) for clip in side] for side in drawn]
    return sides[0], sides[1]


def test_the_extrapolated_distance_is_not_biased_by_few_clips() -> None:
    found: dict[type[Frechet], list[float]] = {Frechet: [], Extrapolated: []}
    for seed in range(40):
        reference, reconstruction = pairs(seed, 12)
        for kind, values in found.items():
            made = kind().distance(reference=reference, reconstruction=reconstruction)
            values.append(float(made(np.ones((1, 12)))[0]))
    plain, extrapolated = (float(np.mean(values)) for values in found.values())
    assert plain > 0.5
    assert abs(extrapolated) < 0.25 * plain


def test_it_is_the_intercept_of_the_line_through_all_groups_and_their_halves() -> None:
    reference, reconstruction = pairs(1, 2)
    plain = Frechet().distance(reference=reference, reconstruction=reconstruction)
    line = Extrapolated().distance(reference=reference, reconstruction=reconstruction)
    whole, first, second = plain(np.array([[1.0, 1], [1, 0], [0, 1]]))
    assert line(np.ones((1, 2)))[0] == pytest.approx(2 * whole - (first + second) / 2, rel=1e-12)


def test_a_fixed_reference_is_the_same_under_all_weights() -> None:
    reconstruction = pairs(1, 5)[1]
    other = pairs(2, 9)[0]
    fixed = Frechet(fixed_reference=True)
    weights = np.array([[1.0, 1, 1, 1, 1], [0, 2, 0, 1, 2]])
    found = fixed.distance(reference=other, reconstruction=reconstruction)(weights)
    plain = Frechet()
    for row, value in zip(weights, found, strict=True):
        parts = [one for one, n in zip(reconstruction, row, strict=True) for _ in range(int(n))]
        made = plain.distance(reference=[_joined(other)], reconstruction=[_joined(parts)])
        assert value == pytest.approx(float(made(np.ones((1, 1)))[0]), rel=1e-9)


def _joined(parts: list[Moments]) -> Moments:
    count = sum(part.count for part in parts)
    mean = sum(part.count * part.mean for part in parts) / count
    apart = [part.count * np.outer(part.mean - mean, part.mean - mean) for part in parts]
    scatter = sum(part.scatter for part in parts) + sum(apart)
    return Moments.from_scatter(count, mean, scatter)
