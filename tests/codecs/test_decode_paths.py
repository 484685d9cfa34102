"""Decode paths of a linear Gaussian VAE: distortions in closed form, and what each path touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rdbench.codecs import variants
from rdbench.codecs.variants import LatentRequest, is_predicted, latent_moments, variant
from rdbench.rate.coded.fitted import FittedLatent
from rdbench.rate.latent_moments import LatentMoments
from rdbench.types import CodecError, Posterior

SPECTRUM = 2.0 ** -np.arange(0, 8, dtype=np.float64)
THETA = 0.05
FRAMES = 40_000


@dataclass(frozen=True)
class Linear:
    """The VAE on the rate-distortion curve of a Gaussian source (`rdbench.rate.oracles`)."""

    source: NDArray[np.float64]
    posterior: Posterior
    gain: NDArray[np.float64]

    @classmethod
    def of(cls, seed: int, frames: int = FRAMES) -> Linear:
        drawn = np.random.default_rng(seed).standard_normal((len(SPECTRUM), frames))
        source = drawn * np.sqrt(SPECTRUM)[:, None]
        share = np.minimum(THETA / SPECTRUM, 1.0)[:, None]
        mean = np.sqrt((1 - share) / SPECTRUM[:, None]) * source
        scale = np.broadcast_to(np.sqrt(share), mean.shape).copy()
        gain = np.sqrt(SPECTRUM[:, None] * (1 - share))
        latent = Posterior(*(torch.from_numpy(one)[None] for one in (mean, scale)),
                           torch.tensor([frames]), 50.0)  # fmt: skip
        return cls(source, latent, gain)

    def distortion(self, latent: torch.Tensor) -> float:
        return float(np.square(self.source - self.gain * latent[0].numpy()).sum(axis=0).mean())


MOMENTS = LatentMoments.fit([Linear.of(1).posterior])


def make(
    name: str,
    latent: Posterior,
    *,
    seeds: Sequence[int] = (7,),
    given: Sequence[NDArray[np.float32]] = (),
    moments: LatentMoments | None = MOMENTS,
) -> torch.Tensor:
    no_coder: Any = None
    request = LatentRequest(latent, seeds, no_coder, moments, given)
    return variants.make_latent(variant(name), request)


@pytest.mark.parametrize("count", range(9))
def test_truncation_of_a_water_filling_vae_costs_the_variances_left_out(count: int) -> None:
    """D_k = Σ_{j≤k} min(λ_j, θ) + Σ_{j>k} λ_j; the channels lie in the order of their KL."""
    model = Linear.of(2)
    expected = np.minimum(SPECTRUM, THETA)[:count].sum() + SPECTRUM[count:].sum()
    for name in ("keep", "keep_kl"):
        found = model.distortion(make(f"{name}_{count}", model.posterior))
        assert found == pytest.approx(expected, rel=0.02)


def test_channels_are_kept_by_kl_wherever_they_stand() -> None:
    order = torch.tensor([3, 0, 5, 1, 7, 2, 4, 6])
    latent = Linear.of(2).posterior
    assert latent.scale is not None
    turned = replace(latent, mean=latent.mean[:, order], scale=latent.scale[:, order])
    moments = LatentMoments.fit([turned])
    kept = make("keep_kl_2", turned, moments=moments)
    same = kept == make("sample", turned)
    assert same[0].all(dim=-1).nonzero().flatten().tolist() == [1, 3]
    left = kept[0, 0]
    torch.testing.assert_close(left, torch.full_like(left, moments.mean[0]))


def test_channels_at_random_are_those_of_a_clip_and_more_hold_fewer() -> None:
    latent = Posterior(torch.randn(2, 8, 5), torch.ones(2, 8, 5), torch.tensor([5, 5]), 50.0)

    def kept(count: int, seeds: Sequence[int]) -> torch.Tensor:
        truncated = make(f"keep_random_{count}", latent, seeds=seeds)
        return (truncated == make("sample", latent, seeds=seeds)).all(dim=-1)

    assert kept(3, [1, 2]).sum(dim=1).tolist() == [3, 3]
    assert (kept(5, [1, 2]) | ~kept(3, [1, 2])).all()
    assert (kept(3, [1, 2])[1] == kept(3, [2, 1])[0]).all()
    assert len({tuple(kept(4, [seed, 0])[0].tolist()) for seed in range(20)}) > 5


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0, 2.0])
def test_noise_adds_its_variance_through_the_decoder(factor: float) -> None:
    """Noise of variance τ² adds Σ g² τ² to the distortion of the mean."""
    model = Linear.of(3)
    share = np.minimum(THETA / SPECTRUM, 1.0)
    base = model.distortion(model.posterior.mean)
    for name, variance in (("latent_noise", MOMENTS.scale**2), ("noise", share)):
        added = float(factor**2 * (np.square(model.gain[:, 0]) * variance).sum())
        found = model.distortion(make(f"{name}_{factor:g}", model.posterior))
        assert found - base == pytest.approx(added, rel=0.03, abs=0.003)


def test_every_path_draws_the_same_noise() -> None:
    latent = Linear.of(3, frames=50).posterior
    for name in ("noise_1", "keep_8", "keep_random_8"):
        torch.testing.assert_close(make(name, latent), make("sample", latent))
    once, twice = (make(f"latent_noise_{k}", latent) - latent.mean for k in (1, 2))
    torch.testing.assert_close(2 * once, twice)


def test_a_collapsed_latent_is_drawn_of_the_prior_and_the_rest_stays() -> None:
    model = Linear.of(4)
    sample = make("sample", model.posterior)
    whole = make("collapse_all", model.posterior)
    correlation = np.corrcoef(model.source[0], whole[0, 0].numpy())[0, 1]
    assert abs(correlation) < 0.02
    assert model.distortion(whole) == pytest.approx(
        float((SPECTRUM + np.square(model.gain[:, 0])).sum()), rel=0.03
    )
    changed = make("collapse_channel_1", model.posterior) != sample
    assert changed.any(dim=-1)[0].nonzero().flatten().tolist() == [1]
    changed = make("collapse_frame_12", model.posterior) != sample
    assert changed.any(dim=1)[0].nonzero().flatten().tolist() == [12]


def test_a_rolled_latent_has_the_frames_of_its_clip_elsewhere() -> None:
    latent = Linear.of(4, frames=11).posterior
    padded = Posterior(torch.nn.functional.pad(latent.mean, (0, 4)), None, latent.frames, 50.0)
    turned = make("rolled", padded)
    assert (turned[0, :, 5:11] == latent.mean[0, :, :6]).all()
    assert (turned[0, :, :5] == latent.mean[0, :, 6:]).all()
    assert (turned[..., 11:] == 0).all()
    with pytest.raises(CodecError, match="one frame"):
        make("rolled", replace(padded, frames=torch.tensor([1])))


def test_a_predicted_latent_is_what_was_given() -> None:
    latent = Linear.of(5, frames=20).posterior
    given = np.random.default_rng(0).standard_normal((8, 20)).astype(np.float32)
    assert (make("predicted", latent, given=[given])[0].numpy() == given).all()
    sample = make("sample", latent)[0].numpy()
    as_sample = make("predicted", latent, given=[sample])
    assert (as_sample[0].numpy() == sample).all()
    for name in ("predicted", "predicted_clamp", "calibrated_noise"):
        assert is_predicted(variant(name))
        with pytest.raises(CodecError, match="no predicted latents"):
            make(name, latent)
    assert not is_predicted(variant("sample_clamp"))
    assert not is_predicted(variant("codes"))


def test_calibrated_noise_costs_what_independent_noise_of_the_error_would() -> None:
    model = Linear.of(6, frames=2000)
    rng = np.random.default_rng(1)
    root = 0.3 * rng.standard_normal((8, 8))
    error = root @ rng.standard_normal((8, 2000))
    sample = make("sample", model.posterior)
    given = (sample[0].numpy() + error).astype(np.float32)
    noise = make("calibrated_noise", model.posterior, given=[given]) - model.posterior.mean
    second = noise[0].numpy() @ noise[0].numpy().T / 2000
    exact = error @ error.T / 2000
    assert np.linalg.norm(second - exact) < 0.1 * np.linalg.norm(exact)
    added = float((np.square(model.gain) * np.square(error)).sum(axis=0).mean())
    base = model.distortion(model.posterior.mean)
    found = model.distortion(model.posterior.mean + noise) - base
    assert found == pytest.approx(added, rel=0.1)
    still = make("calibrated_noise", model.posterior, given=[sample[0].float().numpy()])
    torch.testing.assert_close(still, model.posterior.mean, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["clamp", "whiten_clip"])
def test_a_projection_leaves_what_is_in_range_alone(name: str) -> None:
    latent = Linear.of(7, frames=30).posterior
    inside = 0.2 * make("sample", latent)[0].float().numpy()
    assert (make(f"predicted_{name}", latent, given=[inside])[0].numpy() == inside).all()
    outside = inside.copy()
    outside[2, 4] = 40.0
    moved = make(f"predicted_{name}", latent, given=[outside])[0].numpy()
    assert moved[2, 4] == pytest.approx(3.09, abs=0.15)
    np.testing.assert_allclose(np.delete(moved, 4, axis=1), np.delete(outside, 4, axis=1))
    again = make(f"predicted_{name}", latent, given=[moved.astype(np.float32)])[0].numpy()
    np.testing.assert_allclose(again, moved, atol=1e-5)
    sample = make("sample", latent)
    assert (make(f"sample_{name}", latent) == sample).float().mean() > 0.95


def test_whitening_sees_what_no_channel_alone_shows() -> None:
    """Two channels that go together: a difference between them is far out, and small."""
    common = np.random.default_rng(0).standard_normal(5000)
    mean = torch.from_numpy(np.stack([common, common + 0.01 * common[::-1]]))[None]
    latent = Posterior(mean, None, torch.tensor([5000]), 50.0)
    moments = LatentMoments.fit([latent])
    given = np.zeros((2, 5000), np.float32)
    given[:, 0] = 1.0, -1.0
    clamped = make("predicted_clamp", latent, given=[given], moments=moments)
    assert (clamped[0].numpy() == given).all()
    whitened = make("predicted_whiten_clip", latent, given=[given], moments=moments)
    assert whitened[0, :, 0].abs().max() < 0.05
    np.testing.assert_allclose(whitened[0, :, 1:], given[:, 1:])


def test_what_was_not_fitted_or_is_not_there_is_a_sentence() -> None:
    latent = Linear.of(8, frames=9).posterior
    for name in ("keep_2", "latent_noise_1", "collapse_all", "sample_clamp"):
        with pytest.raises(CodecError, match=f"{name} needs the moments .*fit-entropy"):
            latent_moments(variant(name), FittedLatent())
        assert latent_moments(variant(name), FittedLatent(moments=MOMENTS)) is MOMENTS
    assert latent_moments(variant("noise_3"), FittedLatent(moments=MOMENTS)) is None
    for name in ("keep_9", "keep_kl_9", "collapse_channel_8"):
        with pytest.raises(CodecError, match="the latent has 8 channels"):
            make(name, latent)
    with pytest.raises(CodecError, match="frame 9 cannot be replaced: the clip has 9 frames"):
        make("collapse_frame_9", latent)
    few = Posterior(torch.zeros(1, 3, 9), None, torch.tensor([9]), 50.0)
    with pytest.raises(CodecError, match="fitted moments have 8 channels, the latent 3"):
        make("keep_2", few)
    without = LatentMoments.fit([replace(latent, scale=None)])
    with pytest.raises(CodecError, match="kept by KL"):
        make("keep_kl_2", latent, moments=without)
    assert (make("keep_8", replace(latent, scale=None)) == latent.mean).all()
