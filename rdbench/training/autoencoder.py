"""Training of an autoencoder: reconstruction losses, a rate term, and discriminators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rdbench.models import checkpoint
from rdbench.models.autoencoder import Autoencoder, Pass
from rdbench.training.loop import STATE, Run, TrainingError, check_base, seed_step
from rdbench.training.losses import ReconstructionLoss
from rdbench.training.objectives import RateTerm, TargetKl, kbps_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lightning_fabric import Fabric

    from rdbench.training.adversarial import Adversary
    from rdbench.training.data import CropData
    from rdbench.training.recipe import Recipe

_FIT_CROPS = 64


class AutoencoderRun(Run):
    """One autoencoder on one process of one or more."""

    recipe: Recipe
    plain: Autoencoder

    def __init__(
        self, recipe: Recipe, data: CropData, out: Path, fabric: Fabric, source: Path | None
    ) -> None:
        self.data = data
        self.source = source
        self.started_from = ""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            plain = Autoencoder(recipe.model)
        if source is not None and not (out / STATE).is_file():
            self.started_from = _start_from(source, plain, recipe, data)
        super().__init__(recipe, plain, out, fabric)
        config = recipe.loss
        self.loss = ReconstructionLoss(
            recipe.model.sample_rate, config.windows, config.mels, config.compression
        ).to(fabric.device)
        self.rate = (
            RateTerm(recipe.objective, recipe.model.frame_rate)
            if recipe.objective is not None
            else None
        )
        self.adversary = self._adversary()

    def _one_step(self) -> None:
        recipe, step, rank = self.recipe, self.step, self.fabric.global_rank
        seed_step(recipe.seed, step, rank)
        size = recipe.data.batch // self.fabric.world_size
        audio = self.data.batch(seed=recipe.seed, step=step, size=size, rank=rank)
        audio = audio.to(self.fabric.device)
        self._set_learning_rate()
        made: Pass = self.model(audio, recipe.passthrough)
        terms, nats = self._terms(audio, made)
        if self.adversary is not None and step >= self.adversary.config.start:
            terms.update(self.adversary.step(reference=audio, reconstruction=made.audio))
        total = torch.stack([*terms.values()]).sum()
        self._stop_if_not_finite(total, "loss")
        self.fabric.backward(total)
        self._clip()
        for optimizer in self.optimizers:
            optimizer.step()
        if self.rate is not None:
            mean_nats = self._mean(nats)
            self.rate.update(mean_nats, step)
            self._note("nats", mean_nats)
        self.step += 1
        self._note("loss", float(total.detach()))
        for name, value in terms.items():
            self._note(name, float(value.detach()))

    def _terms(
        self, audio: torch.Tensor, made: Pass
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The weighted terms of the loss, and the KL in nats per frame."""
        config = self.recipe.loss
        losses = self.loss(
            reference=audio, reconstruction=made.audio, windows=self._windows_of_step()
        )
        terms = {name: getattr(config, name) * value for name, value in losses.items()}
        nats = torch.zeros((), device=audio.device)
        if self.rate is not None:
            assert made.mean is not None
            assert made.scale is not None
            terms["rate"], nats = self.rate(made.mean, made.scale, self.step)
        else:
            terms["commitment"] = config.commitment * made.commitment
            terms["codebook"] = config.codebook * made.codebook
        return terms, nats

    def _windows_of_step(self) -> tuple[int, ...]:
        config = self.recipe.loss
        if not config.windows_per_step or config.windows_per_step >= len(config.windows):
            return config.windows
        generator = np.random.default_rng((self.recipe.seed, self.step, 1 << 20))
        chosen = generator.choice(len(config.windows), config.windows_per_step, replace=False)
        return tuple(config.windows[i] for i in sorted(chosen.tolist()))

    def _said(self) -> list[str]:
        averages = self._averages
        parts = [f"{name} {value:.4f}" for name, value in averages.items() if name != "nats"]
        if self.rate is not None:
            nats = averages["nats"]
            kbps = kbps_of(nats, self.recipe.model.frame_rate)
            target = ""
            if isinstance(self.rate.objective, TargetKl):
                target = f" (target {self.rate.objective.target_kbps(self.step):.2f})"
            parts.append(f"KL {nats:.2f} nats/frame = {kbps:.2f} kbps{target}")
            parts.append(f"multiplier {self.rate.multiplier:.3f}")
        return parts

    def _adversary(self) -> Adversary | None:
        if self.recipe.adversarial is None:
            return None
        from rdbench.training.adversarial import Adversary

        return Adversary(self.recipe.adversarial, self.recipe, self.fabric)

    def _more_state(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "started_from": self.started_from,
            "multiplier": self.rate.multiplier if self.rate is not None else 0.0,
        }
        if self.adversary is not None:
            content["adversary"] = self.adversary.state_dict()
        return content

    def _take_state(self, state: Mapping[str, Any]) -> None:
        self.started_from = state["started_from"]
        if self.source is not None:
            check_base(self.out / STATE, self.source, self.started_from)
        if self.rate is not None:
            self.rate.multiplier = state["multiplier"]
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])

    def _save_weights(self, path: Path) -> None:
        checkpoint.save(path, self.plain, self._provenance())

    def _provenance(self) -> dict[str, Any]:
        return {
            **super()._provenance(),
            "data_sha256": self.data.sha256,
            "data_clips": self.data.clips,
            "data_seconds": round(self.data.seconds, 3),
            "started_from_sha256": self.started_from,
        }


def _start_from(path: Path, plain: Autoencoder, recipe: Recipe, data: CropData) -> str:
    """Gives `plain` the weights at `path`; returns their SHA-256."""
    from rdbench.training.warm_start import fit_quantizer, take_over

    source, header = checkpoint.load(path)
    if take_over(plain, source) == 0:
        raise TrainingError(
            f"{recipe.name} cannot start from {path}: no tensor of it fits this model; "
            "start from a model with the same backbone"
        )
    audio = data.batch(seed=recipe.seed, step=1 << 30, size=_FIT_CROPS)
    fit_quantizer(plain, source, audio, recipe.seed)
    return header.sha256
