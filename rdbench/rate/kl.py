"""The KL divergence of a diagonal Gaussian posterior from a factorised Gaussian prior, as bits.

Per latent dimension, in nats, for the prior N(m, s²):

    KL(N(μ, σ²) ‖ N(m, s²)) = ½ (σ²/s² + (μ − m)²/s² − 1 − ln(σ²/s²))

and bits = nats / ln 2 (Kingma & Welling 2014, appendix B, with m = 0, s = 1). The ½ is part of it:
several public models log a "kl" without it, which read as nats would double the rate. The
divergence is recomputed here, in float64, from mean and scale; a model's own `.kl()` is never used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from rdbench.rate.validate import check_posterior
from rdbench.types import CodecError, Posterior

if TYPE_CHECKING:
    from rdbench.rate.prior import GaussianPrior


def kl_bits(
    posterior: Posterior,
    prior: GaussianPrior | None = None,
    names: Sequence[str] | None = None,
) -> torch.Tensor:
    """KL in bits, float64 (clips, channels, frames), zero past each clip's frames.

    prior: N(0, I) where it is None. names: of the clips, for messages.

    Raises CodecError, naming the clip, for a clip without frames, a missing, non-finite or
    non-positive scale and for a non-finite mean among the valid frames.
    """
    if posterior.scale is None:
        raise CodecError("the posterior has no scale, so its KL to a prior is undefined")
    valid = check_posterior(posterior, names)[:, None, :]
    mean = torch.where(valid, posterior.mean.detach().cpu().double(), 0.0)
    scale = torch.where(valid, posterior.scale.detach().cpu().double(), 1.0)
    if prior is not None:
        mean, scale = prior.standardise(mean, scale)
    # expm1 and log keep digits where σ is near 1: σ² − 1 − ln σ² cancels to second order there.
    log_variance = 2.0 * scale.log()
    nats = 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance)
    nats = torch.where(scale.square().isfinite(), nats, torch.inf)
    return torch.where(valid, nats, 0.0) / math.log(2.0)
