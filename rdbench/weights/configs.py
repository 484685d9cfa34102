"""A configuration beside a checkpoint: read within bounds; and a model of it, within others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rdbench.files import read_file
from rdbench.identity import file_sha256
from rdbench.text import first_line
from rdbench.types import WeightsError
from rdbench.weights.checkpoints import without_memory
from rdbench.weights.formats import MAX_BYTES

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

    Config = TypeVar("Config", bound=BaseModel)
    Model = TypeVar("Model", bound=torch.nn.Module)

MAX_CONFIG_BYTES = 2**16


def read_json(path: Path, *, codec: str, missing: str) -> Any:
    """What a configuration file holds.

    codec: as sentences call it, such as "codec 'snac'". missing: what to do where there is none.
    Raises WeightsError for a file that is absent, too large, or no JSON.
    """
    if not path.exists():
        raise WeightsError(f"{codec}: {path.parent} has no {path.name}; {missing}")
    try:
        return json.loads(read_file(path, MAX_CONFIG_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise no_config(path, reason(error), codec=codec) from error


def read_config(path: Path, kind: type[Config], *, codec: str, source: str) -> Config:
    """What a configuration file says, as `kind` has it.

    source: where it is published. Raises WeightsError for a file that is absent, cannot be read, or
    says what such a model cannot have.
    """
    content = read_json(path, codec=codec, missing=f"fetch it from {source}")
    try:
        return kind.model_validate(content)
    except ValueError as error:
        raise no_config(path, reason(error), codec=codec) from error


def no_config(path: Path, reason: str, *, codec: str) -> WeightsError:
    """What is said of a configuration of which no model can be built."""
    return WeightsError(
        f"{codec}: {path} is no configuration of such a model ({reason}); fetch it again"
    )


def reason(error: Exception) -> str:
    """Why a configuration is none, in a few words; of several mistakes the first."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
    return getattr(error, "strerror", None) or first_line(error)


def build_bounded(build: Callable[[], Model], path: Path, *, codec: str) -> Model:
    """The model without memory, for `load_strict`.

    path: of its configuration. Raises WeightsError where none can be built, or one that is larger
    than any checkpoint that is read.
    """
    try:
        with without_memory():
            model = build()
        size = sum(tensor.numel() * 4 for tensor in model.state_dict().values())
        if size > MAX_BYTES:
            raise ValueError(f"it has {size} bytes, more than the {MAX_BYTES} that are built")
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise WeightsError(
            f"{codec}: no model can be built of {path} ({first_line(error)}); fetch it again"
        ) from error
    return model


def config_named(path: Path) -> str:
    """Names a configuration by its content, for a codec's version: weights do not say all of it."""
    return f"config {file_sha256(path)[:16]}"
