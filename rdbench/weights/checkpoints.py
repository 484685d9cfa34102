"""Other people's checkpoints as data: reading them without running what is in them.

A checkpoint is a table of tensors with a few plain values beside it. `read_checkpoint` reads the
two formats in which such tables are published, PyTorch's (interpreted, so that no code in the file
runs: `rdbench.weights.archives`) and safetensors; everything else is refused with one sentence.
`load_strict` fills a model that was built on the `meta` device, so that nothing is allocated before
names and shapes are known to fit, and no weight stays random.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.identity import read_hashed
from rdbench.text import first_line
from rdbench.types import WeightsError
from rdbench.weights.archives import read_legacy, read_zip
from rdbench.weights.formats import MAX_BYTES, MAX_ENTRIES, check_format, reason_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Checkpoint:
    """What was read: tensors by name, plain metadata, and the SHA-256 of the file."""

    state: Mapping[str, torch.Tensor]
    sha256: str
    filename: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_checkpoint(path: str | os.PathLike[str], under: str = "state_dict") -> Checkpoint:
    """Reads a checkpoint as data: `torch.save`'s formats and safetensors.

    A PyTorch file holds either a table of tensors, or {under: …, "metadata": {…}} with anything
    else beside them, which is not read. In a safetensors file, metadata values are JSON where they
    parse as JSON.

    Raises:
        WeightsError: for a file that is absent, too large, cut short, a web page, a package with
            code, or holds anything but finite tensors.
    """
    source = Path(path)
    try:
        # Read once: what is loaded is what was hashed, and what was inspected.
        content, digest = read_hashed(source, limit=MAX_BYTES)
        kind = check_format(io.BytesIO(content), str(source))
        read = _READERS[kind]
        raw, metadata = read(io.BytesIO(content), str(source), under)
    except OSError as error:
        raise WeightsError(f"weights file {source} cannot be read: {reason_of(error)}") from error
    return Checkpoint(_tensors(raw, source), digest, source.name, metadata)


def _read_safetensors(stream: io.BytesIO, name: str, _: str) -> tuple[Any, Mapping[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = stream.getvalue()
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    if header.count(b"{") > MAX_ENTRIES + 2:
        raise WeightsError(f"weights file {name} holds more than {MAX_ENTRIES} tensors")
    try:
        state = load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: of types that torch does not have
        raise WeightsError(
            f"weights file {name} is damaged ({first_line(error)}); fetch it again"
        ) from error
    metadata = json.loads(header).get("__metadata__") or {}
    return state, {key: _plain(text) for key, text in metadata.items()}


_READERS = {"zip": read_zip, "legacy": read_legacy, "safetensors": _read_safetensors}


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _tensors(raw: Any, path: Path) -> dict[str, torch.Tensor]:
    import torch

    if not isinstance(raw, Mapping) or not raw:
        raise WeightsError(
            f"weights file {path} holds a {type(raw).__name__}, not a table of tensors; "
            f"use a checkpoint that holds a state dict"
        )
    for key, value in raw.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(
                f"weights file {path} holds {key!r} ({type(value).__name__}) where tensors were "
                f"expected; use a checkpoint that holds a state dict alone"
            )
        if value.layout is not torch.strided or value.dtype not in _dtypes():
            raise WeightsError(
                f"weights file {path} holds {key!r} of type {value.dtype}, which no codec here "
                f"uses; use a checkpoint in float32 or float16"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(
                f"weights file {path} has values in {key!r} that are not finite; "
                f"fetch it again, or use a checkpoint of a run that did not diverge"
            )
    return dict(raw)


def _dtypes() -> tuple[torch.dtype, ...]:
    import torch

    floats = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    return (*floats, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


@contextmanager
def without_memory() -> Iterator[None]:
    """Models built in here have shapes and no values (`meta` device), for `load_strict`."""
    import torch

    from rdbench.models.packages import older_weight_norm

    with older_weight_norm(), torch.device("meta"):
        yield


def load_strict(model: torch.nn.Module, checkpoint: Checkpoint, *, codec: str) -> None:
    """Fills `model`, built under `without_memory`, with every tensor of `checkpoint`, in float32.

    Names and shapes must be the same on both sides. The model ends in evaluation mode on the CPU,
    without gradients.

    Raises:
        WeightsError: says how many names are missing, unexpected or of another shape, and the
            first of each.
    """
    expected = model.state_dict()
    state = checkpoint.state
    both = [key for key in expected if key in state]
    faults = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [key for key in both if expected[key].shape != state[key].shape],
    }
    if any(faults.values()):
        said = ", ".join(f"{len(v)} {k} (first {v[0]!r})" for k, v in faults.items() if v)
        raise WeightsError(
            f"weights file {checkpoint.filename} does not fit {codec}: of {len(expected)} tensors "
            f"{said}; give the checkpoint of this model"
        )
    fitted = {key: state[key].to(expected[key].dtype).contiguous() for key in expected}
    model.load_state_dict(fitted, strict=True, assign=True)
    model.requires_grad_(False).eval()


def tensors_of(checkpoint: Checkpoint, model: torch.nn.Module) -> Checkpoint:
    """A checkpoint without what `model` has not, for packages that leave the rest of their file."""
    known = {
        name: checkpoint.state[name] for name in model.state_dict() if name in checkpoint.state
    }
    return replace(checkpoint, state=known)


def tensors_sha256(model: torch.nn.Module) -> str:
    """SHA-256 of a model's tensors with their names, types and shapes."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy())
    return digest.hexdigest()
