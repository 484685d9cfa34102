"""What a posterior pays for its rate: target-KL, β, free bits and STAR.

All act on k_j, the KL of channel j in nats per frame (mean over the frames of a batch, a clip or
one frame: the named reduction), D channels, prior N(0, I). The KL of a frame is Σ_j k_j, and
kbps = frame_rate · Σ_j k_j / ln 2 / 1000, so KL_target = kbps · 1000 · ln 2 / frame_rate.

- target_kl (Seetharaman & Kumar 2026, arXiv 2605.17085): λ e², e = (KL - KL_target) / D. Near its
  target the square has almost no gradient left, so with a fixed λ reconstruction wins and the rate
  overshoots. `multiplier` adds the term of an equality constraint, ν r with the relative error
  r = KL / KL_target - 1, and after every step ν ← ν + rate · r (dual ascent; Hestenes 1969): ν
  moves while an error stays, so the only rest is at the target.
- beta: β Σ k_j, annealed linearly from 0 over `anneal_steps`.
- free_bits (Kingma et al. 2016): β Σ_j max(k_j, λ).
- star (Liu et al. 2026, arXiv 2606.23064): Σ_c β_c k_c with
  β_c = β_min + (β_max - β_min) ((c - 1) / (C - 1))^γ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field

from rdbench.models.bottleneck import kl_nats
from rdbench.models.config import Frozen

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Steps = Annotated[int, Field(ge=0)]
Reduction = Literal["batch", "clip", "frame"]


class TargetKl(Frozen):
    """λ e² towards a rate in kbps, optionally with a multiplier (see the module).

    error: `channel`, e = (KL - KL_target) / D as published, or `relative`, KL / KL_target - 1.
    reduction: over which frames the KL is averaged before its error is squared: those of the
        batch (of one device), of each clip, or each frame by itself.
    multiplier: dual-ascent rate per step, 0 for none. multiplier_limit: bound of |ν|.
    anneal_from: a rate in kbps from which the target moves geometrically to `kbps` over
        `anneal_steps` steps.
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

    def target_kbps(self, step: int) -> float:
        """The target at `step`, in kbps."""
        if self.anneal_from is None or step >= self.anneal_steps:
            return self.kbps
        share = step / self.anneal_steps
        return float(self.anneal_from ** (1 - share) * self.kbps**share)


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
        if channels == 1:
            return torch.full((1,), self.beta_min, dtype=torch.float64)
        ramp = torch.arange(channels, dtype=torch.float64) / (channels - 1)
        return self.beta_min + (self.beta_max - self.beta_min) * ramp**self.gamma


Objective = Annotated[TargetKl | Beta | FreeBits | Star, Field(discriminator="kind")]


def nats_per_frame(kbps: float, frame_rate: float) -> float:
    """The KL in nats per frame that stands for `kbps` at `frame_rate` hertz."""
    return kbps * 1000.0 * math.log(2.0) / frame_rate


def kbps_of(nats: float, frame_rate: float) -> float:
    """The rate in kbps of a KL of `nats` per frame at `frame_rate` hertz."""
    return nats * frame_rate / math.log(2.0) / 1000.0


@dataclass
class RateTerm:
    """Computes the rate term of a loss; `multiplier` is its only state.

    frame_rate: frames per second of the model (hertz).
    """

    objective: TargetKl | Beta | FreeBits | Star
    frame_rate: float
    multiplier: float = 0.0

    def __call__(
        self, mean: torch.Tensor, scale: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The term (scalar) and the KL in nats per frame (scalar, detached).

        mean, scale: (clips, channels, frames).
        """
        kl = kl_nats(mean, scale)
        objective = self.objective
        if isinstance(objective, TargetKl):
            term = self._target(objective, kl, step)
        elif isinstance(objective, Beta):
            term = objective.beta * _ramp(step, objective.anneal_steps) * kl.sum(1).mean()
        elif isinstance(objective, FreeBits):
            pressed = _reduce_channels(kl, objective.reduction).clamp_min(objective.nats)
            ramp = _ramp(step, objective.anneal_steps)
            term = objective.beta * ramp * pressed.sum(-1).mean()
        else:
            term = _star(objective, kl, step)
        return term, kl.detach().sum(1).mean()

    def update(self, nats: float, step: int) -> None:
        """Moves the multiplier after a step whose KL was `nats` per frame."""
        objective = self.objective
        if isinstance(objective, TargetKl) and objective.multiplier > 0.0:
            error = nats / self._target_nats(objective, step) - 1.0
            # Far from its target the error is cut: else the wait there would wind ν up, and the
            # rate would overshoot on the other side.
            moved = self.multiplier + objective.multiplier * max(-0.5, min(0.5, error))
            limit = objective.multiplier_limit
            self.multiplier = max(-limit, min(limit, moved))

    def _target_nats(self, objective: TargetKl, step: int) -> float:
        return nats_per_frame(objective.target_kbps(step), self.frame_rate)

    def _target(self, objective: TargetKl, kl: torch.Tensor, step: int) -> torch.Tensor:
        target = self._target_nats(objective, step)
        total = _reduce_total(kl, objective.reduction)
        unit = kl.shape[1] if objective.error == "channel" else target
        term = objective.weight * ((total - target) / unit).square().mean()
        if self.multiplier != 0.0:
            term = term + self.multiplier * (total.mean() / target - 1.0)
        return term


def _reduce_total(kl: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    total = kl.sum(1)
    if reduction == "frame":
        return total
    return total.mean(1) if reduction == "clip" else total.mean()


def _reduce_channels(kl: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """(…, channels): the KL of each channel over the frames that `reduction` names."""
    if reduction == "frame":
        return kl.transpose(1, 2)
    return kl.mean(2) if reduction == "clip" else kl.mean((0, 2))


def _star(objective: Star, kl: torch.Tensor, step: int) -> torch.Tensor:
    per_channel = kl.mean((0, 2))
    if step < objective.isotropic_steps:
        return objective.isotropic_beta * per_channel.sum()
    return (objective.weights(kl.shape[1]).to(per_channel) * per_channel).sum()


def _ramp(step: int, steps: int) -> float:
    return min(1.0, step / steps) if steps else 1.0
