"""The training loop: Lightning Fabric over CPU, one GPU or several, resumable to the bit.

Every random number of a step comes from (seed, step, rank), so that a run which was killed and
resumed equals one that was not. A run's folder holds

    state.pt              what to resume from, written whole or not at all
    weights.safetensors   the finished model, in half precision
    tensorboard/          where asked for

`train` runs one recipe, `train_file` a file of them (a sweep).
"""

from __future__ import annotations

import io
import logging
import math
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rdbench.models import checkpoint
from rdbench.models.autoencoder import Autoencoder, Pass
from rdbench.training.losses import ReconstructionLoss
from rdbench.training.objectives import RateTerm, TargetKl, kbps_of
from rdbench.training.optimizers import learning_rate, optimizers_of, set_learning_rate
from rdbench.training.recipe import Recipe
from rdbench.types import RdbenchError
from rdbench.version import __version__

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from rdbench.training.adversarial import Adversary
    from rdbench.training.data import CropData

_LOG = logging.getLogger(__name__)
_STATE_VERSION = 2
STATE = "state.pt"
WEIGHTS = "weights.safetensors"
_FIT_CROPS = 64


class TrainingError(RdbenchError):
    """A run that cannot start, go on or write its state."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. weights: the finished checkpoint, None where time ran out before."""

    step: int
    weights: Path | None


class Run:
    """One recipe on one process of one or more."""

    def __init__(
        self, recipe: Recipe, data: CropData, out: Path, fabric: Fabric, source: Path | None
    ) -> None:
        self.recipe = recipe
        self.data = data
        self.out = out
        self.fabric = fabric
        self.step = 0
        self.seconds = 0.0
        self.started_from = ""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.plain = Autoencoder(recipe.model)
        if source is not None and not (out / STATE).is_file():
            self._start_from(source)
        self.model, *self.optimizers = fabric.setup(
            self.plain,
            *optimizers_of(self.plain, recipe.optimizer, scaled=recipe.precision == "16-mixed"),
        )
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
        self._averages: dict[str, float] = {}

    def run(self, deadline: float) -> Outcome:
        """Trains until the recipe's steps or `deadline` (time.monotonic) are reached."""
        self._resume()
        recipe = self.recipe
        mark = time.monotonic()
        while self.step < recipe.steps:
            if self._late(deadline):
                self._save_state(mark)
                _LOG.info("%s: time is up at step %d; run again to go on", recipe.name, self.step)
                return Outcome(self.step, None)
            self._one_step()
            if self.step % recipe.log_every == 0 or self.step == recipe.steps:
                self._report(mark)
            if self.step % recipe.save_every == 0 and self.step < recipe.steps:
                mark = self._save_state(mark)
        self._save_state(mark)
        return Outcome(self.step, self._finish())

    def _late(self, deadline: float) -> bool:
        """Whether time is up; on several devices the first one's clock decides."""
        late = time.monotonic() >= deadline
        if self.fabric.world_size > 1 and math.isfinite(deadline):
            late = bool(self.fabric.broadcast(late))
        return late

    def _one_step(self) -> None:
        recipe, step, rank = self.recipe, self.step, self.fabric.global_rank
        _seed(recipe.seed, step, rank)
        size = recipe.data.batch // self.fabric.world_size
        audio = self.data.batch(seed=recipe.seed, step=step, size=size, rank=rank)
        audio = audio.to(self.fabric.device)
        for optimizer in self.optimizers:
            set_learning_rate(optimizer, learning_rate(recipe.optimizer, step, recipe.steps))
            optimizer.zero_grad(set_to_none=True)
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

    def _clip(self) -> None:
        """Clips the gradient of what AdamW moves, and stops where any gradient is not finite.

        A step of Muon has one length, whatever its gradient's. Scaled gradients overflow now and
        then; their scaler leaves such steps out.
        """
        norm = self.fabric.clip_gradients(
            self.model,
            self.optimizers[0],
            max_norm=self.recipe.optimizer.clip_norm,
            error_if_nonfinite=False,
        )
        if self.recipe.precision != "16-mixed":
            assert isinstance(norm, torch.Tensor)
            groups = [group for other in self.optimizers[1:] for group in other.param_groups]
            grads = [p.grad for group in groups for p in group["params"] if p.grad is not None]
            self._stop_if_not_finite(norm + torch.nn.utils.get_total_norm(grads), "gradient")

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

    def _stop_if_not_finite(self, value: torch.Tensor, what: str) -> None:
        finite = torch.isfinite(value.detach()).all().float()
        if self._mean(finite) < 1.0:
            kept = self.out / STATE
            where = f"the last good state is {kept}" if kept.is_file() else "no state was kept"
            raise TrainingError(
                f"{self.recipe.name} stopped at step {self.step}: its {what} is not finite; "
                f"{where}; lower the learning rate and run again"
            )

    def _mean(self, value: torch.Tensor) -> float:
        """The mean of a scalar over all devices."""
        reduced = self.fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(reduced, torch.Tensor)
        return float(reduced)

    def _note(self, name: str, value: float) -> None:
        """Running averages for the progress line, over some 50 steps."""
        old = self._averages.get(name)
        self._averages[name] = value if old is None else 0.98 * old + 0.02 * value

    def _report(self, mark: float) -> None:
        if not self.fabric.is_global_zero:
            return
        recipe, averages = self.recipe, self._averages
        parts = [f"{name} {value:.4f}" for name, value in averages.items() if name not in ("nats",)]
        if self.rate is not None:
            nats = averages["nats"]
            kbps = kbps_of(nats, recipe.model.frame_rate)
            target = ""
            if isinstance(self.rate.objective, TargetKl):
                target = f" (target {self.rate.objective.target_kbps(self.step):.2f})"
            parts.append(f"KL {nats:.2f} nats/frame = {kbps:.2f} kbps{target}")
            parts.append(f"multiplier {self.rate.multiplier:.3f}")
        elapsed = self.seconds + time.monotonic() - mark
        _LOG.info(
            "%s step %d/%d, %.0f s: %s",
            recipe.name,
            self.step,
            recipe.steps,
            elapsed,
            ", ".join(parts),
        )
        self.fabric.log_dict(dict(averages), step=self.step)

    def _adversary(self) -> Adversary | None:
        if self.recipe.adversarial is None:
            return None
        from rdbench.training.adversarial import Adversary

        return Adversary(self.recipe.adversarial, self.recipe, self.fabric)

    def _start_from(self, path: Path) -> None:
        from rdbench.training.warm_start import fit_quantizer, take_over

        source, header = checkpoint.load(path)
        if take_over(self.plain, source) == 0:
            raise TrainingError(
                f"{self.recipe.name} cannot start from {path}: no tensor of it fits this model; "
                "start from a model with the same backbone"
            )
        audio = self.data.batch(seed=self.recipe.seed, step=1 << 30, size=_FIT_CROPS)
        fit_quantizer(self.plain, source, audio, self.recipe.seed)
        self.started_from = header.sha256

    def _save_state(self, mark: float) -> float:
        now = time.monotonic()
        self.seconds += now - mark
        content: dict[str, Any] = {
            "version": _STATE_VERSION,
            "recipe": self.recipe.model_dump_json(),
            "step": self.step,
            "seconds": self.seconds,
            "started_from": self.started_from,
            "model": self.plain.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "multiplier": self.rate.multiplier if self.rate is not None else 0.0,
            "averages": dict(self._averages),
        }
        if self.adversary is not None:
            content["adversary"] = self.adversary.state_dict()
        if self.fabric.is_global_zero:
            buffer = io.BytesIO()
            torch.save(content, buffer)
            self._write(self.out / STATE, buffer.getvalue())
        self.fabric.barrier()
        return now

    def _write(self, path: Path, content: bytes) -> None:
        try:
            checkpoint.write_atomically(path, content)
        except OSError as error:
            raise TrainingError(_refused(path, error)) from error

    def _resume(self) -> None:
        path = self.out / STATE
        if not path.is_file():
            return
        state = _read_state(path)
        if _essence(Recipe.model_validate_json(state["recipe"])) != _essence(self.recipe):
            raise TrainingError(
                f"{path} belongs to another recipe than {self.recipe.name!r} as it is now; "
                "choose another folder, or remove that one"
            )
        self.plain.load_state_dict(state["model"])
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        self.step, self.seconds = state["step"], state["seconds"]
        self.started_from = state["started_from"]
        self._averages = dict(state["averages"])
        if self.rate is not None:
            self.rate.multiplier = state["multiplier"]
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])
        _LOG.info("%s: resumes at step %d", self.recipe.name, self.step)

    def _finish(self) -> Path:
        path = self.out / WEIGHTS
        if self.fabric.is_global_zero:
            try:
                checkpoint.save(path, self.plain, self._provenance())
            except OSError as error:
                raise TrainingError(_refused(path, error)) from error
        self.fabric.barrier()
        return path

    def _provenance(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "data_sha256": self.data.sha256,
            "data_clips": self.data.clips,
            "data_seconds": round(self.data.seconds, 3),
            "steps": self.step,
            "seconds": round(self.seconds, 1),
            "seed": self.recipe.seed,
            "started_from_sha256": self.started_from,
            "devices": self.fabric.world_size,
            "device": self.fabric.device.type,
            "threads": torch.get_num_threads(),
            "commit": _commit(),
            "rdbench": __version__,
            "torch": torch.__version__,
        }


def _essence(recipe: Recipe) -> Recipe:
    """What must not change between a state and the run that goes on from it.

    With a constant learning rate the number of steps decides nothing before the end.
    """
    constant = recipe.optimizer.schedule == "constant"
    same = {"save_every": 1, "log_every": 1} | ({"steps": 1} if constant else {})
    return recipe.model_copy(update=same)


def _seed(seed: int, step: int, rank: int) -> None:
    state = np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]) >> 1)


def _read_state(path: Path) -> Mapping[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        version = state["version"]
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path} is damaged or no training state of rdbench; remove it to start again"
        ) from error
    if version != _STATE_VERSION:
        raise TrainingError(
            f"{path} has state version {version}, this rdbench reads {_STATE_VERSION}; "
            "remove it to start again"
        )
    assert isinstance(state, dict)
    return state


def _refused(path: Path, error: OSError) -> str:
    older = "the file before it is whole" if path.is_file() else "nothing was written"
    return f"{path} cannot be written: {error.strerror}; {older}; make room and run again"


def _commit() -> str:
    """The commit of the checkout that trains, "-dirty" behind it where files differ; else ""."""
    root = Path(__file__).resolve().parents[2]
    head = _git(root, "rev-parse", "--show-toplevel", "HEAD").split()
    # An installed package can lie inside someone else's repository.
    if len(head) != 2 or Path(head[0]).resolve() != root:
        return ""
    return head[1] + ("-dirty" if _git(root, "status", "--porcelain", "--", "rdbench") else "")


def _git(root: Path, *arguments: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
