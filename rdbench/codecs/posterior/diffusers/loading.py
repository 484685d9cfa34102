"""Models of diffusers from files: found, built without memory, tried for their shapes, and filled.

A model is built and run once on the `meta` device, where nothing has values: what `config.json`
says of rate, channels and frames is held against what comes out before weights are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rdbench.codecs.posterior.diffusers.classes import NOT_RUN
from rdbench.codecs.posterior.diffusers.config import Autoencoder, ModelConfig
from rdbench.suggest import nearest
from rdbench.text import first_line, printable
from rdbench.types import WeightsError
from rdbench.weights.checkpoints import load_strict, read_checkpoint, without_memory
from rdbench.weights.configs import no_config, reason
from rdbench.weights.formats import MAX_BYTES
from rdbench.weights.hub import CONFIG, WEIGHTS
from rdbench.weights.hub import read_config as read_json

if TYPE_CHECKING:
    import torch

C = TypeVar("C", bound=ModelConfig)

MAX_HOP = 2**16
"""Most samples of a frame: a clip is padded to whole ones."""
_TRIED_FRAMES = 2


@dataclass(frozen=True)
class Part:
    """One model of a codec: its configuration, and the folder that holds it and its weights."""

    config: ModelConfig
    folder: Path

    @property
    def weights_bytes(self) -> int:
        """Size of the file of weights."""
        return (self.folder / WEIGHTS).stat().st_size


def read_config(codec: str, folder: Path, classes: Mapping[str, type[C]], unnamed: str = "") -> C:
    """The configuration in a folder, of the one of `classes` that it names.

    unnamed: the class of a file that names none. Raises WeightsError.
    """
    path = folder / CONFIG
    content = read_json(folder, codec=codec)
    if not isinstance(content, dict):
        raise no_config(path, "it holds no table", codec=codec)
    named = str(content.get("_class_name", unnamed))
    if named not in classes:
        raise WeightsError(f"{codec}: {path} {_no_class(named, classes)}")
    _need_class(codec, named)
    try:
        return classes[named].read(content)
    except (ValueError, RecursionError) as error:
        raise no_config(path, reason(error), codec=codec) from error


def _no_class(named: str, classes: Mapping[str, Any]) -> str:
    if not named:
        return f"names no class (_class_name); those that are run: {', '.join(classes)}"
    if named in NOT_RUN:
        return f"is of {named}, which is not run: {NOT_RUN[named]}"
    shown = printable(named[:80])
    return f"is of {shown!r}; {nearest(shown, classes, many='classes that are run')}"


def _need_class(codec: str, name: str) -> None:
    import diffusers

    if not hasattr(diffusers, name):
        raise WeightsError(
            f"{codec}: diffusers {diffusers.__version__} has no {name}; install a newer release"
        )


def load(codec: str, autoencoder: Autoencoder, parts: Sequence[Part]) -> torch.nn.Module:
    """The model, which takes memory once its tensors are found to be those of the files.

    parts: the autoencoder, and its vocoder where it has one; then the model is a ModuleDict of the
    two. In evaluation mode on the CPU, in float32.

    Raises WeightsError where configuration, model and weights contradict each other.
    """
    with without_memory():
        built = [_build(codec, part) for part in parts]
        size = sum(t.numel() * 4 for model in built for t in model.state_dict().values())
        if size > MAX_BYTES:
            raise WeightsError(
                f"{codec}: {parts[0].folder / CONFIG} asks for a model of {size} bytes, more than "
                f"the {MAX_BYTES} that are built; give the folder of a smaller one"
            )
        model = _together(built)
        _try(codec, autoencoder, model, parts[0].folder / CONFIG)
    for part, one in zip(parts, built, strict=True):
        load_strict(one, read_checkpoint(part.folder / WEIGHTS), codec=codec)
        part.config.complete(one)
        left = [name for name, buffer in one.named_buffers() if buffer.is_meta]
        if left:
            raise WeightsError(
                f"{codec}: {part.config.builds} of this release of diffusers has {left[0]!r}, "
                "which no checkpoint holds and rdbench does not know; install diffusers 0.42"
            )
    return model


def _build(codec: str, part: Part) -> torch.nn.Module:
    try:
        return part.config.build()
    except Exception as error:  # the class is the package's, and takes values as they come
        raise WeightsError(
            f"{codec}: no model can be built of {part.folder / CONFIG} ({first_line(error)}); "
            "fetch it again"
        ) from error


def _together(built: Sequence[torch.nn.Module]) -> torch.nn.Module:
    import torch

    names = ("autoencoder", "vocoder")
    return (
        built[0] if len(built) == 1 else torch.nn.ModuleDict(dict(zip(names, built, strict=True)))
    )


def _try(codec: str, autoencoder: Autoencoder, model: torch.nn.Module, path: Path) -> None:
    """Holds what the model makes of two frames against what its configuration says."""
    import torch

    layout = autoencoder.layout
    if layout.hop > MAX_HOP:
        raise WeightsError(
            f"{codec}: a frame of {path} has {layout.hop} samples, more than the {MAX_HOP} that "
            "are taken; fetch it again"
        )
    length = _TRIED_FRAMES * layout.hop
    try:
        with torch.inference_mode():
            mean, scale = autoencoder.posterior(model, torch.zeros(1, layout.channels, length))
            audio = autoencoder.decode(model, mean)
    except Exception as error:  # of layers that do not fit each other, as torch says it
        raise WeightsError(
            f"{codec}: {path} contradicts itself: its model does not run ({first_line(error)}); "
            "fetch it again"
        ) from error
    made = [tuple(mean.shape), *([] if scale is None else [tuple(scale.shape)])]
    wanted = (1, layout.latents, _TRIED_FRAMES)
    # A transposed convolution of an odd stride may end some samples short of its last frame.
    whole = length - layout.hop < audio.shape[-1] <= length
    if set(made) != {wanted} or not whole or audio.shape[1] != layout.channels:
        raise WeightsError(
            f"{codec}: {path} contradicts itself: of {layout.channels} × {length} samples its "
            f"model makes a latent {made[0][1:]} and audio {tuple(audio.shape[1:])}, where "
            f"{wanted[1:]} and {(layout.channels, length)} were expected; fetch it again"
        )
