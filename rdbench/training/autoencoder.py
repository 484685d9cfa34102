"""Training of an autoencoder: reconstruction losses, a rate term, and discriminators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rdbench.models import checkpoint
from rdbench.models.autoencoder import Autoencoder, Pass
from rdbench.training.loop import STATE, Run, TrainingError, check_base, seed_step, writing
from rdbench.training.losses import ReconstructionLoss
from rdbench.training.objectives import kbps_of
from rdbench.training.rate_term import RateTerm
from rdbench.training.record import fixed
from rdbench.training.record.examples import FOLDER, write_examples
from rdbench.training.record.gradients import gradient_norms
from rdbench.training.staging import gate
from rdbench.training.staging.replay import ReplayedLatents, encoders_of
from rdbench.types import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lightning_fabric import Fabric

    from rdbench.training.adversarial import Adversary
    from rdbench.training.data import CropData
    from rdbench.training.recipe import Recipe

_FIT_CROPS = 64
_DRIFT_CROPS = 8


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
        self.same_encoder: tuple[str, ...] = ()
        self._before: torch.Tensor | None = None
        self._replayed: ReplayedLatents | None = None
        self._replayed_sha256 = ""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            plain = Autoencoder(recipe.model)
        if source is not None and not (out / STATE).is_file():
            self.started_from, self.same_encoder = _start_from(source, plain, recipe, data)
        for part in recipe.freeze:
            plain.get_submodule(part).requires_grad_(False)
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

    def _prepare(self) -> None:
        recipe = self.recipe
        if self._before is None:
            self._before = self._means()
        if recipe.replay is not None:
            self._replayed = ReplayedLatents(
                recipe.replay, self.data, recipe.model, self.same_encoder
            )
            if self._replayed_sha256 not in ("", self._replayed.sha256):
                raise TrainingError(
                    f"{self.out} was begun with other replayed latents than these are; restore "
                    "them, or choose another folder"
                )
            self._replayed_sha256 = self._replayed.sha256

    def _one_step(self) -> None:
        recipe, step = self.recipe, self.step
        seed_step(recipe.seed, step, self.fabric.global_rank)
        audio, replayed = self._batch()
        self._set_learning_rate()
        made: Pass = self.model(audio, recipe.passthrough, recipe.latent_noise, replayed)
        losses = self._losses(
            reference=audio, reconstruction=made.audio, windows=self._windows_of_step()
        )
        terms, nats = self._terms(losses, made)
        if self.adversary is not None and step >= self.adversary.config.start:
            terms.update(self.adversary.step(reference=audio, reconstruction=made.audio))
        total = torch.stack([*terms.values()]).sum()
        self._stop_if_not_finite(total, "loss")
        observed = self._gradients(terms)
        self.fabric.backward(total)
        self._clip()
        for optimizer in self.optimizers:
            optimizer.step()
        if self.rate is not None:
            self._move(self.rate, losses, nats, trained=made.mean)
        self.step += 1
        self._note("loss", float(total.detach()))
        for name, value in {**terms, **losses}.items():
            self._note(name, float(value.detach()))
        if recipe.drift_every and self.step % recipe.drift_every == 0:
            assert self._before is not None
            observed["drift/mean"] = fixed.relative_change(self._means(), self._before)
        if observed:
            self._log(observed)

    def _batch(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The crops of this step, and what is replayed of the last of them, where anything is."""
        recipe, device = self.recipe, self.fabric.device
        size = recipe.data.batch // self.fabric.world_size
        where = {"seed": recipe.seed, "step": self.step, "rank": self.fabric.global_rank}
        if self._replayed is None or recipe.replay is None:
            return self.data.batch(size=size, **where).to(device), None
        count = recipe.replay.crops(size)
        audio, latents = self._replayed.batch(size=count, **where)
        if count < size:
            audio = torch.cat([self.data.batch(size=size - count, **where), audio])
        return audio.to(device), latents.to(device)

    def _losses(
        self,
        *,
        reference: torch.Tensor,
        reconstruction: torch.Tensor,
        windows: tuple[int, ...] | None = None,
    ) -> dict[str, torch.Tensor]:
        """The reconstruction losses, weighted."""
        found = self.loss(reference=reference, reconstruction=reconstruction, windows=windows)
        return {name: getattr(self.recipe.loss, name) * value for name, value in found.items()}

    def _terms(
        self, losses: Mapping[str, torch.Tensor], made: Pass
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The terms whose sum is the loss, and the KL in nats per frame."""
        config = self.recipe.loss
        if self.rate is None:
            quantizer = {
                "commitment": config.commitment * made.commitment,
                "codebook": config.codebook * made.codebook,
            }
            return {**losses, **quantizer}, torch.zeros((), device=made.audio.device)
        assert made.mean is not None
        assert made.scale is not None
        term, nats = self.rate(made.mean, made.scale, self.step)
        return {**self.rate.held(losses), "rate": term}, nats

    def _move(
        self,
        rate: RateTerm,
        losses: Mapping[str, torch.Tensor],
        nats: torch.Tensor,
        *,
        trained: torch.Tensor | None,
    ) -> None:
        """Moves the multiplier; not that of a frozen encoder, whose rate nothing can move."""
        mean_nats = self._mean(nats)
        if trained is not None and trained.requires_grad:
            values = {name: self._mean(value.detach()) for name, value in losses.items()}
            rate.update(mean_nats, values, self.step)
        self._note("nats", mean_nats)

    def _gradients(self, terms: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """The norm of each term's gradient at the encoder, at the steps that ask for it."""
        every = self.recipe.gradients_every
        if not every or (self.step + 1) % every:
            return {}
        norms = gradient_norms(terms, [*self.plain.encoder.parameters()])
        return {f"gradient/{name}": norm for name, norm in norms.items()}

    def _means(self) -> torch.Tensor:
        crops = fixed.fixed_crops(self.data, self.recipe.seed, fixed.DRIFT, _DRIFT_CROPS)
        return fixed.means_of(self.plain, crops)

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
            target = self.rate.target_kbps(self.step)
            aim = "" if target is None else f" (target {target:.2f})"
            parts.append(f"KL {nats:.2f} nats/frame = {kbps:.2f} kbps{aim}")
            parts.append(f"multiplier {self.rate.multiplier:.3f}")
        return parts

    def _logged(self) -> dict[str, float]:
        found = super()._logged()
        if self.rate is not None:
            nats = found.pop("loss/nats")
            found["rate/nats"] = nats
            found["rate/kbps"] = kbps_of(nats, self.recipe.model.frame_rate)
            target = self.rate.target_kbps(self.step)
            if target is not None:
                found["rate/target_kbps"] = target
            found["rate/multiplier"] = self.rate.multiplier
        return found

    def _state_saved(self) -> None:
        recipe = self.recipe
        if recipe.examples:
            crops = fixed.fixed_crops(self.data, recipe.seed, fixed.EXAMPLES, recipe.examples)
            folder = self.out / FOLDER
            with writing(folder):
                write_examples(folder, self.plain, crops, step=self.step, seed=recipe.seed)

    def _adversary(self) -> Adversary | None:
        if self.recipe.adversarial is None:
            return None
        from rdbench.training.adversarial import Adversary

        return Adversary(self.recipe.adversarial, self.recipe, self.fabric)

    def _more_state(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "data_sha256": self.data.sha256,
            "started_from": self.started_from,
            "same_encoder": list(self.same_encoder),
            "replayed_sha256": self._replayed_sha256,
            "before": self._before,
            "rate": self.rate.state_dict() if self.rate is not None else None,
        }
        if self.adversary is not None:
            content["adversary"] = self.adversary.state_dict()
        return content

    def _take_state(self, state: Mapping[str, Any]) -> None:
        if state["data_sha256"] != self.data.sha256:
            raise TrainingError(
                f"{self.out} was begun on other data than this is; restore it, choose another "
                "folder, or remove that one"
            )
        self.started_from = state["started_from"]
        if self.source is not None:
            check_base(self.out / STATE, self.source, self.started_from)
        self.same_encoder = tuple(state["same_encoder"])
        self._replayed_sha256, self._before = state["replayed_sha256"], state["before"]
        if self.rate is not None:
            self.rate.load_state_dict(state["rate"])
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])

    def _save_weights(self, path: Path) -> None:
        if not self._is_kept(path):
            checkpoint.save(path, self.plain, self._provenance())
        asked = self.recipe.gate
        if asked is not None:
            gate.write(path, asked.crops, self._measured(asked.crops))

    def _is_kept(self, path: Path) -> bool:
        """Whether `path` holds this model already: what was trained from it names its bytes."""
        if not path.is_file():
            return False
        try:
            kept, header = checkpoint.load(path)
        except WeightsError:
            return False
        if header.config != self.recipe.model or header.provenance.get("steps") != self.step:
            return False
        mine = self.plain.state_dict()
        return all(
            torch.equal(value, mine[name].detach().to("cpu", torch.float16).float())
            for name, value in kept.state_dict().items()
        )

    def _provenance(self) -> dict[str, Any]:
        found = {
            **super()._provenance(),
            "data_sha256": self.data.sha256,
            "data_clips": self.data.clips,
            "data_seconds": round(self.data.seconds, 3),
            "started_from_sha256": self.started_from,
        }
        if self.recipe.keeps_encoder:
            found["same_encoder_as"] = list(self.same_encoder)
        if self._replayed_sha256:
            found["replayed_sha256"] = self._replayed_sha256
        return found

    def _measured(self, crops: int) -> dict[str, float]:
        """What a gate is held against."""
        seed = self.recipe.seed
        chosen = fixed.fixed_crops(self.data, seed, fixed.MEASURED, crops)
        found = fixed.measure(self.plain, self._losses, chosen, seed)
        losses = sum(value for name, value in found.items() if name not in ("kbps", "dead"))
        return {**found, "reconstruction": losses}


def _start_from(
    path: Path, plain: Autoencoder, recipe: Recipe, data: CropData
) -> tuple[str, tuple[str, ...]]:
    """Gives `plain` the weights at `path`; returns their SHA-256, and the checkpoints with the same
    encoder, itself among them.
    """
    from rdbench.training.warm_start import differing, fit_quantizer, take_over

    source, header = checkpoint.load(path)
    if take_over(plain, source) == 0:
        raise TrainingError(
            f"{recipe.name} cannot start from {path}: no tensor of it fits this model; "
            "start from a model with the same backbone"
        )
    for part in sorted(recipe.freeze):
        if name := differing(plain, source, part):
            raise TrainingError(
                f"{recipe.name} freezes its {part}, of which {path} lacks {name}; thaw it, or "
                "start from a model that has it"
            )
    audio = fixed.fixed_crops(data, recipe.seed, fixed.FITTED, _FIT_CROPS)
    fit_quantizer(plain, source, audio, recipe.seed)
    return header.sha256, encoders_of(header.sha256, header.provenance)
