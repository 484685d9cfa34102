"""Builds PyTorch checkpoints by hand, so that they may promise what `torch.save` never would."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {}}


@dataclass(frozen=True)
class Storage:
    """What a persistent id names: `items` values of float32 under `key`."""

    key: str
    items: int


@dataclass(frozen=True)
class View:
    """A tensor of a table."""

    storage: Storage
    size: tuple[int, ...]
    stride: tuple[int, ...] = (1,)
    offset: int = 0

    def __reduce__(self) -> Any:
        arguments = (self.storage, self.offset, self.size, self.stride, False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, item: Any) -> Any:
        if not isinstance(item, Storage):
            return None
        return "storage", torch.FloatStorage, item.key, "cpu", item.items


def pickled(content: Any) -> bytes:
    """A pickle as `torch.save` writes it."""
    sink = io.BytesIO()
    _Pickler(sink, protocol=2).dump(content)
    return sink.getvalue()


def values(count: int, first: float = 0.0) -> bytes:
    """The bytes of float32 values `first`, `first` + 1, …"""
    return (first + np.arange(count, dtype="<f4")).tobytes()


def zipped(path: Path, entries: Iterable[tuple[str, bytes]]) -> Path:
    """An archive with these entries in this order; one name may stand in it twice."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def archive(path: Path, content: Any, records: Mapping[str, bytes]) -> Path:
    """A sound archive around a table that may be none."""
    table = content if isinstance(content, bytes) else pickled(content)
    entries = [(f"archive/data/{key}", record) for key, record in records.items()]
    return zipped(path, [("archive/data.pkl", table), *entries, ("archive/version", b"3\n")])


def legacy(
    path: Path, content: Any, keys: Any, storages: Iterable[tuple[int, bytes]], **changed: Any
) -> Path:
    """A file of the format before archives: the number of values and the bytes of each storage."""
    system = SYSTEM | changed
    parts = [pickled(part) for part in (MAGIC, PROTOCOL, system, content, keys)]
    parts += [struct.pack("<q", items) + record for items, record in storages]
    path.write_bytes(b"".join(parts))
    return path
