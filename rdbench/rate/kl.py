"""The KL divergence of a diagonal Gaussian posterior from N(0, I), as bits.

Per latent dimension, in nats:

    KL(N(μ, σ²) ‖ N(0, 1)) = ½ (σ² + μ² − 1 − ln σ²)

and bits = nats / ln 2 (Kingma & Welling 2014, appendix B). The ½ is part of it: several public
models log a "kl" without it, which read as nats would double the rate. The divergence is recomputed
here, in float64, from mean and scale; a model's own `.kl()` is never used.
"""

from __future__ import annotations

import math

import torch

from rdbench.types import CodecError, Posterior


def kl_bits(posterior: Posterior) -> torch.Tensor:
    """KL to N(0, I) in bits, float64 (clips, channels, frames), zero past each clip's frames.

    Raises CodecError, naming the clip, for a missing, non-finite or non-positive scale and for a
    non-finite mean among the valid frames.
    """
    if posterior.scale is None:
        raise CodecError("the posterior has no scale, so its KL to a prior is undefined")
    valid = frame_mask(posterior.frames, posterior.mean.shape[-1])[:, None, :]
    mean = posterior.mean.detach().cpu().double()
    scale = posterior.scale.detach().cpu().double()
    _check(mean, scale, valid)
    mean = torch.where(valid, mean, 0.0)
    scale = torch.where(valid, scale, 1.0)
    variance = scale.square()
    # expm1 and log keep digits where σ is near 1: σ² − 1 − ln σ² cancels to second order there.
    log_variance = 2.0 * scale.log()
    nats = 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance)
    nats = torch.where(variance.isfinite(), nats, torch.inf)
    return nats / math.log(2.0)


def frame_mask(frames: torch.Tensor, longest: int) -> torch.Tensor:
    """True for valid frames, bool (clips, longest)."""
    return torch.arange(longest)[None, :] < frames[:, None]


def _check(mean: torch.Tensor, scale: torch.Tensor, valid: torch.Tensor) -> None:
    for values, wrong, what in (
        (mean, ~mean.isfinite(), "a mean that is not finite"),
        (scale, ~scale.isfinite() | (scale <= 0), "a scale that is not finite and positive"),
    ):
        bad = (wrong & valid).flatten(1).any(dim=1)
        if bad.any():
            clip = int(bad.nonzero()[0])
            first = values[clip][(wrong & valid)[clip]][0].item()
            raise CodecError(
                f"the posterior of clip {clip} in its batch has {what} ({first:g}); "
                "the model's output cannot be given a rate"
            )
