"""Reads PyTorch checkpoints, zipped or in the format before, without `torch.load`.

The table of contents is interpreted as data (`rdbench.weights.pickles`), its storages are held
against the bytes that are there, and tensors are views into copies of those very bytes. torch sees
no file: its reader and the one that inspects could disagree on which entry of an archive counts
(torch's compares names without case), or on what fills a storage that the file does not hold.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from rdbench.text import first_line
from rdbench.types import WeightsError
from rdbench.weights.pickles import MAX_PICKLE_BYTES, Pickles, Storage, View

if TYPE_CHECKING:
    import torch

MAX_METADATA = 10_000
"""Most values in what stands beside the tensors."""
_BLOCK = 2**24  # bytes
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

Contents = tuple[Any, Mapping[str, Any]]
"""A state dict and its metadata."""
_Read = Callable[[Storage], "torch.Tensor"]


def read_zip(stream: IO[bytes], name: str, under: str) -> Contents:
    """The state dict and the metadata of a zipped checkpoint; raises WeightsError.

    under: the key under which a file with more than one table has that of the weights.
    """
    with _sentences(name), zipfile.ZipFile(stream) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        tables = [key for key in entries if key.endswith("/data.pkl")]
        distinct = len({key.lower() for key in entries}) == len(archive.infolist())
        whole = all(entry.file_size == entry.compress_size for entry in entries.values())
        if len(tables) != 1 or not distinct or not whole:
            raise ValueError("its records do not fit together")
        folder = tables[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in entries and archive.open(order).read(8).strip() != b"little":
            raise ValueError("it was written on a machine of another byte order")
        with archive.open(tables[0]) as table:
            pickles = Pickles(table.read(MAX_PICKLE_BYTES + 1), name)
        content = pickles.load()
        for key, storage in pickles.storages.items():
            entry = entries.get(f"{folder}data/{key}")
            _check_promise(storage, entry.file_size if entry else -1)

        def read(storage: Storage) -> torch.Tensor:
            with archive.open(f"{folder}data/{storage.key}") as record:
                return _filled(storage, record)

        return _contents(content, read, under)


def read_legacy(stream: IO[bytes], name: str, under: str) -> Contents:
    """The same of a checkpoint in the format before zip archives.

    Five pickles (a magic number, the protocol, the system, the table, the keys of its storages),
    then for each key the number of its values and the values.
    """
    with _sentences(name):
        pickles = Pickles(stream.read(MAX_PICKLE_BYTES + 1), name)
        magic, protocol, system, content, keys = (pickles.load() for _ in range(5))
        if (magic, protocol) != (_MAGIC, _PROTOCOL) or system.get("little_endian") is not True:
            raise ValueError("it does not begin as PyTorch's files do")
        if len(keys) != len(pickles.storages) or set(keys) != pickles.storages.keys():
            raise ValueError("its storages are not those that its tensors look into")
        size = stream.seek(0, 2)
        places: dict[str, int] = {}
        at = pickles.at
        for key in keys:
            storage = pickles.storages[key]
            stream.seek(at)
            _check_promise(storage, size - at - 8)
            if struct.unpack("<q", stream.read(8))[0] != storage.items:
                raise ValueError(f"a storage of other than its {storage.items} values")
            places[key] = at + 8
            at += 8 + storage.size

        def read(storage: Storage) -> torch.Tensor:
            stream.seek(places[storage.key])
            return _filled(storage, stream)

        return _contents(content, read, under)


@contextmanager
def _sentences(name: str) -> Iterator[None]:
    try:
        yield
    except (WeightsError, OSError):
        raise
    except Exception as error:  # what is broken raises whatever it likes
        raise WeightsError(
            f"weights file {name} is damaged or not a checkpoint ({first_line(error)}); fetch it "
            "again"
        ) from error


def _check_promise(storage: Storage, available: int) -> None:
    if storage.size > available:
        raise ValueError(f"it promises {storage.items} values in a storage that holds fewer")


def _contents(content: Any, read: _Read, under: str) -> Contents:
    """The state dict with tensors in place of views; storages that no tensor of it uses stay."""
    metadata: Any = {}
    if isinstance(content, dict) and isinstance(content.get(under), dict):
        content, metadata = content[under], content.get("metadata", {})
        if not _is_small(metadata):
            raise ValueError(f"more than {MAX_METADATA} values of metadata")
    if isinstance(content, dict):
        filled: dict[str, torch.Tensor] = {}

        def tensor(view: View) -> torch.Tensor:
            key = view.storage.key
            if key not in filled:
                filled[key] = read(view.storage)
            return filled[key].as_strided(view.size, view.stride, view.offset)

        content = {
            key: tensor(value) if isinstance(value, View) else value
            for key, value in content.items()
        }
    return content, metadata if isinstance(metadata, dict) else {}


def _filled(storage: Storage, record: IO[bytes]) -> torch.Tensor:
    """The values of a storage, one after the other."""
    import numpy as np
    import torch

    raw = torch.empty(storage.size, dtype=torch.uint8)
    if storage.size:
        target = raw.numpy()
        filled = 0
        while block := record.read(min(_BLOCK, storage.size - filled)):
            target[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
            filled += len(block)
        if filled < storage.size:
            raise ValueError("it is cut short")
    values: torch.Tensor = raw.view(getattr(torch, storage.dtype))
    return values


def _is_small(content: Any) -> bool:
    """Whether it has few values, those counted again that stand in several places."""
    pending, count = [content], 0
    while pending:
        item = pending.pop()
        count += 1
        if count + len(pending) > MAX_METADATA:
            return False
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, list | tuple | frozenset):
            pending += item
    return True
