"""Arrays of anybody's: `.npy` and `.npz` as data alone, no pickle, no more than they may be."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDS = (".npy", ".npz")


def read_arrays(content: bytes, end: str, *, kinds: str, most: int) -> dict[str, NDArray[Any]]:
    """The arrays in the bytes of a file, by name; that of an `.npy` is called "".

    end: ".npy" or ".npz". kinds: NumPy's letters of the types that are taken ("f", "iu"). most:
    bytes that all of them may have. Raises what NumPy and zipfile raise for what is no array.
    """
    if end != ".npz":
        return {"": _array(content, kinds)}
    found, left = {}, most
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        for member in file.infolist():
            with file.open(member) as packed:  # no more than it may have, whatever it says
                unpacked = packed.read(left + 1)
            left -= len(unpacked)
            if left < 0:
                raise ValueError(f"its arrays have more than {most} bytes")
            found[member.filename.removesuffix(".npy")] = _array(unpacked, kinds)
    return found


def read_array(content: bytes, end: str, *, kinds: str, most: int) -> NDArray[Any]:
    """The only array in the bytes of a file; as `read_arrays`."""
    found = read_arrays(content, end, kinds=kinds, most=most)
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} arrays")
    return next(iter(found.values()))


def _array(content: bytes, kinds: str) -> NDArray[Any]:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"its format is {version}")
    shape, by_columns, kind = read[version](file)
    if kind.kind not in kinds:
        raise ValueError(f"its values are {kind}")
    data = content[file.tell() :]
    # Held against what is there, so that a header reserves nothing.
    if len(data) != kind.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError(f"{len(data)} bytes are no array {shape}")
    return np.frombuffer(data, kind).reshape(shape, order="F" if by_columns else "C")
