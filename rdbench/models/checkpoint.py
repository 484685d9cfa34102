"""Checkpoints: safetensors whose header carries the configuration and the provenance.

A safetensors file is 8 bytes of header length (little-endian), a JSON header that names every
tensor with its type, shape and byte range, and the bytes. Our header's metadata holds

    rdbench.format       version of this layout, an integer as text
    rdbench.config       the AutoencoderConfig, JSON; other models have a key of their own
    rdbench.provenance   what trained it, JSON: recipe, data hash, steps, seed, commit, …

Nothing in a file is executed. The header is read and held against limits before a tensor is
allocated, and the tensors must be exactly those that the configuration calls for. Weights may be
stored in half precision; a loaded model computes in float32.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic

from pydantic import ValidationError
from typing_extensions import TypeVar

from rdbench.files import open_regular
from rdbench.identity import read_hashed
from rdbench.models.config import AutoencoderConfig, Frozen
from rdbench.text import first_line
from rdbench.types import WeightsError

if TYPE_CHECKING:
    from torch import nn

    from rdbench.models.autoencoder import Autoencoder

ConfigT = TypeVar("ConfigT", bound=Frozen, default=AutoencoderConfig)
ModuleT = TypeVar("ModuleT", bound="nn.Module")

FORMAT_VERSION = 1
CONFIG = "rdbench.config"
MAX_BYTES = 2 * 1024**3
"""Largest checkpoint that is read."""
MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 20_000
MAX_PARAMETERS = 4 * 10**9
MAX_DIMENSIONS = 8
_MAX_COUNT = 2**48
_ITEM_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}


@dataclass(frozen=True)
class Header(Generic[ConfigT]):
    """What a checkpoint says of itself, read without its tensors.

    sha256: of the file, where all of it was read.
    """

    config: ConfigT
    provenance: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    sha256: str = ""

    @property
    def target_kbps(self) -> float | None:
        """The rate that the recipe aimed at, in kbps; None where it says none that is a rate."""
        value: Any = self.provenance
        for key in ("recipe", "objective", "kbps"):
            value = value.get(key) if isinstance(value, Mapping) else None
        is_rate = isinstance(value, int | float) and 0 < value < math.inf
        return float(value) if is_rate else None


def save(
    path: Path, model: Autoencoder, provenance: Mapping[str, Any], *, half: bool = True
) -> None:
    """Writes `model` to `path`, whole or not at all; `half` stores float16.

    Raises OSError where the disk refuses; an older file at `path` then stays as it was.
    """
    save_model(path, model, CONFIG, model.config, provenance, half=half)


def save_model(
    path: Path,
    model: nn.Module,
    key: str,
    config: Frozen,
    provenance: Mapping[str, Any],
    *,
    half: bool,
) -> None:
    """As `save`, of any model, its `config` under `key` in the header."""
    import torch
    from safetensors.torch import save as to_bytes

    kind = torch.float16 if half else torch.float32
    tensors = {
        name: value.detach().to("cpu", kind).contiguous()
        for name, value in model.state_dict().items()
    }
    metadata = {
        "rdbench.format": str(FORMAT_VERSION),
        key: config.model_dump_json(),
        "rdbench.provenance": json.dumps(provenance, sort_keys=True),
    }
    write_atomically(path, to_bytes(tensors, metadata))


def write_atomically(path: Path, content: bytes) -> None:
    """Writes beside `path`, flushes to the disk and renames, so that `path` is always whole."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def read_header(path: Path) -> Header:
    """Configuration, provenance and tensor shapes of the checkpoint at `path`.

    Raises WeightsError for a file that is absent, truncated, of another format or a newer version.
    """
    return read_header_of(path, CONFIG, AutoencoderConfig)


def read_header_of(path: Path, key: str, kind: type[ConfigT]) -> Header[ConfigT]:
    """As `read_header`, of a model whose configuration is a `kind` under `key`."""
    with _readable(path), open_regular(path) as file:
        return _header(path, file, os.fstat(file.fileno()).st_size, key, kind)


def load(path: Path) -> tuple[Autoencoder, Header]:
    """The model at `path`, float32 on the CPU, in evaluation mode, and its header.

    The file is read once, and hashed as it was read: tensors that lie in a mapped file would change
    with it. Raises WeightsError as `read_header` does, and where tensors are missing, extra or
    misshapen.
    """
    from rdbench.models.autoencoder import Autoencoder

    return load_model(path, CONFIG, AutoencoderConfig, Autoencoder)


def load_model(
    path: Path, key: str, kind: type[ConfigT], build: Callable[[ConfigT], ModuleT]
) -> tuple[ModuleT, Header[ConfigT]]:
    """As `load`, of a model that `build` makes of a configuration of `kind` under `key`."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    read_header_of(path, key, kind)  # a file that is none is refused before it is read
    with _readable(path):
        content, sha256 = read_hashed(path, limit=MAX_BYTES)
    header = replace(_header(path, io.BytesIO(content), len(content), key, kind), sha256=sha256)
    try:
        # Without memory: a configuration could ask for any amount of it.
        with torch.device("meta"):
            model = build(header.config)
    except (RuntimeError, ValueError, OverflowError) as error:
        raise WeightsError(
            f"{path} has a configuration of which no model can be built ({first_line(error)}); "
            "fetch or train it again"
        ) from error
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    _compare(path, expected, header.shapes)
    # Built again for real: buffers outside the state dict (windows) need their values.
    with torch.random.fork_rng(devices=[]):
        model = build(header.config)
    try:
        tensors = from_bytes(content)
    except SafetensorError as error:
        raise WeightsError(f"{path} cannot be read ({first_line(error)}); fetch it again") from (
            error
        )
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise WeightsError(f"{path} holds NaN or infinity in {name!r}; use another checkpoint")
    model.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=True)
    return model.eval(), header


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the operating system refuses becomes one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(
            f"there is no checkpoint {path}; give the path of a .safetensors file"
        ) from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}; check the path") from error


def _header(
    path: Path, file: IO[bytes], size: int, key: str, kind: type[ConfigT]
) -> Header[ConfigT]:
    entries = _raw_header(path, file, size)
    metadata = entries.pop("__metadata__", {})
    version = metadata.get("rdbench.format", "") if isinstance(metadata, dict) else ""
    if not re.fullmatch(r"[0-9]{1,9}", str(version)):
        raise WeightsError(
            f"{path} is a safetensors file but no rdbench checkpoint: its header holds no "
            "rdbench.format; give a file that `rdbench train` wrote"
        )
    if int(version) > FORMAT_VERSION:
        raise WeightsError(
            f"{path} has checkpoint format {version}, newer than {FORMAT_VERSION}, the newest that "
            "this rdbench reads; upgrade rdbench"
        )
    shapes = _check_tensors(path, entries)
    try:
        config = kind.model_validate_json(metadata[key])
        provenance = json.loads(metadata.get("rdbench.provenance", "{}"))
        if not isinstance(provenance, dict):
            raise ValueError("rdbench.provenance is not a JSON object")
    except (KeyError, TypeError, ValidationError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path} has no usable configuration in its header ({first_line(error)}); "
            "fetch or train it again"
        ) from error
    return Header(config, provenance, shapes)


def _raw_header(path: Path, file: IO[bytes], size: int) -> dict[str, Any]:
    start = file.read(8)
    _refuse_other_formats(path, start)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if length < 2 or length > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{path} is not a safetensors file (no header at its start); "
            "give a file that `rdbench train` wrote"
        )
    text = file.read(length)
    if len(text) < length:
        raise WeightsError(f"{path} is truncated within its header; fetch it again")
    try:
        entries = json.loads(text)
        assert isinstance(entries, dict)
    except (AssertionError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path} is not a safetensors file (its header is not JSON); "
            "give a file that `rdbench train` wrote"
        ) from error
    _check_extent(path, entries, size - 8 - length)
    return entries


def _refuse_other_formats(path: Path, start: bytes) -> None:
    # A zip archive (torch.save) or a bare pickle, protocol 2 and up: both can run code.
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"):
        raise WeightsError(
            f"{path} is a pickle or zip file, which can run code and is not read; "
            "save the weights as safetensors"
        )


def _check_extent(path: Path, entries: Mapping[str, Any], available: int) -> None:
    ends = [0]
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if not (isinstance(offsets, list) and len(offsets) == 2 and all(map(_is_count, offsets))):
            raise WeightsError(f"{path} has a damaged header; fetch it again")
        ends.append(offsets[1])
    if max(ends) > available:
        raise WeightsError(
            f"{path} is truncated: {available} bytes of tensors where its header promises "
            f"{max(ends)}; fetch it again"
        )
    if max(ends) < available:
        raise WeightsError(f"{path} has bytes behind its last tensor; fetch it again")


def _check_tensors(path: Path, entries: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    if len(entries) > MAX_TENSORS:
        raise WeightsError(
            f"{path} lists {len(entries)} tensors, more than {MAX_TENSORS}; "
            "give a file that `rdbench train` wrote"
        )
    shapes: dict[str, tuple[int, ...]] = {}
    total = 0
    for name, entry in entries.items():
        shape, kind = entry.get("shape"), entry.get("dtype")
        sound = isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS
        if not (sound and all(map(_is_count, shape)) and str(kind) in _ITEM_BYTES):
            raise WeightsError(
                f"{path} holds {_shown(name)} of type {_shown(kind)} and shape {_shown(shape)}, "
                "where real numbers are needed; give a file that `rdbench train` wrote"
            )
        count = math.prod(shape)
        total += count
        begin, end = entry["data_offsets"]
        if end - begin != count * _ITEM_BYTES[str(kind)]:
            raise WeightsError(f"{path} has a damaged header at {_shown(name)}; fetch it again")
        shapes[name] = tuple(shape)
    if total > MAX_PARAMETERS:
        raise WeightsError(
            f"{path} holds {total} numbers, more than {MAX_PARAMETERS}; give a smaller model"
        )
    return shapes


def _is_count(value: Any) -> bool:
    """Whether a number of a header is a size: a whole one, and not so long that it costs time."""
    return type(value) is int and 0 <= value < _MAX_COUNT


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _compare(
    path: Path, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    for name in expected:
        if name not in found:
            raise WeightsError(
                f"{path} lacks the tensor {_shown(name)} that its configuration calls "
                "for; fetch or train it again"
            )
    for name, shape in found.items():
        if name not in expected:
            raise WeightsError(
                f"{path} holds the tensor {_shown(name)}, which its configuration does "
                "not know; fetch or train it again"
            )
        if shape != expected[name]:
            raise WeightsError(
                f"{path} holds {_shown(name)} of shape {list(shape)} where its configuration "
                f"calls for {list(expected[name])}; fetch or train it again"
            )
