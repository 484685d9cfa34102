"""Looks through a PyTorch checkpoint before `torch.load` may allocate for it.

`torch.load(weights_only=True)` runs no code of the file, but it believes its numbers: a storage of
more values than its record holds is read past its end, a stride of 0 makes terabytes of a byte, and
a `Counter` of a long `bytearray` computes for hours. Here the pickle is interpreted with stand-ins
for the few names that tables of tensors need (everything else is refused), and every storage and
view is held against the bytes that are there.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rdbench.types import WeightsError

MAX_PICKLE_BYTES = 4 * 2**20
"""The largest table of contents that is read; those of 100,000 tensors are larger."""

_ITEM_BYTES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1,
    "Byte": 1, "Bool": 1,
}  # fmt: skip
_PLAIN = ("torch.Size", "torch.device", "builtins.set", "__builtin__.set")
_DTYPES = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip
# The old format: magic number, protocol, system, the table, the keys of its storages.
_LEGACY_PICKLES = 5


@dataclass(frozen=True)
class _Kind:
    """A storage class by the bytes of its items."""

    item_bytes: int


@dataclass(frozen=True)
class _Storage:
    items: int


def check_zip_pickle(path: Path, name: str) -> None:
    """Checks the table of a zipped checkpoint; raises WeightsError."""
    with _sentences(name), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        sizes = {entry.filename: entry.file_size for entry in entries}
        tables = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        whole = all(entry.file_size == entry.compress_size for entry in entries)
        if len(tables) != 1 or len(sizes) < len(entries) or not whole:
            raise ValueError("its records do not fit together")
        folder = tables[0].filename.removesuffix("data.pkl") + "data/"
        records = {
            key.removeprefix(folder): size for key, size in sizes.items() if key.startswith(folder)
        }
        with archive.open(tables[0]) as stream:
            _interpret(stream, name, lambda key: records.get(key, -1), pickles=1)


def check_legacy_pickle(path: Path, name: str) -> None:
    """Checks the table of a checkpoint in the format before zip archives; raises WeightsError."""
    size = path.stat().st_size
    with _sentences(name), path.open("rb") as stream:
        _interpret(stream, name, lambda _: size, pickles=_LEGACY_PICKLES)


@contextmanager
def _sentences(name: str) -> Iterator[None]:
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:  # what is broken raises whatever it likes
        reason = (str(error).strip().splitlines() or [""])[0][:160] or type(error).__name__
        raise WeightsError(
            f"weights file {name} is damaged or not a checkpoint ({reason}); fetch it again"
        ) from error


def _interpret(
    stream: IO[bytes], name: str, record_bytes: Callable[[str], int], *, pickles: int
) -> None:
    limited = _Limited(stream, MAX_PICKLE_BYTES)
    for _ in range(pickles):
        _Inspector(limited, name, record_bytes).load()


class _Limited:
    """A stream of which at most so many bytes are read."""

    def __init__(self, stream: IO[bytes], left: int) -> None:
        self._stream = stream
        self._left = left

    def read(self, size: int = -1) -> bytes:
        return self._taken(self._stream.read(min(size, self._left + 1) if size >= 0 else -1))

    def readline(self) -> bytes:
        return self._taken(self._stream.readline(self._left + 1))

    def _taken(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"its table of contents has more than {MAX_PICKLE_BYTES} bytes")
        return content


# The one in C keeps its memo in an array as long as the largest number in the file.
class _Inspector(pickle._Unpickler):
    """Interprets a pickle with stand-ins: nothing of torch is called, nothing is allocated."""

    def __init__(self, stream: _Limited, name: str, record_bytes: Callable[[str], int]) -> None:
        super().__init__(stream, encoding="utf-8")
        self._name = name
        self._record_bytes = record_bytes

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name; raises WeightsError for all others."""
        full = f"{module}.{name}"
        known: Mapping[str, Any] = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": _parameter,
        }
        if full in known:
            return known[full]
        if full in _PLAIN:
            return _plain
        if module == "torch" and name.removesuffix("Storage") in _ITEM_BYTES:
            return _Kind(_ITEM_BYTES[name.removesuffix("Storage")])
        if module == "torch" and name in _DTYPES:
            return name
        raise WeightsError(
            f"weights file {self._name} holds code or objects ({full[:80]}) beside tensors, which "
            "are never loaded; use a checkpoint of plain tensors"
        )

    def persistent_load(self, saved: Any) -> _Storage:
        """A storage, once its size is found to be that of its record."""
        tag, kind, key, _, items, *more = saved
        if (
            tag != "storage"
            or not isinstance(kind, _Kind)
            or type(items) is not int
            or any(one is not None for one in more)
        ):
            raise ValueError("a storage that PyTorch does not write")
        if not 0 <= items * kind.item_bytes <= self._record_bytes(str(key)):
            raise ValueError(f"it promises {items} values in a storage that holds fewer")
        return _Storage(items)

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> tuple[()]:
        numbers = (offset, *size, *stride)
        if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError("a tensor that PyTorch does not write")
        if len(size) != len(stride) or len(size) > 64 or max(numbers, default=0) > 2**48:
            raise ValueError("a tensor of an impossible shape")
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if count and (count > storage.items or last >= storage.items):
            raise ValueError(f"a tensor of {count} values in a storage of {storage.items}")
        return ()


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _plain(*_: Any) -> None:
    return None
