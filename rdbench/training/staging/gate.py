"""Whether a stage that has ended is good enough for those that start from it.

Held against numbers that are measured after its last step, on fixed crops of the training data:
the rate, and the losses, as the recipe weighs them, of what is decoded of samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from rdbench.models.config import Frozen
from rdbench.training.objectives import Distortion, Positive


class GateConfig(Frozen):
    """What a finished stage must keep to; one that does not ends the run, its weights written.

    kbps_within: largest relative error of the measured rate against the objective's `kbps`.
    at_most: by name (`reconstruction`, `wave`, `mel`, `stft`) the largest loss, as weighted.
    crops: how many fixed crops it is measured on.
    """

    kbps_within: Positive | None = None
    at_most: dict[Distortion, Positive] = Field(default={})
    crops: Annotated[int, Field(ge=1, le=65_536)] = 256

    @model_validator(mode="after")
    def _check(self) -> GateConfig:
        if self.kbps_within is None and not self.at_most:
            raise ValueError("a gate needs `kbps_within`, `at_most` or both")
        return self


def failure(gate: GateConfig, measured: Mapping[str, float], target_kbps: float | None) -> str:
    """What of `measured` (`kbps` and losses) the gate does not let pass; "" where all does.

    target_kbps: what the rate is held against.
    """
    if gate.kbps_within is not None and target_kbps is not None:
        error = measured["kbps"] / target_kbps - 1.0
        if not abs(error) <= gate.kbps_within:
            return (
                f"its rate of {measured['kbps']:.3g} kbps is {error:+.1%} off its target of "
                f"{target_kbps:g}, and its gate asks for {gate.kbps_within:.1%}"
            )
    for name, most in gate.at_most.items():
        if not measured[name] <= most:
            return f"its `{name}` of {measured[name]:.4g} is above the {most:g} of its gate"
    return ""
