"""Interprets the pickles of PyTorch checkpoints as data: nothing of theirs is called.

A checkpoint's pickle is a table of views into storages, with plain values beside them. It is a
program for a small machine; here that machine has the instructions and names alone that such tables
need, and makes a `View` where PyTorch makes a tensor. `torch.load(weights_only=True)` runs no code
of the file either, but it believes its numbers: strides of 0 make terabytes of a byte, numbers that
share a hash fill a dictionary for hours. So views are held against their storages, whose sizes
`rdbench.weights.archives` holds against the bytes that are there.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rdbench.types import WeightsError
from rdbench.weights.formats import MAX_BYTES, MAX_ENTRIES

MAX_PICKLE_BYTES = 4 * 2**20
"""The largest table of contents that is read; those of 20,000 tensors are smaller."""
MAX_HANDLED = 2**20
"""Entries of tables that are made of remembered tuples, all together."""
_MAX_ARGUMENTS = 16
_MAX_DIMENSIONS = 64
MAX_NUMBER_KEY = 2**20
"""Numbers that are keys are smaller: those of optimizers count parameters."""

ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2,
    "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16",
    "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8",
    "Bool": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """A run of values that views look into. key: its name in the file. dtype: as torch names it."""

    key: str
    dtype: str
    items: int

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.items * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class View:
    """Stands for a tensor; offset and stride count values of the storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Pickles:
    """Reads pickles that follow each other in `content`, of which `MAX_PICKLE_BYTES` are used.

    name: of the file, for messages. at: where the next pickle begins. storages: those that were
    met, by key.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self.at = 0
        self.storages: dict[str, Storage] = {}
        self._content = content[:MAX_PICKLE_BYTES]
        self._name = name
        self._views = self._view_bytes = self._handled = 0

    def load(self) -> Any:
        """What the next pickle says.

        Raises WeightsError where it needs more than tables of tensors do, and whatever a broken
        one leads to.
        """
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        while (code := self.read(1)) != b".":
            if code not in _INSTRUCTIONS:
                raise ValueError(f"an instruction {code!r} that PyTorch does not write")
            _INSTRUCTIONS[code](self)
        return self.pop()

    # -- the machine

    def read(self, size: int) -> bytes:
        """The next bytes, all of them."""
        first, self.at = self.at, self.at + size
        if self.at > len(self._content):
            raise ValueError(
                f"its table of contents is cut short, or has more than {MAX_PICKLE_BYTES} bytes"
            )
        return self._content[first : self.at]

    def number(self, form: str) -> Any:
        """The next number of a form of `struct`."""
        return struct.unpack(form, self.read(struct.calcsize(form)))[0]

    def line(self) -> str:
        """The text up to the next line feed."""
        end = self._content.index(b"\n", self.at)
        text = self.read(end + 1 - self.at)
        return text[:-1].decode("utf-8")

    def push(self, value: Any) -> None:
        """Puts a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Takes the value from the top of the stack."""
        return self._stack.pop()

    def mark(self) -> None:
        """Begins a list of values."""
        self._below.append(self._stack)
        self._stack = []

    def marked(self) -> list[Any]:
        """Ends it, and returns them."""
        values, self._stack = self._stack, self._below.pop()
        return values

    def keep(self, place: int) -> None:
        """Remembers the top of the stack."""
        self._memo[place] = self._stack[-1]

    def recall(self, place: int) -> None:
        """Puts on the stack what was remembered."""
        self.push(self._memo[place])

    def extend(self, values: list[Any]) -> None:
        """Adds values to the list on the top of the stack."""
        _plain(self._stack[-1], list).extend(values)

    def fill(self, values: list[Any]) -> None:
        """Adds key, value, key, value … to the dictionary on the top of the stack."""
        table = _plain(self._stack[-1], dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            table[_key(key)] = value

    def build(self) -> None:
        """The attributes of an object: those of a table (its versions) mean nothing here."""
        self.pop()
        _plain(self._stack[-1], dict)

    # -- names

    def named(self) -> None:
        """A global name: a stand-in for one that tables need; raises WeightsError for others."""
        full = f"{self.line()}.{self.line()}"
        module, _, name = full.rpartition(".")
        short = name.removesuffix("Storage")
        if full in _CALLS:
            self.push(_CALLS[full])
        elif module == "torch" and short != name and short in _STORAGES:
            self.push(_Kind(_STORAGES[short]))
        elif module == "torch" and name in ITEM_BYTES:
            self.push(name)
        else:
            shown = re.sub(r"[^\w.]", "?", full[:80])
            raise WeightsError(
                f"weights file {self._name} holds code or objects ({shown}) beside tensors, "
                "which are never loaded; use a checkpoint of plain tensors"
            )

    def handle(self, values: int) -> None:
        """Counts values that are copied: what was remembered may be copied again and again."""
        self._handled += values
        if self._handled > MAX_HANDLED:
            raise ValueError(f"it copies more than {MAX_HANDLED} values")

    def call(self) -> None:
        """What a stand-in makes of arguments."""
        arguments = _short(self.pop(), _MAX_ARGUMENTS)
        self.push(_plain(self.pop(), _Call).function(self, *arguments))

    def persistent(self) -> None:
        """A storage."""
        tag, kind, key, _, items, *more = _short(self.pop(), _MAX_ARGUMENTS)
        if tag != "storage" or type(items) is not int or any(one is not None for one in more):
            raise ValueError("a storage that PyTorch does not write")
        storage = Storage(_plain(key, str), _plain(kind, _Kind).dtype, items)
        if not 0 <= storage.items <= MAX_BYTES:
            raise ValueError(f"it promises {items} values in a storage")
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError("a storage of two types or sizes")
        self.push(storage)

    def view(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> View:
        """A view, once it is found to lie in its storage."""
        size, stride = (_short(one, _MAX_DIMENSIONS) for one in (size, stride))
        numbers = (offset, *size, *stride)
        if not isinstance(storage, Storage) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError("a tensor that PyTorch does not write")
        if len(size) != len(stride) or max(numbers) > 2**48:
            raise ValueError("a tensor of an impossible shape")
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if count > storage.items or (count and last >= storage.items) or offset > storage.items:
            raise ValueError(f"a tensor of {count} values in a storage of {storage.items}")
        self._views += 1
        self._view_bytes += count * ITEM_BYTES[storage.dtype]
        if self._views > MAX_ENTRIES or self._view_bytes > MAX_BYTES:
            raise ValueError(
                f"more than {MAX_ENTRIES} tensors, or {MAX_BYTES} bytes of them; save it again "
                "without views"
            )
        return View(storage, offset, size, stride)


@dataclass(frozen=True)
class _Kind:
    """Stands for a class of storages."""

    dtype: str


@dataclass(frozen=True)
class _Call:
    """Stands for a function or class."""

    function: Callable[..., Any]


def _plain(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"a {type(value).__name__} where PyTorch writes a {kind.__name__}")
    return value


def _short(value: Any, most: int) -> Any:
    """A tuple that takes no time, however often it is taken apart."""
    if len(_plain(value, tuple)) > most:
        raise ValueError(f"{len(value)} values where PyTorch writes at most {most}")
    return value


def _key(key: Any) -> str | int:
    """A key, of which no choice makes a dictionary slow."""
    if type(key) is str or (type(key) is int and abs(key) < MAX_NUMBER_KEY):
        return key
    raise ValueError("a table whose names are no text")


def _table(machine: Pickles, pairs: Any = ()) -> dict[str | int, Any]:
    machine.handle(len(pairs))
    return {_key(key): value for key, value in pairs}


def _set(machine: Pickles, items: Any) -> frozenset[str | int]:
    machine.handle(len(items))
    return frozenset(map(_key, items))


def _parameter(_: Pickles, data: Any, *__: Any) -> Any:
    return data


_CALLS: Mapping[str, _Call] = {
    "collections.OrderedDict": _Call(_table),
    "torch._utils._rebuild_tensor": _Call(Pickles.view),
    "torch._utils._rebuild_tensor_v2": _Call(Pickles.view),
    "torch._utils._rebuild_parameter": _Call(_parameter),
    "torch.Size": _Call(lambda _, size: _plain(size, tuple)),
    "torch.device": _Call(lambda _, name, *__: _plain(name, str)),
    "builtins.set": _Call(_set),
    "__builtin__.set": _Call(_set),
}


def _long(machine: Pickles) -> None:
    machine.push(int.from_bytes(machine.read(machine.number("<B")), "little", signed=True))


def _text(form: str) -> Callable[[Pickles], None]:
    return lambda m: m.push(m.read(m.number(form)).decode("utf-8", "surrogatepass"))


def _few(count: int) -> Callable[[Pickles], None]:
    return lambda m: m.push(tuple([m.pop() for _ in range(count)][::-1]))


# Those of protocol 2, in which `torch.save` writes: `pickletools` says what each does.
_INSTRUCTIONS: Mapping[bytes, Callable[[Pickles], None]] = {
    b"\x80": lambda m: m.number("<B"),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": _long,
    b"G": lambda m: m.push(m.number(">d")),
    b"X": _text("<I"),
    b"U": _text("<B"),
    b"(": Pickles.mark,
    b"t": lambda m: m.push(tuple(m.marked())),
    b")": lambda m: m.push(()),
    b"\x85": _few(1),
    b"\x86": _few(2),
    b"\x87": _few(3),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.extend([m.pop()]),
    b"e": lambda m: m.extend(m.marked()),
    b"}": lambda m: m.push({}),
    b"s": lambda m: m.fill([m.pop() for _ in range(2)][::-1]),
    b"u": lambda m: m.fill(m.marked()),
    b"b": Pickles.build,
    b"c": Pickles.named,
    b"R": Pickles.call,
    b"Q": Pickles.persistent,
    b"h": lambda m: m.recall(m.number("<B")),
    b"j": lambda m: m.recall(m.number("<I")),
    b"q": lambda m: m.keep(m.number("<B")),
    b"r": lambda m: m.keep(m.number("<I")),
}
