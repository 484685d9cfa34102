"""The process in the other environment: loads somebody's codec and runs it on arrays.

This file is run as a script by an interpreter that may be as old as Python 3.8 and need have
nothing installed but numpy, so that it imports no other part of rdbench. rdbench's own process
imports it for the framing of messages alone.

A message is

    4 bytes       length of the header, big-endian
    header        JSON: {…, "arrays": [{"type": "float32", "shape": [2, 1, 16000]}, …]}
    arrays        their elements one after the other, in C order, little-endian

It travels over a socket of its own, since libraries print to standard output what they like.
Nothing that is received is executed but what the first message names: a class, by its module.

The process ends with the one that started it, whatever either is at: the kernel sends SIGKILL to
its process group when the other end of `life`, a pipe into which nothing is ever written, is gone.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    del sys.path[0]  # the folder of this file, whose names would hide others

import contextlib
import fcntl
import importlib
import json
import os
import random
import select
import signal
import socket
import struct
import zlib
from importlib import metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROTOCOL = 1
"""Raised when the messages change."""
MAX_HEADER_BYTES = 2**22
MAX_ARRAYS = 2**18
MAX_BYTES = 2**32
"""Most bytes of all arrays of a message."""
TYPES = {"float32": "<f4", "int64": "<i8", "uint8": "|u1"}
LENGTH = struct.Struct(">I")
_REASON = 2000
"""Most characters of what an exception says."""


class MessageError(ValueError):
    """Bytes that are no message."""


def pack(header: dict[str, Any], arrays: Sequence[Any]) -> list[Any]:
    """A message as pieces of bytes, one after the other. arrays: float32, int64 or uint8."""
    plain = [np.ascontiguousarray(one, TYPES[one.dtype.name]) for one in arrays]
    told = [{"type": one.dtype.name, "shape": list(one.shape)} for one in plain]
    text = json.dumps({**header, "arrays": told}).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise MessageError(f"its header has {len(text)} bytes")
    return [LENGTH.pack(len(text)) + text, *(one.reshape(-1).view(np.uint8).data for one in plain)]


def header_length(start: bytes) -> int:
    """Bytes of the header, from the first four of a message; raises MessageError."""
    length = int(LENGTH.unpack(start)[0])
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise MessageError(f"its header has {length} bytes")
    return length


def unpack(text: bytes) -> tuple[dict[str, Any], list[Any]]:
    """A header, and arrays without values that are to be filled; raises MessageError."""
    try:
        header = json.loads(text.decode())
        told = [(one["type"], one["shape"]) for one in header["arrays"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MessageError("its header is no header") from error
    if len(told) > MAX_ARRAYS:
        raise MessageError(f"it has {len(told)} arrays")
    left, arrays = MAX_BYTES, []
    for kind, shape in told:
        if not isinstance(kind, str) or kind not in TYPES or not isinstance(shape, list):
            raise MessageError("an array of it is of no known type")
        count = 1
        for size in shape:
            if type(size) is not int or not 0 <= size <= MAX_BYTES:
                raise MessageError("an array of it has no shape")
            count = min(count * size, MAX_BYTES + 1)
        left -= count * np.dtype(TYPES[kind]).itemsize
        if left < 0 or len(shape) > 8:
            raise MessageError(f"it has more than {MAX_BYTES} bytes")
        arrays.append(np.empty(shape, TYPES[kind]))
    return header, arrays


# What follows runs in the other environment alone.


def main() -> None:
    """Answers the process that started this one until it is gone."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    _die_with(int(sys.argv[2]))
    codec = None
    while True:
        request = _receive(connection)
        if request is None:
            return
        header, arrays = request
        try:
            if header["do"] == "build":
                codec, answer = _build(header)
                made: list[Any] = []
            else:
                with _no_gradients():
                    answer, made = _DO[header["do"]](codec, header, arrays)
            pieces = pack(answer, made)
        except (Exception, SystemExit) as error:
            reason = str(error)[:_REASON]
            pieces = pack({"failed": type(error).__name__, "reason": reason}, [])
        for piece in pieces:
            connection.sendall(piece)


def _die_with(life: int) -> None:
    """Has this process group killed when the other end of the pipe is closed."""
    if hasattr(fcntl, "F_SETSIG"):  # Linux; elsewhere it ends when it has done what it is at
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([life], [], [], 0)[0]:  # it was closed before
            os.killpg(0, signal.SIGKILL)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[Any]] | None:
    start = bytearray(LENGTH.size)
    if not _fill(connection, start):
        return None
    text = bytearray(header_length(bytes(start)))
    if not _fill(connection, text):
        return None
    header, arrays = unpack(bytes(text))
    for one in arrays:
        if not _fill(connection, one.reshape(-1).view(np.uint8).data):
            return None
    return header, arrays


def _fill(connection: socket.socket, buffer: Any) -> bool:
    """Whether as much came as there is room for."""
    view = memoryview(buffer)
    while view:
        count = connection.recv_into(view)
        if not count:
            return False
        view = view[count:]
    return True


def _build(header: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    first, last = header["folders"]
    sys.path[:] = [*first, *sys.path, *last]
    name, _, attribute = header["code"].partition(":")
    if header["adapters"]:
        name = _mounted(header["adapters"]) + "." + name
    module = importlib.import_module(name)
    if not hasattr(module, attribute):
        raise AttributeError(f"{name} has no {attribute!r}")
    codec = getattr(module, attribute)(**header["options"])
    return codec, _description(codec, name, attribute)


def _mounted(folder: str) -> str:
    """Imports a folder as a package, without what lies around it; returns its name here."""
    name = "rdbench_adapters"
    place = Path(folder) / "__init__.py"
    spec: Any = spec_from_file_location(name, place, submodule_search_locations=[folder])
    sys.modules[name] = package = module_from_spec(spec)
    spec.loader.exec_module(package)
    return name


def _description(codec: Any, module: str, attribute: str) -> dict[str, Any]:
    """What the codec says of itself; rdbench's process checks it."""
    payload = getattr(codec, "payload", "tokens")
    rates, sizes = getattr(codec, "frame_rate", []), getattr(codec, "codebook_sizes", [])
    by_point = sizes if isinstance(sizes, dict) else {}
    sizes = list(by_point.values())[-1] if by_point else sizes
    if isinstance(rates, (int, float)):
        rates, sizes = [rates], [sizes] if sizes else []
        by_point = {point: [own] for point, own in by_point.items()}
    points = getattr(codec, "points", {})
    channels = getattr(codec, "channels", 1)
    return {
        "protocol": PROTOCOL,
        "name": str(getattr(codec, "name", attribute)),
        "payload": payload,
        "sample_rate": int(codec.sample_rate),
        "channels": [channels] if isinstance(channels, int) else [int(one) for one in channels],
        "frame_rates": [float(rate) for rate in rates],
        "codebook_sizes": _whole_numbers(sizes),
        "point_sizes": {str(point): _whole_numbers(own) for point, own in by_point.items()},
        "points": {str(n): kbps and float(kbps) for n, kbps in dict(points).items()},
        "prior": bool(getattr(codec, "prior", True)),
        "batched": bool(getattr(codec, "batched", True)),
        "moves": hasattr(codec, "to"),
        "delay": int(getattr(codec, "delay", 0)),
        "parameters": _parameters(getattr(codec, "parameters", None)),
        "texts": {
            key: str(getattr(codec, key, ""))
            for key in ("family", "version", "licence", "citation")
        },
        "versions": _versions(getattr(codec, "packages", ())),
        "files": sorted({*_files(module), *map(str, getattr(codec, "code_files", ()))}),
        "weight_files": [str(file) for file in getattr(codec, "weight_files", ())],
    }


def _whole_numbers(streams: Any) -> list[list[int]]:
    return [[int(size) for size in stream] for stream in streams]


def _parameters(said: Any) -> int | None:
    """How many there are; a model of torch lists them."""
    if callable(said):
        return sum(int(one.numel()) for one in said())
    return None if said is None else int(said)


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {"Python": ".".join(str(part) for part in sys.version_info[:3])}
    used = ["numpy"] + (["torch"] if "torch" in sys.modules else [])
    for name in dict.fromkeys([*used, *packages]):
        found[name] = metadata.version(name)
    return found


def _files(module: str) -> list[str]:
    """The module's file, and those that were imported from its package, or from its folder."""
    installed = {"site-packages", "dist-packages"}
    own = getattr(sys.modules[module], "__file__", None)
    if not own:
        return []
    package = sys.modules[module.partition(".")[0]]
    root = Path(getattr(package, "__file__", None) or own).resolve().parent
    files = {Path(own).resolve()}
    if hasattr(package, "__path__") or not installed & set(root.parts):
        for other in list(sys.modules.values()):
            path = Path(getattr(other, "__file__", None) or "/").resolve()
            if root in path.parents and not installed & set(path.relative_to(root).parts):
                files.add(path)
    return sorted(str(path) for path in files if path.is_file())


@contextlib.contextmanager
def _no_gradients() -> Iterator[None]:
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
    else:
        with torch.no_grad():
            yield


def _seed(arrays: list[Any]) -> None:
    """Draws depend on what is coded, and on nothing before it."""
    seed = 0
    for one in arrays:
        seed = zlib.crc32(one.tobytes(), seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (the generator that the codec may use)
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _plain(value: Any, kind: str) -> Any:
    """An array of numpy, of a tensor or a list."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if kind == "int64" and array.dtype.kind not in "iu":
        raise TypeError(f"codes must be whole numbers, not {array.dtype}")
    return array.astype(kind)


def _encode(
    codec: Any, header: dict[str, Any], arrays: list[Any]
) -> tuple[dict[str, Any], list[Any]]:
    _seed(arrays)
    payload = header["payload"]
    made = codec.encode(arrays[0], header["point"])
    if payload == "posterior":
        mean, scale = made
        both = [mean] if scale is None else [mean, scale]
        return {}, [_plain(one, "float32") for one in both]
    if payload == "packets":
        clips = [[clip] if isinstance(clip, (bytes, bytearray)) else list(clip) for clip in made]
        packets = [np.frombuffer(one, np.uint8) for clip in clips for one in clip]
        return {"packets": [len(clip) for clip in clips]}, packets
    side: dict[str, Any] = {}
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], dict):
        made, side = made
    streams = [_plain(one, "int64") for one in (made if header["several"] else [made])]
    values = [_plain(value, "float32") for value, _ in side.values()]
    return {"side": {name: _whole(bits) for name, (_, bits) in side.items()}}, streams + values


def _whole(bits: Any) -> int:
    """A count of bits; raises ValueError for parts of one."""
    if int(bits) != bits:
        raise ValueError(f"side information has {bits} bits; give a whole number")
    return int(bits)


def _decode(
    codec: Any, header: dict[str, Any], arrays: list[Any]
) -> tuple[dict[str, Any], list[Any]]:
    _seed(arrays)
    payload, length = header["payload"], header["length"]
    if payload == "posterior":
        return {}, [_plain(codec.decode(arrays[0], length), "float32")]
    if payload == "packets":
        left = iter([one.tobytes() for one in arrays])
        clips = [[next(left) for _ in range(count)] for count in header["packets"]]
        return {}, [_plain(codec.decode(clips, length), "float32")]
    count = len(arrays) - len(header["side"])
    codes: Any = arrays[:count] if header["several"] else arrays[0]
    if header["side"]:
        side = dict(zip(header["side"], arrays[count:]))  # noqa: B905  (Python 3.8)
        return {}, [_plain(codec.decode(codes, length, side), "float32")]
    return {}, [_plain(codec.decode(codes, length), "float32")]


def _move(codec: Any, header: dict[str, Any], _: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    codec.to(header["device"])
    return {}, []


_DO = {"encode": _encode, "decode": _decode, "to": _move}

if __name__ == "__main__":
    main()
