"""Audiobox aesthetics: four opinions of any sound, without a reference.

Tjandra et al., "Meta Audiobox Aesthetics: unified automatic quality assessment for speech, music,
and sound", 2025 (arXiv 2502.05139), by the package `audiobox_aesthetics`. Of the mean of a
reconstruction's channels at 16 kHz, cut into parts of 10 s (the last filled up with zeros that are
masked), a WavLM estimates

    audiobox_quality     production quality (PQ)    audiobox_complexity  its complexity (PC)
    audiobox_enjoyment   content enjoyment (CE)     audiobox_usefulness  content usefulness (CU)

on 1 … 10; a clip's value is the mean over its parts, by their length. In float32, where the
package's own program computes in bfloat16. For codecs the first is the one to read: the others ask
what is played.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import (
    MODEL_FILE,
    BackendFactory,
    ChannelRule,
    Direction,
    MetricDefinition,
    Scope,
)
from rdbench.metrics.neural.network import ScoringNetwork, model_backends
from rdbench.metrics.neural.state_file import fill
from rdbench.types import WeightsError
from rdbench.weights.configs import read_json
from rdbench.weights.hub import CONFIG
from rdbench.weights.model_files import ModelFiles
from rdbench.weights.transformers_models import weights_file

if TYPE_CHECKING:
    import torch

RATE = 16000
_MOST = 64  # layers, or outputs
_AXES = {
    "audiobox_quality": ("PQ", "production quality"),
    "audiobox_complexity": ("PC", "production complexity"),
    "audiobox_enjoyment": ("CE", "content enjoyment"),
    "audiobox_usefulness": ("CU", "content usefulness"),
}

DEFINITIONS: tuple[MetricDefinition, ...] = tuple(
    MetricDefinition(
        key=key,
        version=1,
        name=f"Audiobox {axis}",
        unit="",
        direction=Direction.HIGHER,
        lower=-math.inf,
        upper=math.inf,
        identity=math.nan,
        domains=(),
        sample_rate=RATE,
        minimum_seconds=0.5,
        needs_alignment=False,
        definition=f"{what} ({axis}, 1 to 10) that Audiobox aesthetics estimates of the mean of "
        "the reconstruction's channels at 16 kHz; the model's folder is named by the option "
        "weights",
        citation="Tjandra et al., Meta Audiobox Aesthetics, 2025, arXiv 2502.05139; package "
        "audiobox_aesthetics (CC BY 4.0)",
        channels=ChannelRule.DOWNMIX,
        options=(MODEL_FILE,),
        needs_model=True,
        scope=Scope.CLIP_ALONE,
    )
    for key, (axis, what) in _AXES.items()
)


class Audiobox(ScoringNetwork):
    """The model of four axes."""

    keys = tuple(_AXES)
    extra = "aesthetics"
    packages = ("audiobox_aesthetics",)
    of_folder = True
    source = (
        "a folder with config.json and model.safetensors, or ID@REVISION of the Hugging Face hub "
        "(`rdbench weights fetch facebook/audiobox-aesthetics` brings it into its cache)"
    )

    @property
    def longest(self) -> float:
        """Any: it hears 10 s at a time."""
        return math.inf

    def __init__(self, files: ModelFiles, device: str) -> None:
        super().__init__(files, device)
        import torch
        from audiobox_aesthetics.model.aes import AesMultiOutput

        said = read_json(files.path / CONFIG, codec=self.named(), missing="fetch it again")
        settings = _settings(said, files, self.named(), AesMultiOutput)
        self._scales = settings["target_transform"]
        # Its initialization reads values, which a model without memory has not.
        with torch.random.fork_rng(devices=[]):
            model = AesMultiOutput(**settings)
        fill(model, weights_file(files.path), named=self.named())
        self.model: Any = model.to(device)

    def hear(self, signals: torch.Tensor) -> Sequence[Mapping[str, float]]:
        """The four values of each signal, by axis."""
        import torch
        from audiobox_aesthetics.infer import make_inference_batch

        waves, masks, weights, owners = make_inference_batch(list(signals[:, None]))
        made = self.model({"wav": torch.stack(waves), "mask": torch.stack(masks)})
        share = torch.tensor(weights, device=signals.device)
        own = torch.tensor(owners, device=signals.device)
        found: list[dict[str, float]] = [{} for _ in signals]
        for axis, raw in made.items():
            values = raw * self._scales[axis]["std"] + self._scales[axis]["mean"]
            for index in range(len(signals)):
                mine = own == index
                found[index][axis] = float((values[mine] * share[mine]).sum() / share[mine].sum())
        return found

    def read(self, key: str, reference: None, output: Mapping[str, float]) -> float:
        """The axis that the key names."""
        return output[_AXES[key][0]]


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return model_backends(key, (Audiobox,))


def _settings(said: Any, files: ModelFiles, named: str, kind: Any) -> dict[str, Any]:
    """What the model's configuration says of it; raises WeightsError for another's."""
    if not isinstance(said, Mapping) or not isinstance(said.get("target_transform"), Mapping):
        raise WeightsError(
            f"{named}: {files.path / CONFIG} is no configuration of Audiobox aesthetics (it has no "
            "target_transform); give the folder of facebook/audiobox-aesthetics"
        )
    known = {field.name for field in fields(kind)}
    if any(isinstance(value, int | float) and value > _MOST for value in said.values()):
        raise WeightsError(
            f"{named}: {files.path / CONFIG} asks for more than {_MOST} of something; "
            "fetch it again"
        )
    return {str(key): value for key, value in said.items() if key in known} | {"precision": "32"}
