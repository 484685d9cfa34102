"""A model of `transformers` from a folder: its configuration, its safetensors file, nothing else.

`config.json` is data: its sizes are bounded before anything is built of it, and it may name neither
code of its own nor parts of other kinds than these models have. The model is built by the package
without memory, and filled from the tensors that were read and hashed here: under the names of the
model or of an older version of the package, which the package renames itself. Every tensor of the
model must be there with its shape, and none besides. The package then makes what is in no file
(rotary frequencies, windows, resampling filters).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.text import first_line
from rdbench.types import CodecError, MissingExtraError, WeightsError
from rdbench.weights.checkpoints import Checkpoint, read_checkpoint, without_memory
from rdbench.weights.configs import no_config
from rdbench.weights.hub import CONFIG, TRANSFORMERS_WEIGHTS, folder_of, origin_of, read_config

if TYPE_CHECKING:
    import torch

MAX_HOP = 2**16
"""Most samples of a frame: a clip is padded to whole ones."""
MAX_CODEBOOKS = 128
MAX_CODEBOOK_SIZE = 2**20
_MAX_NUMBER = 2**20
_MAX_REPEATS = 256
_MAX_ITEMS = 64
_MAX_DEPTH = 4

_PARTS = frozenset({"dac", "hubert", "wavlm", "wav2vec2-bert"})
"""Model types of which the models here have parts."""
_CODE = ("auto_map", "custom_pipelines")
_WAYS = frozenset(
    {"_attn_implementation", "attn_implementation", "fusion_config", "transformers_weights"}
)
"""Which kernels run, and where weights lie: not the file's to say."""


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
    if weights is None:
        raise CodecError(
            f"{kind.named} needs the option weights: a folder in transformers' layout "
            f"({CONFIG} and {TRANSFORMERS_WEIGHTS}) or a hub id such as {kind.example}"
        )
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(kind.named, "transformers") from error
    build = getattr(transformers, kind.model, None)
    if build is None:
        raise CodecError(
            f"{kind.named}: transformers {transformers.__version__} has no {kind.model}; "
            "run `pip install --upgrade transformers`"
        )
    folder = folder_of(str(weights), subfolder, revision, codec=kind.named, package="transformers")
    content = read_config(folder, codec=kind.named)
    with _quiet():
        config = _configuration(kind, build, content, folder / CONFIG)
        geometry = _geometry(kind, config, folder / CONFIG)
        checkpoint = _read_weights(kind, folder)
        model = _fill(kind, build, config, checkpoint)
    settings = json.dumps(content, sort_keys=True).encode()
    return Loaded(
        model,
        geometry,
        checkpoint.sha256,
        f"transformers {version('transformers')}, "
        f"config {hashlib.sha256(settings).hexdigest()[:16]}",
        {
            "weights": Path(str(weights)).name,
            "weights_bytes": (folder / TRANSFORMERS_WEIGHTS).stat().st_size,
            "weights_from": origin_of(str(weights), folder),
        },
    )


def _configuration(kind: Kind, build: Any, content: Any, path: Path) -> Any:
    """The package's configuration of what the file says."""
    if not isinstance(content, Mapping):
        raise no_config(path, "it is no table", codec=kind.named)
    if content.get("model_type") != kind.model_type:
        raise WeightsError(
            f"{kind.named}: {path} is of the model type {str(content.get('model_type'))[:60]!r}, "
            f"not {kind.model_type!r}; give a model of this type, or name the codec that reads it"
        )
    fault = _fault({key: value for key, value in content.items() if key != "model_type"})
    if fault:
        raise no_config(path, fault, codec=kind.named)
    try:
        return build.config_class.from_dict(_without_ways(content))
    except Exception as error:  # values from a file: the package may raise anything
        raise no_config(path, first_line(error), codec=kind.named) from error


def _fault(value: Any, key: str = "", depth: int = 0) -> str:
    """What in a configuration is refused unbuilt; "" where nothing is."""
    named = _named_fault(key, value)
    if named or not isinstance(value, Mapping | list):
        return named
    items = (
        [(str(name), item) for name, item in value.items()]
        if isinstance(value, Mapping)
        else [(key, item) for item in value]
    )
    # Labels of a recognizer, which a part may have been, are the longest tables there are.
    if depth > _MAX_DEPTH or len(items) > (_MAX_ITEMS if isinstance(value, list) else 1000):
        return f"{key[:60] or 'it'} holds too much"
    return next(filter(None, (_fault(item, name, depth + 1) for name, item in items)), "")


def _named_fault(key: str, value: Any) -> str:
    if key in _CODE and value:
        return f"{key} asks for code of its own, which is never run"
    if key == "quantization_config" and value:
        return f"{key}: quantized weights are not read"
    if key == "model_type" and value and value not in _PARTS:
        return f"model_type {str(value)[:60]!r} is no part of such a model"
    if isinstance(value, int | float) and not isinstance(value, bool):
        most = _MAX_REPEATS if _repeats(key) else _MAX_NUMBER
        return "" if abs(value) <= most else f"{key[:60]} is {value!r:.60}, more than {most}"
    return ""


def _repeats(key: str) -> bool:
    """Whether a number says how many modules of one kind there are."""
    return "layers" in key or key in ("depths", "n_codebooks", "num_quantizers")


def _without_ways(value: Any) -> Any:
    """A copy without what the file may not say."""
    if isinstance(value, Mapping):
        return {key: _without_ways(item) for key, item in value.items() if key not in _WAYS}
    return value


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


def _read_weights(kind: Kind, folder: Path) -> Checkpoint:
    if (folder / f"{TRANSFORMERS_WEIGHTS}.index.json").exists():
        raise WeightsError(
            f"{kind.named}: the weights in {folder} are split into several files, which is not "
            f"read; save them as one {TRANSFORMERS_WEIGHTS}"
        )
    return read_checkpoint(folder / TRANSFORMERS_WEIGHTS)


def _fill(kind: Kind, build: Any, config: Any, checkpoint: Checkpoint) -> Any:
    """The model with every tensor of the file, and no other."""
    import torch

    sizes = _sizes(kind, build, config)
    surplus = kind.surplus - set(sizes)
    state = {name: value for name, value in checkpoint.state.items() if name not in surplus}
    wanted, held = sum(sizes.values()), sum(value.numel() for value in state.values())
    if wanted > 2 * held:  # what is missing takes memory before it is found to be missing
        raise WeightsError(
            f"{kind.named}: its {CONFIG} asks for a model of {wanted} values, the file of weights "
            f"holds {held}; give the two files of one model"
        )
    try:
        model, info = _strict(build).from_pretrained(
            None,
            config=config,
            state_dict=state,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # values from a file: the package may raise anything
        raise _unbuilt(kind, error) from error
    faults = {
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
        "of another shape": sorted(str(one[0]) for one in info["mismatched_keys"]),
        "in error": sorted(map(str, info.get("error_msgs", ()))),
    }
    if any(faults.values()):
        said = ", ".join(f"{len(v)} {k} (first {v[0]!r})" for k, v in faults.items() if v)
        raise WeightsError(
            f"weights file {checkpoint.filename} does not fit {kind.named}: of "
            f"{len(model.state_dict())} tensors {said}; give the checkpoint of this model"
        )
    return model.requires_grad_(False).eval()


def _strict(build: Any) -> Any:
    """A class of the same name that tells of every tensor.

    The package passes over names that it expects in some files, and so over whole layers.
    """

    def tell_of_all(self: Any, info: Any) -> None:
        del self, info

    return type(
        build.__name__,
        (build,),
        {
            "__module__": build.__module__,
            "__qualname__": build.__qualname__,
            "_adjust_missing_and_unexpected_keys": tell_of_all,
        },
    )


def _sizes(kind: Kind, build: Any, config: Any) -> dict[str, int]:
    """How many values each tensor of the model has."""
    try:
        with without_memory():
            tensors = build(config).state_dict()
    except Exception as error:  # values from a file: the package may raise anything
        raise _unbuilt(kind, error) from error
    return {name: tensor.numel() for name, tensor in tensors.items()}


def _unbuilt(kind: Kind, error: Exception) -> WeightsError:
    return WeightsError(
        f"{kind.named}: no model can be built of its {CONFIG} ({first_line(error)}); fetch it again"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the package's progress bars and remarks, which users cannot mend."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def all_to(model: torch.nn.Module, device: torch.device | str) -> None:
    """Moves a model, and drops what its parts keep of where they were."""
    model.to(device)
    for module in model.modules():
        if "_embed" in vars(module):  # Mimi's codebooks, computed once from their sums
            vars(module)["_embed"] = None
