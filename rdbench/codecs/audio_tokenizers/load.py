"""A codec of `transformers`: which model it must be, and what its configuration says of sizes.

The folder itself is read by `rdbench.weights.transformers_models`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.text import first_line
from rdbench.types import CodecError
from rdbench.weights.configs import no_config
from rdbench.weights.hub import CONFIG, TRANSFORMERS_WEIGHTS, folder_of, origin_of
from rdbench.weights.transformers_models import (
    Wanted,
    read_configuration,
    read_model,
    weights_file,
)

if TYPE_CHECKING:
    import torch

MAX_HOP = 2**16
"""Most samples of a frame: a clip is padded to whole ones."""
MAX_CODEBOOKS = 128
MAX_CODEBOOK_SIZE = 2**20


@dataclass(frozen=True)
class Geometry:
    """What a configuration says of sizes.

    sample_rate: hertz, of what is coded. hop: samples of a frame. channels: of the audio.
    codebooks, codebook_size: 0 for a continuous latent.
    """

    sample_rate: int
    hop: int
    channels: int = 1
    codebooks: int = 0
    codebook_size: int = 0

    @property
    def frame_rate(self) -> float:
        """Frames per second; the package's own `frame_rate` is rounded up."""
        return self.sample_rate / self.hop

    @property
    def kbps_per_codebook(self) -> float:
        """Nominal kbps of one codebook."""
        return self.frame_rate * math.log2(self.codebook_size) / 1000


@dataclass(frozen=True)
class Kind:
    """A kind of model that is read.

    codec: its name in a spec. model: the package's class. geometry: from its configuration.
    example: id of a published one on the Hugging Face hub. surplus: tensors that published files
    hold and the model has no use for.
    """

    codec: str
    model_type: str
    model: str
    geometry: Callable[[Any], Geometry]
    example: str
    surplus: frozenset[str] = frozenset()

    @property
    def named(self) -> str:
        """As sentences call it."""
        return f"codec {self.codec!r}"


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode on the CPU, in float32, and where it came from."""

    model: Any
    geometry: Geometry
    sha256: str
    version: str
    details: Mapping[str, Any]


def load(kind: Kind, weights: str | Path | None, subfolder: str, revision: str) -> Loaded:
    """The model in a folder, or in the cache of the hub.

    Args:
        kind: what it must be.
        weights: a folder with config.json and model.safetensors, or an id on the Hugging Face hub.
        subfolder: where it lies in it.
        revision: of a model of the hub: a commit, or a branch.

    Raises:
        CodecError: without `weights`.
        MissingExtraError: without the package `transformers`.
        WeightsError: for what is absent, damaged, incomplete or of another model, and for a
            configuration that asks for code.
    """
    wanted = Wanted(kind.named, {kind.model_type: kind.model}, kind.surplus)
    folder = folder_of(
        weights,
        subfolder,
        revision,
        codec=kind.named,
        package="transformers",
        names=wanted.files,
        wanted=f"a folder in transformers' layout ({CONFIG} and {TRANSFORMERS_WEIGHTS}) or a hub "
        f"id such as {kind.example}",
    )
    build, config, content = read_configuration(wanted, folder)
    geometry = _geometry(kind, config, folder / CONFIG)
    model, checkpoint = read_model(wanted, build, config, folder)
    settings = json.dumps(content, sort_keys=True).encode()
    return Loaded(
        model,
        geometry,
        checkpoint.sha256,
        f"transformers {version('transformers')}, "
        f"config {hashlib.sha256(settings).hexdigest()[:16]}",
        {
            "weights": Path(str(weights)).name,
            "weights_bytes": weights_file(folder, wanted.files).stat().st_size,
            "weights_from": origin_of(str(weights), folder),
        },
    )


def _geometry(kind: Kind, config: Any, path: Path) -> Geometry:
    try:
        found = kind.geometry(config)
    except CodecError as error:
        raise no_config(path, str(error), codec=kind.named) from error
    except Exception as error:  # values from a file, in places where the package computes with them
        raise no_config(path, first_line(error), codec=kind.named) from error
    limits = {
        "the sample rate": (found.sample_rate, 8000, 192_000),
        "the hop": (found.hop, 1, MAX_HOP),
        "the number of channels": (found.channels, 1, 2),
    }
    if found.codebooks:
        limits["the number of codebooks"] = (found.codebooks, 1, MAX_CODEBOOKS)
        limits["the codebook size"] = (found.codebook_size, 2, MAX_CODEBOOK_SIZE)
    for what, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise no_config(path, f"{what} is {value}, not from {low} to {high}", codec=kind.named)
    return found


def all_to(model: torch.nn.Module, device: torch.device | str) -> None:
    """Moves a model, and drops what its parts keep of where they were."""
    model.to(device)
    for module in model.modules():
        if "_embed" in vars(module):  # Mimi's codebooks, computed once from their sums
            vars(module)["_embed"] = None
