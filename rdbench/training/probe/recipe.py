"""The recipe of a probe: of which checkpoint, on which clips, with which budget."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rdbench.models.config import Frozen
from rdbench.models.probe.config import ProbeShape
from rdbench.training.objectives import NonNegative, Positive
from rdbench.training.run_recipe import Count, Crops, RunRecipe


class LatentCrops(Crops):
    """Where crops of latents come from."""

    seconds: Positive = 2.0
    batch: Count = 8


class TaskShares(Frozen):
    """How the crops of a batch are shared among the tasks (`rdbench.models.probe.tasks`).

    Renoising needs no training of its own: it starts the conditioned task later.
    """

    conditioned: NonNegative = 0.5
    infill: NonNegative = 0.25
    unconditional: NonNegative = 0.25

    @model_validator(mode="after")
    def _check(self) -> TaskShares:
        if not any((self.conditioned, self.infill, self.unconditional)):
            raise ValueError("one task must have a share above 0")
        return self


class ProbeRecipe(RunRecipe):
    """One probe.

    codec: the checkpoint whose latents are generated: a finished stage, a path, or a shipped name.
    target: what is generated, a `sample` of q or its `mean`.
    ema: decay per step of the weights' moving average, which is what is kept.
    """

    kind: Literal["probe"] = "probe"
    codec: Annotated[str, Field(min_length=1)]
    model: ProbeShape = ProbeShape()
    data: LatentCrops = LatentCrops()
    tasks: TaskShares = TaskShares()
    target: Literal["sample", "mean"] = "sample"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999

    @property
    def after(self) -> str:
        """The checkpoint."""
        return self.codec
