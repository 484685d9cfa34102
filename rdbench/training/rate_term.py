"""The rate term of a loss, step by step: an objective (`objectives`) with what it moves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rdbench.models.bottleneck import kl_nats
from rdbench.training.objectives import (
    AnyObjective,
    Beta,
    Capacity,
    FreeBits,
    Geco,
    Reduction,
    Star,
    TargetKl,
    nats_per_frame,
    ramp,
)


@dataclass
class RateTerm:
    """Computes the rate term; `multiplier` and `violation` are its only state.

    frame_rate: frames per second of the model (hertz). multiplier: ν of target_kl, λ of geco.
    violation: geco's moving average of T / κ - 1, None before the first step.
    """

    objective: AnyObjective
    frame_rate: float
    multiplier: float = 0.0
    violation: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.objective, Geco) and self.multiplier == 0.0:
            self.multiplier = self.objective.multiplier

    def __call__(
        self, mean: torch.Tensor, scale: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The term (scalar) and the KL in nats per frame (scalar, detached).

        mean, scale: (clips, channels, frames).
        """
        kl = kl_nats(mean, scale)
        return self._term(kl, step), kl.detach().sum(1).mean()

    def _term(self, kl: torch.Tensor, step: int) -> torch.Tensor:
        match self.objective:
            case TargetKl() as objective:
                return self._target(objective, kl, step)
            case Capacity() as objective:
                error = _reduced(kl.sum(1), objective.reduction) - self._target_nats(step)
                return objective.gamma * error.abs().mean()
            case Geco():
                return kl.sum(1).mean()
            case Beta() as objective:
                return objective.beta * ramp(step, objective.anneal_steps) * kl.sum(1).mean()
            case FreeBits() as objective:
                pressed = _channels(kl, objective.reduction).clamp_min(objective.nats)
                share = ramp(step, objective.anneal_steps)
                return objective.beta * share * pressed.sum(-1).mean()
            case Star() as objective:
                return _star(objective, kl, step)

    def held(self, terms: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The reconstruction terms as they stand in the loss: those that geco holds, times λ."""
        if not isinstance(self.objective, Geco):
            return dict(terms)
        names = _names(self.objective)
        return {
            name: self.multiplier * value if name in names else value
            for name, value in terms.items()
        }

    def update(self, nats: float, terms: Mapping[str, float], step: int) -> None:
        """Moves the multiplier after a step.

        nats: its KL in nats per frame. terms: its reconstruction losses, weighted.
        """
        objective = self.objective
        if isinstance(objective, TargetKl) and objective.multiplier > 0.0:
            error = nats / self._target_nats(step) - 1.0
            # Far from its target the error is cut: else the wait there would wind ν up, and the
            # rate would overshoot on the other side.
            moved = self.multiplier + objective.multiplier * max(-0.5, min(0.5, error))
            limit = objective.multiplier_limit
            self.multiplier = max(-limit, min(limit, moved))
        elif isinstance(objective, Geco):
            self._move_geco(objective, terms)

    def target_kbps(self, step: int) -> float | None:
        """The rate that the objective aims at, None where it aims at none."""
        if isinstance(self.objective, TargetKl | Capacity):
            return self.objective.target_kbps(step)
        return None

    def state_dict(self) -> dict[str, Any]:
        """What to resume from."""
        return {"multiplier": self.multiplier, "violation": self.violation}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self.multiplier, self.violation = state["multiplier"], state["violation"]

    def _move_geco(self, objective: Geco, terms: Mapping[str, float]) -> None:
        now = sum(terms[name] for name in _names(objective)) / objective.at_most - 1.0
        kept = objective.smoothing
        self.violation = now if self.violation is None else kept * self.violation + (1 - kept) * now
        # Cut as above: an untrained model is far from any κ.
        moved = self.multiplier * math.exp(objective.rate * max(-0.5, min(0.5, self.violation)))
        limit = objective.multiplier_limit
        self.multiplier = max(1.0 / limit, min(limit, moved))

    def _target_nats(self, step: int) -> float:
        target = self.target_kbps(step)
        assert target is not None
        return nats_per_frame(target, self.frame_rate)

    def _target(self, objective: TargetKl, kl: torch.Tensor, step: int) -> torch.Tensor:
        target = self._target_nats(step)
        total = _reduced(_weighted(objective, kl), objective.reduction)
        unit = kl.shape[1] if objective.error == "channel" else target
        term = objective.weight * ((total - target) / unit).square().mean()
        if self.multiplier != 0.0:
            term = term + self.multiplier * (total.mean() / target - 1.0)
        return term


def _names(objective: Geco) -> tuple[str, ...]:
    return ("wave", "mel", "stft") if objective.term == "reconstruction" else (objective.term,)


def _weighted(objective: TargetKl, kl: torch.Tensor) -> torch.Tensor:
    """The KL of every frame, (clips, frames), with the gradient of the weighted one."""
    total = kl.sum(1)
    if objective.weights is None:
        return total
    weights = objective.weights.of(kl.shape[1]).to(kl)
    shaped = (weights[:, None] * kl).sum(1)
    return shaped + (total - shaped).detach()


def _reduced(total: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """The KL (clips, frames) over the frames that `reduction` names."""
    if reduction == "frame":
        return total
    return total.mean(1) if reduction == "clip" else total.mean()


def _channels(kl: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """(…, channels): the KL of each channel over the frames that `reduction` names."""
    if reduction == "frame":
        return kl.transpose(1, 2)
    return kl.mean(2) if reduction == "clip" else kl.mean((0, 2))


def _star(objective: Star, kl: torch.Tensor, step: int) -> torch.Tensor:
    per_channel = kl.mean((0, 2))
    if step < objective.isotropic_steps:
        return objective.isotropic_beta * per_channel.sum()
    return (objective.weights(kl.shape[1]).to(per_channel) * per_channel).sum()
