"""The training loop: Lightning Fabric over CPU, one GPU or several, resumable to the bit.

Every random number of a step comes from (seed, step, rank), so that a run which was killed and
resumed equals one that was not. A run's folder holds

    state.pt              what to resume from, written whole or not at all
    weights.safetensors   the finished model, in half precision
    measured.json         what its gate is held against, where it has one (`staging.gate`)
    log.csv               what was measured on the way (`record.log`)
    tensorboard/          the same, where asked for

What is trained in a step, and what else a state holds, is the business of a kind of run.
"""

from __future__ import annotations

import datetime
import io
import json
import logging
import math
import pickle
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import ValidationError

from rdbench.identity import file_sha256
from rdbench.models import checkpoint
from rdbench.training.optimizers import learning_rate, optimizers_of, set_learning_rate
from rdbench.training.record.log import Log
from rdbench.training.run_recipe import RunRecipe
from rdbench.types import RdbenchError
from rdbench.version import __version__

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_LOG = logging.getLogger(__name__)
_STATE_VERSION = 3
STATE = "state.pt"
WEIGHTS = "weights.safetensors"


class TrainingError(RdbenchError):
    """A run that cannot start, go on or write its state."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    weights: the finished checkpoint, None where time ran out before. failure: what its gate does
    not let pass, in a sentence.
    """

    step: int
    weights: Path | None
    failure: str = ""

    @property
    def finished(self) -> bool:
        """Whether what comes after it may begin."""
        return self.weights is not None and not self.failure


class Run(ABC):
    """One recipe on one process of one or more.

    plain: the model, on the CPU, before Fabric wraps it.
    """

    def __init__(
        self, recipe: RunRecipe, plain: torch.nn.Module, out: Path, fabric: Fabric
    ) -> None:
        self.recipe = recipe
        self.plain = plain
        self.out = out
        self.fabric = fabric
        self.step = 0
        self.seconds = 0.0
        self.model, *self.optimizers = fabric.setup(
            plain, *optimizers_of(plain, recipe.optimizer, scaled=recipe.precision == "16-mixed")
        )
        self._averages: dict[str, float] = {}
        self._record = Log(out)
        self._went_on = 0, 0.0

    @abstractmethod
    def _one_step(self) -> None:
        """One step of training; counts it, and notes what the progress line shows."""

    @abstractmethod
    def _save_weights(self, path: Path) -> None:
        """Writes the finished model; raises OSError."""

    def _more_state(self) -> dict[str, Any]:
        """What to resume from, beside model, optimizers and step."""
        return {}

    def _take_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from `_more_state`; raises TrainingError where it fits nothing here."""

    def _prepare(self) -> None:
        """Called once before the first step of this process, after a state was taken."""

    def _state_saved(self) -> None:
        """Called after every writing of the state, on the first device."""

    def _said(self) -> list[str]:
        """What the progress line shows."""
        return [f"{name} {value:.4f}" for name, value in self._averages.items()]

    def _logged(self) -> dict[str, float]:
        """What is logged with the progress line, by names as in `record.log`."""
        return {_logged_as(name): value for name, value in self._averages.items()}

    def run(self, deadline: float) -> Outcome:
        """Trains until the recipe's steps or `deadline` (time.monotonic) are reached."""
        self._resume()
        self._prepare()
        if self.fabric.is_global_zero:
            with writing(self._record.path):
                self._record.go_on(self.step)
        recipe = self.recipe
        mark = time.monotonic()
        self._went_on = self.step, mark
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

    def _set_learning_rate(self) -> None:
        rate = learning_rate(self.recipe.optimizer, self.step, self.recipe.steps)
        for optimizer in self.optimizers:
            set_learning_rate(optimizer, rate)
            optimizer.zero_grad(set_to_none=True)

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
        recipe, now = self.recipe, time.monotonic()
        elapsed = self.seconds + now - mark
        first, began = self._went_on
        speed = (self.step - first) / max(now - began, 1e-9)
        left = datetime.timedelta(seconds=round((recipe.steps - self.step) / max(speed, 1e-9)))
        crops = speed * recipe.data.batch
        pace = f"{crops:.3g} crops/s, {left} left"
        said = ", ".join([*self._said(), pace])
        _LOG.info("%s step %d/%d, %.0f s: %s", recipe.name, self.step, recipe.steps, elapsed, said)
        times = {"time/seconds": elapsed, "time/crops_per_second": crops}
        self._log({**self._logged(), **times})

    def _log(self, values: Mapping[str, float]) -> None:
        """Writes `values` of this step to the log, on the first device."""
        if self.fabric.is_global_zero:
            with writing(self._record.path):
                self._record.add(self.step, values)
            self.fabric.log_dict(dict(values), step=self.step)

    def _save_state(self, mark: float) -> float:
        now = time.monotonic()
        self.seconds += now - mark
        content: dict[str, Any] = {
            "version": _STATE_VERSION,
            "recipe": self.recipe.model_dump_json(),
            "step": self.step,
            "seconds": self.seconds,
            "model": self.plain.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "averages": dict(self._averages),
            **self._more_state(),
        }
        if self.fabric.is_global_zero:
            buffer = io.BytesIO()
            torch.save(content, buffer)
            with writing(self.out / STATE):
                checkpoint.write_atomically(self.out / STATE, buffer.getvalue())
            self._state_saved()
        self.fabric.barrier()
        return now

    def _resume(self) -> None:
        path = self.out / STATE
        if not path.is_file():
            return
        state = _read_state(path)
        if not _goes_on(state["recipe"], self.recipe):
            raise TrainingError(
                f"{path} belongs to another recipe than {self.recipe.name!r} as it is now; "
                "choose another folder, or remove that one"
            )
        self._take_state(state)
        self.plain.load_state_dict(state["model"])
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        self.step, self.seconds = state["step"], state["seconds"]
        self._averages = dict(state["averages"])
        _LOG.info("%s: resumes at step %d", self.recipe.name, self.step)

    def _finish(self) -> Path:
        path = self.out / WEIGHTS
        if self.fabric.is_global_zero:
            with writing(path):
                self._save_weights(path)
        self.fabric.barrier()
        return path

    def _provenance(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "steps": self.step,
            "seconds": round(self.seconds, 1),
            "seed": self.recipe.seed,
            "devices": self.fabric.world_size,
            "device": self.fabric.device.type,
            "threads": torch.get_num_threads(),
            "commit": _commit(),
            "rdbench": __version__,
            "torch": torch.__version__,
        }


def is_finished(path: Path, provenance: Mapping[str, Any], recipe: RunRecipe) -> bool:
    """Whether the checkpoint at `path`, of which its header says `provenance`, is of `recipe`.

    Of fewer steps, at a constant learning rate, it is not finished: its state goes on from there.
    Raises TrainingError where another recipe made it.
    """
    said = provenance.get("recipe")
    made = json.dumps(said)
    if not _goes_on(made, recipe):
        field = _differing(said if isinstance(said, Mapping) else {}, recipe)
        raise TrainingError(
            f"{path} is of another recipe than {recipe.name!r} as it is now (`{field}` differs); "
            f"choose another folder, or remove {path.parent} to train it again"
        )
    return type(recipe).model_validate_json(made).steps == recipe.steps


def check_base(path: Path, base: Path, sha256: str) -> None:
    """Holds what was trained from a checkpoint, or on its latents, against that as it is now.

    path: what was trained. base: the checkpoint that it names. sha256: of the file that it was
    trained from, "" where that was not noted, which says nothing. Raises TrainingError where the
    base was trained anew meanwhile.
    """
    if sha256 and file_sha256(base) != sha256:
        raise TrainingError(
            f"{path} was trained from another {base} than the one there now, which was trained "
            f"anew since; choose another folder, or remove {path.parent} to train it again"
        )


def _differing(said: Mapping[str, Any], recipe: RunRecipe) -> str:
    """The first field in which a checkpoint's recipe is another one, dots between its parts."""
    now: Mapping[str, Any] = recipe.model_dump(mode="json")
    with suppress(ValidationError):  # an earlier rdbench left out fields that are newer
        said = type(recipe).model_validate(said).model_dump(mode="json")
    for key, value in now.items():
        if key not in recipe.observing and said.get(key) != value:
            inner = said.get(key)
            if isinstance(value, Mapping) and isinstance(inner, Mapping):
                parts = [name for name in value if inner.get(name) != value[name]]
                return f"{key}.{parts[0]}" if parts else key
            return key
    return "a field that is no more"


def _goes_on(text: str, recipe: RunRecipe) -> bool:
    """Whether a state's recipe, as JSON, is one that `recipe` may go on from."""
    try:
        begun = type(recipe).model_validate_json(text)
    except ValidationError:
        return False
    return _essence(begun) == _essence(recipe)


def _essence(recipe: RunRecipe) -> RunRecipe:
    """What must not change between a state and the run that goes on from it.

    With a constant learning rate the number of steps decides nothing before the end.
    """
    fields = type(recipe).model_fields
    same = {name: fields[name].get_default() for name in recipe.observing}
    if recipe.optimizer.schedule == "constant":
        same["steps"] = 1
    return recipe.model_copy(update=same)


def _logged_as(name: str) -> str:
    return "loss/total" if name == "loss" else f"loss/{name}"


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seeds torch's generators for one step on one device."""
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


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises TrainingError where `path` cannot be written."""
    try:
        yield
    except OSError as error:
        older = "the file before it is whole" if path.is_file() else "nothing was written"
        raise TrainingError(
            f"{path} cannot be written: {error.strerror}; {older}; make room and run again"
        ) from error


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
