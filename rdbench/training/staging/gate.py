"""Whether a stage that has ended is good enough for those that start from it.

Held against numbers that are measured after its last step, on fixed crops of the training data:
the rate, how much of the latent is dead, and the losses, as the recipe weighs them, of what is
decoded of samples. They lie in `measured.json` beside the weights, which name what was trained from
them: a gate that comes later, or asks for other crops, must not write those anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from rdbench.identity import file_sha256
from rdbench.models.checkpoint import write_atomically
from rdbench.models.config import Frozen
from rdbench.training.objectives import Distortion, NonNegative, Positive

MEASURED = "measured.json"


class GateConfig(Frozen):
    """What a finished stage must keep to; one that does not ends the run, its weights written.

    kbps_within: largest relative error of the measured rate against the objective's `kbps`.
    at_most: by name (`reconstruction`, `wave`, `mel`, `stft`) the largest loss, as weighted; and as
        `dead` the largest number of channels whose KL is below 0.01 nat per frame, or of entries of
        a quantizer's codebooks that no frame chooses.
    crops: how many fixed crops it is measured on.
    """

    kbps_within: Positive | None = None
    at_most: dict[Distortion | Literal["dead"], NonNegative] = Field(default={})
    crops: Annotated[int, Field(ge=1, le=65_536)] = 256

    @model_validator(mode="after")
    def _check(self) -> GateConfig:
        if self.kbps_within is None and not self.at_most:
            raise ValueError("a gate needs `kbps_within`, `at_most` or both")
        return self


class Measured(Frozen):
    """What was measured of the weights with this SHA-256, on so many crops.

    values: `kbps`, `dead` and losses, by name.
    """

    weights_sha256: str
    crops: int
    values: dict[str, float]


def write(weights: Path, crops: int, values: Mapping[str, float]) -> None:
    """Leaves what was measured beside `weights`, whole or not at all; raises OSError."""
    found = Measured(weights_sha256=file_sha256(weights), crops=crops, values=dict(values))
    text = json.dumps(found.model_dump(), indent=1)
    write_atomically(weights.with_name(MEASURED), text.encode())


def read(weights: Path) -> Measured | None:
    """What was measured of `weights` as they are now; None where that is not there."""
    try:
        found = Measured.model_validate(json.loads(weights.with_name(MEASURED).read_bytes()))
    except (OSError, ValueError, ValidationError, RecursionError):
        return None
    return found if found.weights_sha256 == file_sha256(weights) else None


def answers(gate: GateConfig, measured: Measured) -> bool:
    """Whether `measured` has what the gate asks for: an earlier rdbench measured less."""
    return measured.crops == gate.crops and set(gate.at_most) <= set(measured.values)


def failure(gate: GateConfig, measured: Mapping[str, float], target_kbps: float | None) -> str:
    """What of `measured` (`kbps`, `dead` and losses) the gate does not let pass; "" where all does.

    target_kbps: what the rate is held against.
    """
    if gate.kbps_within is not None and target_kbps is not None:
        error = measured["kbps"] / target_kbps - 1.0
        if not abs(error) <= gate.kbps_within:
            return (
                f"its rate of {measured['kbps']:.3g} kbps is {100 * error:+.1f} % off its target "
                f"of {target_kbps:g}, and its gate asks for {100 * gate.kbps_within:g} %"
            )
    for name, most in gate.at_most.items():
        if not measured[name] <= most:
            return f"its `{name}` of {measured[name]:.4g} is above the {most:g} of its gate"
    return ""
