"""Objects on their way to another machine, where the paths in them become those of the same files.

`pack` pickles an object with every path in it marked, and with it every text among the options of
codecs and metrics that names a file here. A `Parcel` is that with the paths that they have where it
is going: whatever unpickles it there has the object itself. A path that has no place there stays as
it is, or, where nothing lies there, becomes the same below another root, since each side of a run
may have its shared folder elsewhere. So does code, which is held to what it was when the run was
planned (`rdbench.identity.Watch`).
"""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any


@dataclass(frozen=True)
class Roots:
    """The folder below which clips and other files lie: where the run is, and here. "": none."""

    there: str = ""
    here: str = ""

    def below(self, path: str) -> str:
        """The path relative to the root of where the run is; "" where it is not below that."""
        root = f"{self.there.rstrip('/')}/"
        return path.removeprefix(root) if self.there and path.startswith(root) else ""


@dataclass(frozen=True)
class Parcel:
    """A packed object. places: by path where it was packed, where that file is here."""

    payload: bytes
    places: Mapping[str, str]
    roots: Roots = Roots()

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickled, it is open."""
        return _opened, (self.payload, dict(self.places), self.roots)


def _opened(payload: bytes, places: Mapping[str, str], roots: Roots) -> Any:
    return _Unpacker(payload, places, roots).load()


class _Unpacker(pickle.Unpickler):
    def __init__(self, payload: bytes, places: Mapping[str, str], roots: Roots) -> None:
        super().__init__(io.BytesIO(payload))
        self._places, self._roots = places, roots

    def persistent_load(self, path: Any) -> Path:
        """The path here."""
        if path in self._places:
            return Path(self._places[path])
        below = self._roots.below(path)
        if below and self._roots.here and not os.path.lexists(path):
            return Path(self._roots.here) / below
        return Path(path)


def pack(thing: object) -> tuple[bytes, set[str]]:
    """Pickles an object, its paths marked; with it, the paths that are named by options."""
    packer = _Packer(file := io.BytesIO())
    packer.dump(thing)
    return file.getvalue(), packer.named


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        from rdbench.engine.plan.metrics import Metric
        from rdbench.engine.plan.systems import CodecRecipe

        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.named: set[str] = set()
        self._with_options = CodecRecipe, Metric

    def persistent_id(self, thing: Any) -> str | None:
        """A path is marked, and its text kept."""
        return os.fspath(thing) if isinstance(thing, PurePath) else None

    def reducer_override(self, thing: Any) -> Any:
        """Options are made of what they say, with paths for texts that name files."""
        if isinstance(thing, self._with_options):
            options = json.loads(thing.options)
            marked = self._marked(options)
            if marked != options:
                return _with_options, (replace(thing, options="{}"), marked)
        return NotImplemented

    def _marked(self, option: Any) -> Any:
        if isinstance(option, dict):
            return {key: self._marked(value) for key, value in option.items()}
        if isinstance(option, list):
            return [self._marked(value) for value in option]
        if isinstance(option, str) and (path := _existing(option)):
            self.named.add(os.fspath(path))
            return path
        return option


def _existing(text: str) -> Path | None:
    try:
        path = Path(text).expanduser().absolute() if text else None
        return path if path and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # most texts are no paths
        return None


def _with_options(thing: Any, options: Mapping[str, Any]) -> Any:
    return replace(thing, options=json.dumps(options, default=str))
