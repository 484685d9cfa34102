"""Training of a probe: flow matching over crops of latents, every task in one batch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

from rdbench.models.probe import checkpoint
from rdbench.models.probe.config import ProbeConfig
from rdbench.models.probe.flow import squared_error
from rdbench.models.probe.tasks import GAP_SECONDS, given_for
from rdbench.models.probe.transformer import Probe
from rdbench.training.loop import Run, TrainingError, seed_step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lightning_fabric import Fabric

    from rdbench.training.probe.latents import Crops, Latents
    from rdbench.training.probe.recipe import ProbeRecipe

_LOG = logging.getLogger(__name__)
_BACKWARD = 2
"""A backward pass costs two forward ones."""


class ProbeRun(Run):
    """One probe on one process of one or more."""

    recipe: ProbeRecipe
    plain: Probe

    def __init__(self, recipe: ProbeRecipe, latents: Latents, out: Path, fabric: Fabric) -> None:
        self.latents = latents
        super().__init__(recipe, _fresh(recipe, latents), out, fabric)
        self.crop = max(1, round(recipe.data.seconds * latents.frame_rate))
        self._average = [p.detach().clone() for p in self.plain.parameters()]

    def _one_step(self) -> None:
        recipe, step, rank = self.recipe, self.step, self.fabric.global_rank
        seed_step(recipe.seed, step, rank)
        size = recipe.data.batch // self.fabric.world_size
        crops = self.latents.crops(self.crop, seed=recipe.seed, step=step, size=size, rank=rank)
        self._set_learning_rate()
        loss = self._loss(crops)
        self._stop_if_not_finite(loss, "loss")
        self.fabric.backward(loss)
        self._clip()
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self._move_average()
        self._note("loss", float(loss.detach()))

    def _loss(self, crops: Crops) -> torch.Tensor:
        """The mean over live channels and the valid frames that are asked for."""
        mean, scale, condition, valid = (part.to(self.fabric.device) for part in crops)
        drawn = mean
        if self.recipe.target == "sample":
            drawn = mean + scale * torch.randn_like(mean)
        z = self.plain.standardised(drawn)
        told = (condition - self.plain.condition_mean) / self.plain.condition_scale
        conditioned, visible = self._tasks(len(z))
        given = given_for(
            z,
            told,
            visible=visible & valid,
            conditioned=conditioned,
            valid=None if bool(crops.valid.all()) else valid,
        )
        # One time in each of as many equal parts: each is uniform, and their mean varies less.
        t = (torch.rand((), device=z.device) + torch.arange(len(z), device=z.device)) / len(z)
        error = squared_error(
            lambda x, at: self.model(x, at, given), z, torch.randn_like(z), t
        ).mean(-1)
        asked = (valid & ~visible).to(error.dtype)
        return (error * asked).sum() / asked.sum().clamp_min(1.0)

    def _tasks(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Which crops are conditioned, bool (clips,), and which frames visible (clips, frames)."""
        shares, device = self.recipe.tasks, self.fabric.device
        weights = torch.tensor([shares.conditioned, shares.infill, shares.unconditional])
        drawn = torch.multinomial(weights, size, replacement=True).to(device)
        gap = max(1, min(self.crop, round(GAP_SECONDS * self.latents.frame_rate)))
        start = torch.randint(self.crop - gap + 1, (size, 1), device=device)
        place = torch.arange(self.crop, device=device) - start
        shown = (place < 0) | (place >= gap)
        return drawn == 0, shown & (drawn == 1)[:, None]

    @torch.no_grad()
    def _move_average(self) -> None:
        """Weights of early steps fade sooner: else a short run would keep some of its beginning."""
        decay = min(self.recipe.ema, self.step / (self.step + 9.0))
        weights = [p.detach() for p in self.plain.parameters()]
        torch._foreach_lerp_(self._average, weights, 1.0 - decay)

    def _more_state(self) -> dict[str, Any]:
        return {
            "average": self._average,
            "codec_sha256": self.latents.codec_sha256,
            "data_sha256": self.latents.sha256,
        }

    def _take_state(self, state: Mapping[str, Any]) -> None:
        same = (self.latents.codec_sha256, self.latents.sha256)
        if (state["codec_sha256"], state["data_sha256"]) != same:
            raise TrainingError(
                f"{self.out} was begun on latents of other weights than {self.latents.codec} now "
                "has, or of other clips; choose another folder, or remove that one"
            )
        for mine, kept in zip(self._average, state["average"], strict=True):
            mine.copy_(kept)

    def _save_weights(self, path: Path) -> None:
        kept = Probe(self.plain.config)
        kept.load_state_dict(self.plain.state_dict())
        with torch.no_grad():
            for mine, average in zip(kept.parameters(), self._average, strict=True):
                mine.copy_(average)
        about = self._provenance()
        checkpoint.save(path, kept, about)
        _LOG.info(
            "%s: %d parameters, %d steps, %.0f s, %.3g FLOPs",
            self.recipe.name, about["parameters"], self.step, self.seconds, about["flops"],
        )  # fmt: skip

    def _provenance(self) -> dict[str, Any]:
        passes = (1 + _BACKWARD) * self.recipe.data.batch * self.step
        return {
            **super()._provenance(),
            "codec": self.latents.codec,
            "codec_sha256": self.latents.codec_sha256,
            "fitted_on": list(self.latents.fitted_on),
            "data_sha256": self.latents.sha256,
            "data_clips": len(self.latents.frames),
            "data_seconds": round(float(self.latents.frames.sum()) / self.latents.frame_rate, 3),
            "parameters": self.plain.parameter_count,
            "flops": passes * self.plain.flops(self.crop),
            "loss": self._averages.get("loss"),
        }


def _fresh(recipe: ProbeRecipe, latents: Latents) -> Probe:
    config = ProbeConfig(
        shape=recipe.model,
        channels=latents.mean.shape[1],
        live=latents.live,
        frame_rate=latents.frame_rate,
        sample_rate=latents.sample_rate,
        target=recipe.target,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        probe = Probe(config)
    for name, value in latents.statistics._asdict().items():
        if name != "nats":
            probe.get_buffer(name).copy_(value)
    return probe
