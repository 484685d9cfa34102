"""A configuration beside a checkpoint: read within bounds; and a model of it, within others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rdbench.files import read_file
from rdbench.types import WeightsError
from rdbench.weights.checkpoints import without_memory
from rdbench.weights.formats import MAX_BYTES, reason_of

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

    Config = TypeVar("Config", bound=BaseModel)
    Model = TypeVar("Model", bound=torch.nn.Module)

MAX_CONFIG_BYTES = 2**16
_LONGEST = 200


def read_config(path: Path, kind: type[Config], *, codec: str, source: str) -> Config:
    """What a JSON file says, as `kind` has it.

    source: where it is published. Raises WeightsError for a file that is absent, cannot be read, or
    says what such a model cannot have.
    """
    from pydantic import ValidationError

    try:
        return kind.model_validate(json.loads(read_file(path, MAX_CONFIG_BYTES)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise WeightsError(
            f"codec {codec!r}: {path} is no configuration of such a model ({where}: "
            f"{first['msg']}); fetch it again from {source}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error)[:_LONGEST]
        raise WeightsError(
            f"codec {codec!r}: {path} cannot be read ({reason}); fetch it from {source}"
        ) from error


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
    except (RuntimeError, ValueError, OverflowError) as error:
        raise WeightsError(
            f"codec {codec!r}: no model can be built of {path} ({reason_of(error)[:_LONGEST]}); "
            "fetch it again"
        ) from error
    return model
