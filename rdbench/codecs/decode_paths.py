"""How a latent is made for a decoder: the functions behind the variants of a posterior.

With μ and σ of the posterior, and of what was fitted on other clips (`rdbench.rate.latent_moments`)
the mean m, the standard deviation s and the covariance C of samples:

    noise           μ + k σ ε, ε ~ N(0, I) from a generator seeded for each clip (k = 1: a sample)
    latent noise    μ + k s ε
    truncation      some channels of a sample, the others at m
    collapse        a sample with a channel, a frame or all of it drawn from N(m, s²)
    projections     a latent brought into the range of samples: by quantiles of each channel, in the
                    axes of C, or through the decoder and the encoder

All draw the same ε for a clip, so that what they are compared by is not noise. A latent without a
posterior has no σ: its sample is its mean.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from rdbench.rate.latent_moments import RANGE
from rdbench.types import CodecError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from rdbench.codecs.variants import LatentRequest
    from rdbench.rate.latent_moments import LatentMoments

    Make = Callable[[LatentRequest], torch.Tensor]
    Project = Callable[[LatentRequest, torch.Tensor], torch.Tensor]

_CHOICE = 0x5851F42D4C957F2D
"""Added to a clip's seed for the choice of its channels, which is not to go with its noise."""
_WHITE = NormalDist().inv_cdf(RANGE[1])
_ROUNDING = 1e-5
"""Of the largest standard deviation: less is what float32 leaves of nothing."""


def mean(request: LatentRequest) -> torch.Tensor:
    """μ."""
    return request.posterior.mean


def stream(request: LatentRequest) -> torch.Tensor:
    """What the variant's stream decodes to."""
    import torch

    from rdbench.codecs.batches import pad_stack

    posterior = request.posterior
    clips = request.coder.code(posterior, seeds=request.clip_seeds)
    coded = [torch.from_numpy(clip.values) for clip in clips]
    return pad_stack(coded)[0].to(posterior.mean.device)


def noisy(request: LatentRequest, *, factor: float) -> torch.Tensor:
    """μ + k σ ε."""
    posterior = request.posterior
    assert posterior.scale is not None, "posterior() must give a scale where there is a prior"
    return posterior.mean + factor * posterior.scale * _noise(request)


def sample(request: LatentRequest) -> torch.Tensor:
    """μ + σ ε, or μ of a latent without a posterior."""
    return mean(request) if request.posterior.scale is None else noisy(request, factor=1.0)


def latent_noisy(request: LatentRequest, *, factor: float) -> torch.Tensor:
    """μ + k s ε."""
    scale = _column(_moments(request).scale, request)
    return request.posterior.mean + factor * scale * _noise(request)


def keep_first(request: LatentRequest, *, count: int) -> torch.Tensor:
    """The first channels of a sample."""
    channels = _channels(request, count)
    return _keep(request, np.arange(channels)[None] < count)


def keep_kl(request: LatentRequest, *, count: int) -> torch.Tensor:
    """The channels of the largest fitted KL of a sample; among equal ones the first."""
    channels, kl = _channels(request, count), _moments(request).kl
    if kl is None:
        raise CodecError(
            "channels cannot be kept by KL: the tables were fitted to a latent without a "
            "posterior; keep them by index, or fit again"
        )
    chosen = np.zeros(channels, bool)
    chosen[np.argsort(-kl, kind="stable")[:count]] = True
    return _keep(request, chosen[None])


def keep_random(request: LatentRequest, *, count: int) -> torch.Tensor:
    """Channels of a sample at random, others for each clip and seed; more of them hold fewer."""
    channels = _channels(request, count)
    chosen = np.zeros((len(request.clip_seeds), channels), bool)
    for clip, seed in enumerate(request.clip_seeds):
        order = np.random.default_rng([seed, _CHOICE]).permutation(channels)
        chosen[clip, order[:count]] = True
    return _keep(request, chosen)


def collapse_all(request: LatentRequest) -> torch.Tensor:
    """Draws of the fitted distribution, m + s ε."""
    moments = _moments(request)
    return _column(moments.mean, request) + _column(moments.scale, request) * _noise(request)


def collapse_channel(request: LatentRequest, *, count: int) -> torch.Tensor:
    """A sample with one channel of `collapse_all`."""
    _channels(request, count + 1)
    latent = sample(request).clone()
    latent[:, count] = collapse_all(request)[:, count]
    return latent


def collapse_frame(request: LatentRequest, *, count: int) -> torch.Tensor:
    """A sample with one frame of `collapse_all`."""
    shortest = int(request.posterior.frames.min())
    if count >= shortest:
        raise CodecError(f"frame {count} cannot be replaced: the clip has {shortest} frames")
    latent = sample(request).clone()
    latent[..., count] = collapse_all(request)[..., count]
    return latent


def rolled(request: LatentRequest) -> torch.Tensor:
    """A sample whose frames are moved by half of the clip, round its end."""
    latent = sample(request).clone()
    for clip, frames in enumerate(request.posterior.frames.tolist()):
        if frames < 2:
            raise CodecError("a latent of one frame cannot be rolled; leave the clip out")
        latent[clip, :, :frames] = latent[clip, :, :frames].roll(frames // 2, dims=-1)
    return latent


def predicted(request: LatentRequest) -> torch.Tensor:
    """The latents that came from outside, (channels, frames) for each clip."""
    import torch

    posterior = request.posterior
    latent = torch.zeros_like(posterior.mean)
    if len(request.given) != len(latent):
        raise CodecError("there are no predicted latents here; only `rdbench run` brings them")
    for clip, values in enumerate(request.given):
        latent[clip, :, : int(posterior.frames[clip])] = torch.from_numpy(values).to(latent)
    return latent


def calibrated_noise(request: LatentRequest) -> torch.Tensor:
    """μ + ε̂, with ε̂ of the second moments over channels of ẑ − s, the error of the prediction.

    Frames of ε̂ are independent, and of each clip's own error: e W / √T, e the error, (channels, T),
    and W ~ N(0, I), (T, T), needs no covariance matrix, which few frames could not give.
    """
    import torch

    posterior = request.posterior
    errors = predicted(request) - sample(request)
    latent = posterior.mean.clone()
    for clip, seed in enumerate(request.clip_seeds):
        frames = int(posterior.frames[clip])
        mix = np.random.default_rng([seed, _CHOICE]).standard_normal((frames, frames))
        error = errors[clip, :, :frames].cpu().double()
        latent[clip, :, :frames] += (error @ torch.from_numpy(mix) / frames**0.5).to(latent)
    return latent


def projected(request: LatentRequest, *, source: Make, project: Project) -> torch.Tensor:
    """A latent, projected."""
    return project(request, source(request))


def clamp(request: LatentRequest, latent: torch.Tensor) -> torch.Tensor:
    """Each channel between the fitted quantiles of samples (`RANGE`)."""
    moments = _moments(request)
    return latent.clamp(_column(moments.low, request), _column(moments.high, request))


def whiten_clip(request: LatentRequest, latent: torch.Tensor) -> torch.Tensor:
    """C^½ clip(C^-½ (z − m)) + m, between the quantiles `RANGE` of N(0, 1).

    The symmetric root, so that a channel stays itself where C is diagonal. What is within range
    stays as it is: the excess alone is taken away, and what lies where C has nothing.
    """
    import torch

    moments = _moments(request)
    variances, axes = np.linalg.eigh(moments.covariance)
    roots = np.sqrt(np.maximum(variances, 0.0))
    live = roots > _ROUNDING * roots.max()
    white, coloured, rest = (
        torch.from_numpy((axes[:, chosen] * by) @ axes[:, chosen].T)
        for chosen, by in ((live, 1 / roots[live]), (live, roots[live]), (~live, 1.0))
    )
    away = latent.cpu().double() - torch.from_numpy(moments.mean)[:, None]
    whitened, outside = white @ away, rest @ away
    outside[outside.abs() <= _ROUNDING * float(roots.max())] = 0.0
    excess = whitened - whitened.clamp(-_WHITE, _WHITE)
    return latent - (coloured @ excess + outside).to(latent)


def reencode(request: LatentRequest, latent: torch.Tensor) -> torch.Tensor:
    """The mean that the encoder gives of what the decoder makes of it."""
    if request.reencode is None:
        raise CodecError("nothing here decodes and encodes again; use a codec's decoder_input")
    return request.reencode(latent)


def _keep(request: LatentRequest, chosen: NDArray[np.bool_]) -> torch.Tensor:
    """A sample where `chosen` (clips or 1, channels), m elsewhere."""
    import torch

    latent = sample(request)
    flags = torch.from_numpy(chosen).to(latent.device)[:, :, None]
    return torch.where(flags, latent, _column(_moments(request).mean, request))


def _noise(request: LatentRequest) -> torch.Tensor:
    """ε, (clips, channels, frames); zero in the padding."""
    import torch

    posterior = request.posterior
    noise = torch.zeros_like(posterior.mean, device="cpu")
    for clip, seed in enumerate(request.clip_seeds):
        frames = int(posterior.frames[clip])
        generator = torch.Generator().manual_seed(seed)
        noise[clip, :, :frames] = torch.randn(
            noise.shape[1], frames, generator=generator, dtype=noise.dtype
        )
    return noise.to(posterior.mean.device)


def _moments(request: LatentRequest) -> LatentMoments:
    """What was fitted; raises CodecError where it is of another latent."""
    moments, channels = request.moments, request.posterior.mean.shape[1]
    assert moments is not None, "the codec gives the moments that a variant needs"
    if len(moments.mean) != channels:
        raise CodecError(
            f"the fitted moments have {len(moments.mean)} channels, the latent {channels}; fit "
            "again with `rdbench fit-entropy`"
        )
    return moments


def _channels(request: LatentRequest, wanted: int) -> int:
    channels = request.posterior.mean.shape[1]
    if wanted > channels:
        raise CodecError(
            f"the latent has {channels} channels, of which the variant's name wants {wanted}; name "
            "fewer"
        )
    return channels


def _column(values: NDArray[np.float64], request: LatentRequest) -> torch.Tensor:
    """(channels, 1) where the latent is."""
    import torch

    return torch.from_numpy(values)[:, None].to(request.posterior.mean)
