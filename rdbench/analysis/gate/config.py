"""What a gate tolerates: `gate.yaml`, validated.

Example:
    alpha: 0.05                  # probability of a false alarm in the whole check
    default: significant         # for metrics that are not named
    metrics:
      stoi: 0.005                # falls by more than this, in the metric's unit
      si_sdr: 2 %                # falls by more than this share of the baseline
      pesq_wb: {significant: true, absolute: 0.02}   # surely falls by more than this
    rates: 1 %                   # rises in bits (a bare number is kbps); null: not checked
    bd_rate: significant         # against the curve's own baseline; null: not checked
    latents:                     # of continuous latents: a change to either side by more than this
      effective_rank: 2 %
      AR(4) Gaussian: 2 %        # a rate under this prior, that rises, in place of `rates`
    ignore: [lsd]                # metrics that are not checked
    vanished: fail               # or warn
    undecided: fail              # or accept: losses on too few groups of clips to tell
    known_failures: fail         # or accept: those that the baseline has too
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rdbench.analysis.arrays import RESIDUAL_DELAY
from rdbench.analysis.latent.ladder import prior_of
from rdbench.store.schema import Kind
from rdbench.suggest import nearest
from rdbench.types import SpecError


class Tolerance(BaseModel):
    """How much worse is still good.

    absolute: in the quantity's unit (log-free; for BD-rate in percent of bits). percent: of the
    baseline's value. The larger of the two is the limit, 0 without any. significant: only what
    lies beyond the limit for sure counts (a one-sided test, corrected for all of the check); where
    there are too few groups of clips to be sure, what lies beyond a limit that is stated counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    absolute: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    percent: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    significant: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"absolute": value}
        if isinstance(value, str):
            text = value.strip()
            if text == "significant":
                return {"significant": True}
            if text.endswith("%"):
                return {"percent": text[:-1].strip()}
            raise ValueError(f"{value!r} is neither a number, a percentage nor 'significant'")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Tolerance:
        if self.absolute is None and self.percent is None and not self.significant:
            raise ValueError("give absolute, percent or significant")
        return self

    def limit(self, baseline: float) -> float:
        """The loss that is tolerated, in the unit of `baseline`."""
        return max(self.absolute or 0.0, (self.percent or 0.0) / 100 * abs(baseline))

    @property
    def text(self) -> str:
        """As a reader writes it."""
        parts = ["significant"] if self.significant else []
        parts += [f"{self.absolute:g}"] if self.absolute is not None else []
        parts += [f"{self.percent:g} %"] if self.percent is not None else []
        return ", ".join(parts)


SIGNIFICANT = Tolerance(significant=True)


class GateConfig(BaseModel):
    """See the module; every field has a default. The residual delay is never checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alpha: float = Field(default=0.05, gt=0, lt=1)
    default: Tolerance = SIGNIFICANT
    metrics: dict[str, Tolerance] = Field(default_factory=dict)
    rates: Tolerance | None = Tolerance(percent=1.0)
    bd_rate: Tolerance | None = SIGNIFICANT
    latents: dict[str, Tolerance] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    vanished: Literal["fail", "warn"] = "fail"
    undecided: Literal["fail", "accept"] = "fail"
    known_failures: Literal["fail", "accept"] = "fail"

    def of(self, kind: str, key: str, backend: str = "") -> Tolerance | None:
        """The tolerance of a quantity; None where it is not checked."""
        if kind == Kind.LATENT:
            return self.latents.get(key)
        if key in self.ignore or key == RESIDUAL_DELAY:  # which has no better direction
            return None
        if kind == Kind.RATE:
            return self.latents.get(prior_of(backend), self.rates)
        return self.metrics.get(key, self.default)

    def check_names(self, metrics: Collection[str], latents: Collection[str]) -> None:
        """Raises SpecError for what is not among the `metrics` of both runs, or among `latents`:
        the statistics of their latents and the priors of their rates.
        """
        for field, keys, known in (
            ("metrics", self.metrics, metrics),
            ("ignore", self.ignore, metrics),
            ("latents", self.latents, latents),
        ):
            for key in keys:
                if key not in known and key != RESIDUAL_DELAY:
                    hint = nearest(key, sorted(known), many="measured")
                    raise SpecError(
                        f"the gate's `{field}` names {key!r}, which neither the run nor its "
                        f"baseline has; {hint}"
                    )


def read_config(path: Path | None) -> GateConfig:
    """The configuration at `path`, the defaults for None; raises SpecError in one sentence."""
    from rdbench.spec.complaints import sentence
    from rdbench.spec.load import yaml_data

    if path is None:
        return GateConfig()
    content = yaml_data(Path(path), "configuration")
    try:
        return GateConfig.model_validate({} if content is None else content)
    except ValidationError as error:
        raise SpecError(f"{path}: {sentence(error, GateConfig)}; see docs/gate.md") from error
