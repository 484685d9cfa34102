"""What the recipes of all kinds of runs share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from rdbench.models.config import Frozen
from rdbench.training.objectives import NonNegative, Positive

Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class OptimizerConfig(Frozen):
    """AdamW, or Muon for matrices and AdamW for the rest (`rdbench.training.optimizers`).

    codebook_factor: learning rate of an RVQ's codebooks over that of the rest: entries must keep up
        with latents that a whole layer can scale.
    clip_norm: longest gradient of what AdamW moves; a step of Muon has one length.
    schedule: after a linear warm-up `constant`, `cosine` to `final_share` of the rate over the run,
        or `linear`.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: Positive = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: NonNegative = 0.01
    warmup: Annotated[int, Field(ge=0)] = 100
    codebook_factor: Positive = 10.0
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    clip_norm: Positive = 1.0


class Crops(Frozen):
    """Where crops come from.

    corpus: a folder or a manifest; environment variables ($RDBENCH_SHARED) are filled in.
    seconds: length of a crop. batch: crops per step over all devices.
    """

    corpus: str = ""
    seconds: Positive = 1.0
    batch: Count = 16


class RunRecipe(Frozen, ABC):
    """One training run.

    precision: Lightning Fabric's name (`32-true`, `bf16-mixed`, `16-mixed`).
    save_every: steps between two writings of the state to resume from.
    log_every: steps between two lines of the progress, which stand in `log.csv` too.
    """

    observing: ClassVar[frozenset[str]] = frozenset({"save_every", "log_every"})
    """Keys that change nothing in what is trained."""

    name: Name
    steps: Count
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    optimizer: OptimizerConfig = OptimizerConfig()
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    save_every: Count = 500
    log_every: Count = 50
    data: Crops = Crops()

    @property
    @abstractmethod
    def after(self) -> str | None:
        """A stage of the same file that must be finished before; or a checkpoint, or None."""

    @model_validator(mode="after")
    def _check_precision(self) -> RunRecipe:
        if self.optimizer.kind == "muon" and self.precision == "16-mixed":
            raise ValueError("Muon cannot undo the scaling of 16-mixed: set precision: bf16-mixed")
        return self
