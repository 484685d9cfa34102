"""What a posterior pays for its rate: target-KL, capacity, GECO, β, free bits and STAR.

All act on k_j, the KL of channel j in nats per frame (mean over the frames of a batch, a clip or
one frame: the named reduction), D channels, prior N(0, I). The KL of a frame is Σ_j k_j, and
kbps = frame_rate · Σ_j k_j / ln 2 / 1000, so KL_target = kbps · 1000 · ln 2 / frame_rate. R is the
weighted sum of the reconstruction losses.

Of a stated rate:

- target_kl (Seetharaman & Kumar 2026, arXiv 2605.17085): λ e², e = (KL - KL_target) / D. Near its
  target the square has almost no gradient left, so with a fixed λ reconstruction wins and the rate
  overshoots. `multiplier` adds the term of an equality constraint, ν r with the relative error
  r = KL / KL_target - 1, and after every step ν ← ν + rate · r (dual ascent; Hestenes 1969): ν
  moves while an error stays, so the only rest is at the target.
- target_kl with `weights`: the KL is measured as it is, so e and r are those of the rate that is
  paid, but its gradient is that of Σ_c w_c k_c, where w is STAR's schedule (below) with mean 1. At
  rest, where e = r = 0, the gradient is that of R + Σ_c β_c k_c with β_c = w_c ν / KL_target: STAR
  at the target's rate.
- capacity (Burgess et al. 2018, arXiv 1804.03599): γ |KL - C|, C rising linearly from 0 over
  `anneal_steps`. Its gradient has one length on both sides of C, and must outweigh that of R.

Of a stated quality:

- geco (Rezende & Viola 2018, arXiv 1810.00597): minimises KL under T ≤ κ, T one term of R or R
  itself, by KL + λ T with λ ← λ exp(rate · m), m ← α m + (1 - α) (T / κ - 1). Theirs moves λ by
  T - κ; dividing by κ makes `rate` one for losses of any size.

Of neither; the rate is what comes out:

- beta (Higgins et al. 2017): β Σ k_j, annealed linearly from 0 over `anneal_steps`.
- free_bits (Kingma et al. 2016): β Σ_j max(k_j, λ).
- star (Liu et al. 2026, arXiv 2606.23064): Σ_c β_c k_c with
  β_c = β_min + (β_max - β_min) ((c - 1) / (C - 1))^γ.

σ-VAE (Rybkin, Daniilidis & Levine 2021, arXiv 2006.13202) is none of them, on purpose. It learns,
or solves for, the variance of the decoder's density p(x|z), and so weighs reconstruction against KL
without a β. The losses here are no logarithm of such a density: mel and STFT distances of several
overlapping windows are sums over features that depend on one another, whose normalising constant
nobody knows, so there is no σ to solve for. It would hold for `wave` alone (a Laplace density).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field

from rdbench.models.config import Frozen

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Steps = Annotated[int, Field(ge=0)]
Reduction = Literal["batch", "clip", "frame"]
Distortion = Literal["reconstruction", "wave", "mel", "stft"]
"""A reconstruction loss as it is weighted in a recipe, or their sum."""


class ChannelWeights(Frozen):
    """STAR's schedule as weights of channels, with mean 1: rising from the first to the last.

    floor: the first channel's over the last one's.
    """

    gamma: NonNegative = 2.0
    floor: Share = 0.0

    def of(self, channels: int) -> torch.Tensor:
        """w_c for c = 1 … C, float64 (channels,); all exactly 1 with a γ of 0."""
        if channels == 1 or self.gamma == 0.0:
            return torch.ones(channels, dtype=torch.float64)
        weights = rising(self.floor, 1.0, self.gamma, channels)
        return weights / weights.mean()


class TargetKl(Frozen):
    """λ e² towards a rate in kbps, optionally with a multiplier (see the module).

    error: `channel`, e = (KL - KL_target) / D as published, or `relative`, KL / KL_target - 1.
    reduction: over which frames the KL is averaged before its error is squared: those of the
        batch (of one device), of each clip, or each frame by itself.
    multiplier: dual-ascent rate per step, 0 for none. multiplier_limit: bound of |ν|.
    anneal_from: a rate in kbps from which the target moves geometrically to `kbps` over
        `anneal_steps` steps.
    weights: of channels, which shape where the rate goes and not how much it is.
    """

    kind: Literal["target_kl"] = "target_kl"
    kbps: Positive
    weight: NonNegative = 2.0
    error: Literal["channel", "relative"] = "channel"
    reduction: Reduction = "batch"
    multiplier: NonNegative = 0.0
    multiplier_limit: Positive = 100.0
    anneal_from: Positive | None = None
    anneal_steps: Steps = 0
    weights: ChannelWeights | None = None

    def target_kbps(self, step: int) -> float:
        """The target at `step`, in kbps."""
        if self.anneal_from is None or step >= self.anneal_steps:
            return self.kbps
        share = step / self.anneal_steps
        return float(self.anneal_from ** (1 - share) * self.kbps**share)


class Capacity(Frozen):
    """γ |KL - C| with C, in kbps, rising linearly from 0 over `anneal_steps` steps.

    gamma: per nat and frame.
    """

    kind: Literal["capacity"] = "capacity"
    kbps: Positive
    gamma: Positive = 1.0
    reduction: Reduction = "batch"
    anneal_steps: Steps = 0

    def target_kbps(self, step: int) -> float:
        """C at `step`, in kbps."""
        return self.kbps * ramp(step, self.anneal_steps)


class Geco(Frozen):
    """The least KL at which a reconstruction loss is at most κ (see the module).

    term: the loss that is held, as weighted in `loss`; `reconstruction` is the sum of all. Terms
        that are not held stay in the loss as they are.
    at_most: κ. rate: of the multiplier, per step. smoothing: α of the moving average.
    multiplier, multiplier_limit: what λ starts from, and its bound.
    """

    kind: Literal["geco"] = "geco"
    term: Distortion = "reconstruction"
    at_most: Positive
    rate: Positive = 0.02
    smoothing: Share = 0.95
    multiplier: Positive = 1.0
    multiplier_limit: Positive = 1e6


class Beta(Frozen):
    """β · KL, annealed linearly from 0 over `anneal_steps` steps."""

    kind: Literal["beta"] = "beta"
    beta: NonNegative
    anneal_steps: Steps = 0


class FreeBits(Frozen):
    """β Σ_j max(k_j, nats): a channel that costs less than `nats` per frame is not pressed."""

    kind: Literal["free_bits"] = "free_bits"
    beta: NonNegative = 1.0
    nats: NonNegative
    reduction: Reduction = "batch"
    anneal_steps: Steps = 0


class Star(Frozen):
    """STAR's weights, rising with the channel from β_min to β_max with exponent γ.

    For the first `isotropic_steps` steps every channel has the weight `isotropic_beta`.
    """

    kind: Literal["star"] = "star"
    beta_min: NonNegative = 0.0
    beta_max: NonNegative = 4e-4
    gamma: Positive = 2.0
    isotropic_beta: NonNegative = 1e-4
    isotropic_steps: Steps = 0

    def weights(self, channels: int) -> torch.Tensor:
        """β_c for c = 1 … C, float64 (channels,)."""
        return rising(self.beta_min, self.beta_max, self.gamma, channels)


AnyObjective = TargetKl | Capacity | Geco | Beta | FreeBits | Star
Objective = Annotated[AnyObjective, Field(discriminator="kind")]


def rising(first: float, last: float, gamma: float, channels: int) -> torch.Tensor:
    """First + (last - first) ((c - 1) / (C - 1))^γ, float64 (channels,); `first` of one channel."""
    if channels == 1:
        return torch.full((1,), first, dtype=torch.float64)
    place = torch.arange(channels, dtype=torch.float64) / (channels - 1)
    return first + (last - first) * place**gamma


def ramp(step: int, steps: int) -> float:
    """From 0 to 1 over `steps` steps; 1 where there are none."""
    return min(1.0, step / steps) if steps else 1.0


def nats_per_frame(kbps: float, frame_rate: float) -> float:
    """The KL in nats per frame that stands for `kbps` at `frame_rate` hertz."""
    return kbps * 1000.0 * math.log(2.0) / frame_rate


def kbps_of(nats: float, frame_rate: float) -> float:
    """The rate in kbps of a KL of `nats` per frame at `frame_rate` hertz."""
    return nats * frame_rate / math.log(2.0) / 1000.0
