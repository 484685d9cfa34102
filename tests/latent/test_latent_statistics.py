"""Statistics of latents: known answers of white and of AR(1) latents, and sums that add up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rdbench.latent import statistics as st
from rdbench.latent.places import PLACES, frame_levels, places
from rdbench.latent.statistics import LatentSums, by_place

if TYPE_CHECKING:
    from rdbench.latent.statistics import Floats

D, FRAMES = 16, 20_000


def white(seed: int, channels: int = D, frames: int = FRAMES) -> Floats:
    return np.random.default_rng(seed).standard_normal((channels, frames))


def of(mean: Floats, scale: Floats | None = None, sample: Floats | None = None) -> LatentSums:
    """The sums of frames that are steady."""
    frames = mean.shape[1]
    steady, levels = np.full(frames, 2), np.full(frames, -20.0)
    return LatentSums.of(mean, scale, mean if sample is None else sample, steady, levels)


def test_a_white_latent_is_a_standard_gaussian_of_full_rank() -> None:
    sums = of(white(0))
    wasserstein, smirnov = st.distances(sums)
    assert wasserstein.max() < 0.03
    assert smirnov.max() < 0.02
    assert st.outlier_rate(sums).mean() == pytest.approx(6.3e-5, rel=0.4)
    assert np.abs(by_place(sums).correlation).max() < 0.03
    assert st.effective_rank(sums) == pytest.approx(D, rel=0.01)
    assert float(sums.norm.sum()) / FRAMES == pytest.approx(1.0, rel=0.01)
    spectrum = st.time_spectrum(sums).sum(axis=0)
    np.testing.assert_allclose(spectrum[1:], D, rtol=0.05)
    assert abs(st.slope(spectrum)) < 0.02
    assert abs(st.slope(st.channel_spectrum(sums))) < 0.05
    np.testing.assert_allclose(st.channel_spectrum(sums), 1.0, rtol=0.05)
    assert st.flatness(sums).mean() == pytest.approx(1.0, abs=0.01)


def test_the_histogram_has_the_tails_and_the_distance_of_other_gaussians() -> None:
    for spread, centre in ((0.3, 0.0), (2.0, 5.0)):
        sums = of(centre + spread * white(1, channels=50, frames=40_000))
        assert st.outlier_rate(sums).mean() == pytest.approx(6.3e-5, rel=0.2)
        # W1 of N(m, s²) and N(0, 1) is E|m + (s − 1) ε|, the quantiles being in one order.
        expected = abs(centre) or abs(spread - 1) * math.sqrt(2 / math.pi)
        np.testing.assert_allclose(st.distances(sums)[0], expected, rtol=0.05)


def test_outliers_are_counted() -> None:
    values = white(3)
    values[:, :20] = 9.0
    rate = float(st.outlier_rate(of(values)).mean())
    assert rate == pytest.approx(20 / FRAMES + 4e-5, abs=6e-5)
    assert math.isnan(st.outlier_rate(of(values + 100.0))[0])
    assert st.outlier_rate(of(np.ones((1, 9))))[0] == 0.0


def test_an_autoregression_gives_its_correlation_and_a_falling_spectrum() -> None:
    rho, noise = np.linspace(-0.5, 0.95, D)[:, None], white(2)
    rows = [noise[:, :1]]
    for t in range(1, FRAMES):
        rows.append(rho * rows[-1] + np.sqrt(1 - rho**2) * noise[:, t : t + 1])
    sums = of(np.concatenate(rows, axis=1) + 3.0)
    np.testing.assert_allclose(by_place(sums).correlation, rho[:, 0], atol=0.03)
    slopes = [st.slope(row) for row in st.time_spectrum(sums)]
    assert slopes[0] > 0.3
    assert slopes[-1] < -1.5
    flat = st.flatness(sums)
    assert flat[-1] < flat[D // 2] < 1.0


def test_channels_are_dead_by_kl_and_active_by_variance() -> None:
    mean, scale = white(3, 3, 4000), np.ones((3, 4000))
    mean[0], scale[0] = 0.0, 1.0  # dead by both
    mean[1], scale[1] = 0.5, 0.9  # costs bits, and says nothing
    mean[2] *= math.sqrt(0.75)
    scale[2] = 0.5
    sums = of(mean, scale)
    assert st.active_by_kl(sums).tolist() == [False, True, True]
    assert st.active_by_variance(sums).tolist() == [False, False, True]
    whole = by_place(sums)
    assert whole.noise.tolist() == pytest.approx([1.0, 0.9, 0.5])
    assert whole.total[2] == pytest.approx(1.0, rel=0.03)
    assert whole.kl[1] == pytest.approx(0.5 * (0.81 + 0.25 - 1 - math.log(0.81)))
    assert np.isnan(whole.correlation[:2]).all()


def test_planted_rank_is_found() -> None:
    mixed = np.random.default_rng(4).standard_normal((D, 3)) @ white(5, 3)
    assert 1.5 < st.effective_rank(of(mixed)) <= 3.0
    orthogonal = np.linalg.qr(np.random.default_rng(4).standard_normal((D, 3)))[0]
    assert st.effective_rank(of(orthogonal @ white(5, 3))) == pytest.approx(3.0, rel=0.01)


def test_a_smooth_profile_along_channels_has_a_falling_spectrum() -> None:
    kernel = np.exp(-0.5 * (np.arange(D) / 1.5) ** 2)
    smooth = np.stack([np.roll(np.r_[kernel, kernel[1:][::-1]][:D], k) for k in range(D)])
    assert st.slope(st.channel_spectrum(of(smooth @ white(6)))) < -1.0


def test_sums_add_up_over_clips_and_come_back_from_one_array() -> None:
    mean, scale = white(7, 4, 300), 0.5 + 0.1 * np.abs(white(8, 4, 300))
    levels = np.random.default_rng(9).uniform(-80, -10, 300)
    where = places(levels)
    parts = [
        LatentSums.of(mean[:, p], scale[:, p], mean[:, p], where[p], levels[p])
        for p in (slice(100), slice(100, 300))
    ]
    both, whole = parts[0] + parts[1], LatentSums.of(mean, scale, mean, where, levels)
    for name in ("frames", "mean", "square", "variance", "kl", "products", "histogram", "norms",
                 "norm", "levels"):  # fmt: skip
        np.testing.assert_allclose(getattr(both, name), getattr(whole, name), rtol=1e-9)
    assert whole.levels[:, 0].sum() == whole.norms.sum() == 300
    back = LatentSums.unpack(whole.pack())
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(back, name), value)
    for other in (np.empty(0), whole.pack()[:-1], np.array([5.0]), np.array([np.nan, 1.0])):
        with pytest.raises(ValueError, match="no sums"):
            LatentSums.unpack(other)


def test_a_burst_is_found_at_its_hops() -> None:
    samples = np.zeros((2, 4000), np.float32)
    samples[:, 1000:] = 0.01 * np.random.default_rng(0).standard_normal((2, 3000))
    samples[:, 2000:2100] *= 30.0
    levels = frame_levels(samples, 8000, 80.0, 41)  # hops of 100 samples, and a frame past the end
    assert levels[20] == pytest.approx(levels[18] + 29.5, abs=2.0)
    found = np.array(PLACES)[places(levels)]
    assert np.flatnonzero(found == "transient").tolist() == [10, 20]
    assert np.flatnonzero(found == "silence").tolist() == [*range(10), 40]
    mean = np.where(found == "transient", 2.0, 0.0)[None]
    sums = LatentSums.of(mean, np.ones_like(mean), mean, places(levels), levels)
    assert by_place(sums, 1).kl.tolist() == [2.0]
    assert by_place(sums, 2).kl.tolist() == [0.0]
    assert by_place(sums, 0).frames == 11


def test_hops_that_are_no_whole_number_of_samples_drift_nowhere() -> None:
    samples = np.zeros((1, 44100), np.float32)
    samples[:, 22050:] = 0.1
    levels = frame_levels(samples, 44100, 86.1328125 / 7, 13)
    assert (np.diff(levels) > 6).sum() <= 2
    assert levels[-1] == pytest.approx(-20.0, abs=0.01)
    assert levels[0] < -100


@pytest.mark.parametrize(("channels", "frames"), [(1, 1), (1, 400), (5, 1)])
def test_what_one_frame_or_one_channel_cannot_have_is_not_a_number(
    channels: int, frames: int
) -> None:
    sums = of(white(1, channels, frames))
    assert math.isnan(st.slope(st.channel_spectrum(sums)))
    assert math.isnan(st.effective_rank(sums)) == (frames == 1)
    assert np.isnan(by_place(sums).correlation).all() == (frames == 1)
    assert np.isnan(st.time_spectrum(sums)).all() == (frames == 1)
    assert np.isnan(by_place(sums).kl).all()
