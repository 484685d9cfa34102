"""What crosses between processes: objects whose arrays lie in shared memory.

An object is pickled with its arrays out of band (protocol 5). They go, one after the other, into
one block of shared memory, and what travels through the pipe is the rest and the block's name; the
receiver's arrays are views of the block. Whoever packs or unpacks last frees it with `release`.

Where there is little to share, or too little shared memory is left (containers often have 64 MB
of it, and a process that writes beyond it is killed), the arrays travel through the pipe.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

LEAST = 2**16
"""Bytes of arrays from which a block is worth its system calls."""
_ALIGNMENT = 64
_FOLDER = Path("/dev/shm")


@dataclass(frozen=True)
class Parcel:
    """A packed object. block: the shared memory's name, "" where the arrays are in `arrays`."""

    content: bytes
    block: str
    spans: tuple[tuple[int, int], ...]
    arrays: tuple[bytearray, ...] = ()

    def release(self) -> None:
        """Frees the block; views of it that are still in use stay valid until they go."""
        if self.block:
            with contextlib.suppress(FileNotFoundError):
                block = SharedMemory(self.block)
                block.unlink()
                _close(block)


def pack(thing: Any) -> Parcel:
    """Packs a picklable object; its contiguous arrays are copied once."""
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    spans, size = [], 0
    for view in raw:
        spans.append((size, view.nbytes))
        size += -(-view.nbytes // _ALIGNMENT) * _ALIGNMENT
    block = _block(size) if size >= LEAST else None
    if block is None:
        return Parcel(content, "", (), tuple(bytearray(view) for view in raw))
    memory = _memory(block)
    for view, (start, length) in zip(raw, spans, strict=True):
        memory[start : start + length] = view
    del memory
    name = block.name
    _close(block)
    return Parcel(content, name, tuple(spans))


def unpack(parcel: Parcel, *, copy: bool) -> Any:
    """The object; with `copy` its arrays are its own, else views that last as long as it does."""
    if not parcel.block:
        return pickle.loads(parcel.content, buffers=parcel.arrays)
    block = SharedMemory(parcel.block)
    memory = _memory(block)
    views = [memory[start : start + length] for start, length in parcel.spans]
    buffers: list[Any] = [bytearray(view) for view in views] if copy else list(views)
    thing = pickle.loads(parcel.content, buffers=buffers)
    del memory, views, buffers
    _close(block)
    return thing


def _block(size: int) -> SharedMemory | None:
    """A block of `size` bytes that are really there, or None."""
    try:
        block = SharedMemory(create=True, size=size)
    except OSError:
        return None
    try:
        if _FOLDER.is_dir():
            descriptor = os.open(_FOLDER / block.name, os.O_RDWR)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
    except OSError:
        block.unlink()
        block.close()
        return None
    return block


def _memory(block: SharedMemory) -> memoryview:
    assert block.buf is not None, "the block is open"
    return block.buf


def _close(block: SharedMemory) -> None:
    """Closes a block, or leaves that to the last view of it."""
    try:
        block.close()
    except BufferError:
        # The mapping goes with its last view; the object must not try again when it is collected.
        block.close = _nothing  # type: ignore[method-assign]


def _nothing() -> None:
    """Closes nothing."""
