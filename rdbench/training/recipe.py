"""Training recipes: what a YAML file may say, and how a sweep's stages are put together.

A recipe is one training run. A file may hold one recipe, or a sweep: `common` fields and a list of
`stages`, each of which overrides some of them; a stage may start from the weights of another
(`init_from`), which is trained first. Of a `kind: probe`, the run trains a probe generator
(`rdbench.training.probe`) on the latents of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator

from rdbench.models.config import AutoencoderConfig, Frozen, GaussianConfig, VqConfig
from rdbench.training.objectives import (
    Capacity,
    Geco,
    NonNegative,
    Objective,
    Positive,
    Steps,
    TargetKl,
    nats_per_frame,
)
from rdbench.training.probe.recipe import ProbeRecipe
from rdbench.training.run_recipe import Count, Crops, RunRecipe
from rdbench.training.staging.gate import GateConfig
from rdbench.training.staging.replay import ReplayConfig
from rdbench.types import SpecError

# An element of a Gaussian latent in float32 cannot say more than its mantissa and a few octaves.
_MAX_NATS_PER_CHANNEL = 20.0
Part = Literal["encoder", "bottleneck", "decoder"]


def _each_once(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(part for part in get_args(Part) if part in parts)


class DataConfig(Crops):
    """Where crops of audio come from.

    silence_db: a crop whose RMS lies below this (dB of full scale) is drawn again.
    cache_mib: decoded audio kept in memory, as 16-bit samples.
    """

    silence_db: Annotated[float, Field(le=0)] = -60.0
    cache_mib: NonNegative = 2048.0


class LossConfig(Frozen):
    """Weights and shapes of the reconstruction losses (see `losses`).

    windows_per_step: how many of the windows a step uses, drawn anew for each; 0 for all.
    """

    wave: NonNegative = 1.0
    mel: NonNegative = 1.0
    stft: NonNegative = 1.0
    compression: Annotated[float, Field(gt=0, le=1)] = 0.3
    windows: tuple[Count, ...] = (512, 1024, 2048)
    mels: tuple[Count, ...] = (40, 80, 120)
    windows_per_step: Annotated[int, Field(ge=0)] = 0
    commitment: NonNegative = 0.01
    codebook: NonNegative = 0.05

    @model_validator(mode="after")
    def _check(self) -> LossConfig:
        if not self.windows or len(self.windows) != len(self.mels):
            raise ValueError("windows and mels must list as many numbers, at least one")
        if any(size % 4 for size in self.windows):
            raise ValueError("windows must be multiples of 4")
        return self


class AdversarialConfig(Frozen):
    """The `dac` package's multi-period and multi-band discriminators.

    weight, feature: weights of the generator's adversarial and feature-matching terms.
    start: the first step with them.
    """

    weight: NonNegative = 1.0
    feature: NonNegative = 2.0
    start: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive = 1e-4
    periods: tuple[Count, ...] = (2, 3, 5, 7, 11)
    fft_sizes: tuple[Count, ...] = (2048, 1024, 512)


class Recipe(RunRecipe):
    """One training run of an autoencoder.

    init_from: weights to start from: the name of another stage, or a checkpoint's path. Tensors of
        equal name and shape are taken, and an RVQ is fitted to the latents of the training data.
    passthrough: probability, per clip, that the bottleneck is bypassed.
    freeze: parts that stay as they are, to the bit.
    latent_noise: standard deviation of noise that is added to the latent before the decoder, in
        units of the prior's (1).
    replay: predicted latents as the decoder's input for a share of each batch.
    gate: what the finished stage must keep to, before those after it begin.
    gradients_every: steps between two measurements of how strongly each loss term pulls at the
        encoder (norms of gradients); 0 for none.
    drift_every: steps between two measurements of how far the latent of eight fixed crops has moved
        since the stage began (relative change of μ); 0 for none.
    examples: how many fixed crops are decoded to listen to at each writing of the state.
    """

    observing: ClassVar[frozenset[str]] = RunRecipe.observing | {
        "gate", "gradients_every", "drift_every", "examples",
    }  # fmt: skip

    kind: Literal["autoencoder"] = "autoencoder"
    model: AutoencoderConfig = AutoencoderConfig()
    objective: Objective | None = None
    init_from: str | None = None
    data: DataConfig = DataConfig()
    loss: LossConfig = LossConfig()
    adversarial: AdversarialConfig | None = None
    passthrough: Annotated[float, Field(ge=0, le=1)] = 0.0
    freeze: Annotated[tuple[Part, ...], AfterValidator(_each_once)] = ()
    latent_noise: NonNegative = 0.0
    replay: ReplayConfig | None = None
    gate: GateConfig | None = None
    gradients_every: Steps = 0
    drift_every: Steps = 0
    examples: Annotated[int, Field(ge=0, le=100)] = 0

    @property
    def target_kbps(self) -> float | None:
        """The rate that the objective ends at, in kbps; None where it states none."""
        return self.objective.kbps if isinstance(self.objective, TargetKl | Capacity) else None

    @property
    def keeps_encoder(self) -> bool:
        """Whether its latents are those of the model that it starts from."""
        return {"encoder", "bottleneck"} <= set(self.freeze)

    @property
    def after(self) -> str | None:
        """What the run starts from."""
        return self.init_from

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        bottleneck = self.model.bottleneck
        if not isinstance(bottleneck, GaussianConfig) and self.objective is not None:
            raise ValueError("a quantizer has no KL: leave `objective` out")
        if isinstance(bottleneck, VqConfig) and bottleneck.top_stride and self.passthrough:
            raise ValueError(
                "of two levels no one latent can pass through: leave `passthrough` out"
            )
        if isinstance(bottleneck, GaussianConfig):
            if self.objective is None:
                raise ValueError("a Gaussian model needs an `objective`")
            _check_reachable(self.objective, bottleneck.channels, self.model.frame_rate)
        crop = round(self.data.seconds * self.model.sample_rate)
        if crop < max(self.model.hop, max(self.loss.windows) // 2):
            raise ValueError(f"crops of {self.data.seconds} s are shorter than a frame or a window")
        self._check_staging()
        return self

    def _check_staging(self) -> None:
        if len(self.freeze) == len(get_args(Part)):
            raise ValueError("with all parts frozen there is nothing to train: thaw one")
        if self.gradients_every and "encoder" in self.freeze:
            raise ValueError("no gradient reaches a frozen encoder: leave `gradients_every` out")
        quantized = not isinstance(self.model.bottleneck, GaussianConfig)
        if quantized and (self.latent_noise or self.replay):
            raise ValueError("a quantizer has no prior: leave `latent_noise` and `replay` out")
        if self.replay is not None and not (self.keeps_encoder and self.init_from):
            raise ValueError(
                "replayed latents are of the encoder as it was: name it in `init_from` and set "
                "freeze: [encoder, bottleneck]"
            )
        if self.gate is not None and self.gate.kbps_within and self.target_kbps is None:
            raise ValueError("`gate.kbps_within` needs an objective with `kbps`: give `at_most`")
        if isinstance(self.objective, Geco):
            held = self.objective.term
            if held != "reconstruction" and getattr(self.loss, held) == 0.0:
                raise ValueError(f"geco holds `{held}`, whose weight in `loss` is 0: raise it")


def _check_reachable(objective: Objective, channels: int, frame_rate: float) -> None:
    if not isinstance(objective, TargetKl | Capacity):
        return
    nats = nats_per_frame(objective.kbps, frame_rate)
    if nats > channels * _MAX_NATS_PER_CHANNEL:
        raise ValueError(
            f"{objective.kbps} kbps is {nats:.0f} nats per frame, more than {channels} channels "
            f"can carry ({channels * _MAX_NATS_PER_CHANNEL:.0f}): lower the target, or give more "
            "channels or frames"
        )


def parse(content: Mapping[str, Any], source: str) -> list[Recipe | ProbeRecipe]:
    """The recipes of one file's content, each after the one it starts from.

    Raises SpecError with one sentence that names `source` and the field.
    """
    if "stages" not in content:
        return [_recipe(content, source)]
    unknown = set(content) - {"common", "stages"}
    if unknown:
        raise SpecError(
            f"{source}: a sweep has only `common` and `stages`, not {min(unknown)!r}; "
            "move it into `common`"
        )
    common, stages = content.get("common") or {}, content["stages"]
    if not isinstance(common, Mapping) or not isinstance(stages, list) or not stages:
        raise SpecError(
            f"{source}: `common` must be a mapping and `stages` a nonempty list; "
            "see benchmarks/recipes"
        )
    recipes = []
    for stage in stages:
        if not isinstance(stage, Mapping):
            raise SpecError(f"{source}: every stage must be a mapping with a name; mend {stage!r}")
        recipes.append(_recipe(_merge(common, stage), source))
    return _ordered(recipes, source)


def load(path: Path) -> list[Recipe | ProbeRecipe]:
    """The recipes of the YAML file at `path`; raises SpecError (see `parse`)."""
    from rdbench.spec.load import yaml_data

    content = yaml_data(path, "recipe")
    if not isinstance(content, Mapping):
        raise SpecError(f"recipe {path} holds no mapping of fields; see benchmarks/recipes")
    return parse(content, str(path))


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `over` on `base`, mappings merged; a new `kind` replaces its mapping whole."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            same = value.get("kind", old.get("kind")) == old.get("kind")
            merged[key] = _merge(old, value) if same else value
        else:
            merged[key] = value
    return merged


def _recipe(content: Mapping[str, Any], source: str) -> Recipe | ProbeRecipe:
    kind = ProbeRecipe if content.get("kind") == "probe" else Recipe
    try:
        return kind.model_validate(dict(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        name = content.get("name", "?")
        reason = first["msg"].removeprefix("Value error, ")
        raise SpecError(f"{source}: recipe {name!r}, {where}: {reason}") from error


def _ordered(recipes: list[Recipe | ProbeRecipe], source: str) -> list[Recipe | ProbeRecipe]:
    names = [recipe.name for recipe in recipes]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"{source}: two stages are called {name!r}; rename one")
    done: list[Recipe | ProbeRecipe] = []
    waiting = list(recipes)
    while waiting:
        finished = {recipe.name for recipe in done}
        ready = next((r for r in waiting if r.after not in names or r.after in finished), None)
        if ready is None:
            raise SpecError(
                f"{source}: stages {', '.join(r.name for r in waiting)} start from "
                "each other; break the circle in `init_from` and `codec`"
            )
        waiting.remove(ready)
        done.append(ready)
    return done
