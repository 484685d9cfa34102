"""Latents that a generator predicted: a folder of arrays named by clip, or a plugin.

A folder has, for the clip `speech/a.flac`, the array (channels, frames) in `speech/a.npy`, or as
the only array in `speech/a.npz`; a part of a file (`a.flac#1+2`) is `a#1+2.npy`. Files are hashed
when a run is planned, so that each is in the key of its clip, and read by another process later:
one that is another by then is refused. They are data alone: no pickle is read.

A plugin is an entry point of the group `rdbench.latents`, or `module:callable` where code may run.
It is called as `generate(clip, shape=(channels, frames), seed=number)`, the clip by its name, and
returns the array.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rdbench.audio.places import place_of, places_of
from rdbench.codecs.elsewhere.arrays import ENDS, read_array
from rdbench.codecs.variants import is_predicted
from rdbench.engine.plan.digests import digest
from rdbench.files import is_file, is_folder
from rdbench.identity import behind, file_sha256, names_class, read_hashed
from rdbench.text import first_line
from rdbench.types import ChangedError, CodecError, SpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import System
    from rdbench.spec.model import BenchmarkSpec

    Array = NDArray[np.float32]

ENTRY_POINT_GROUP = "rdbench.latents"
MOST_BYTES = 256 * 2**20
"""Of one array: more than an hour of 192 channels at 75 Hz."""


class Predictions(Protocol):
    """Predicted latents of one seed of a generator."""

    @property
    def digest(self) -> str:
        """Names them all, for readers."""

    @property
    def source(self) -> str:
        """Names what makes them, where that is code; part of every key."""

    def content(self, clip: str) -> str:
        """Names the latent of a clip, for its key; "" where nothing is known of it beforehand."""

    def latent(self, clip: str, shape: tuple[int, int]) -> Array:
        """The latent of a clip, finite and of `shape`; raises CodecError where there is none."""


@dataclass(frozen=True)
class FolderPredictions:
    """files: by clip, each with its SHA-256."""

    folder: Path
    files: Mapping[str, tuple[Path, str]]
    source = ""

    @classmethod
    def of(cls, folder: Path, clips: Sequence[str]) -> FolderPredictions:
        """The files of `clips` in a folder.

        Raises SpecError where there is no folder, and where two clips would have one file.
        """
        if not is_folder(folder):
            raise SpecError(f"there is no folder {folder} with predicted latents; mend `predicted`")
        files: dict[str, tuple[Path, str]] = {}
        for clip in places_of(clips):
            found = [path for path in _places(folder, clip) if is_file(path)]
            if found:
                try:
                    if found[0].stat().st_size <= MOST_BYTES:
                        files[clip] = (found[0], file_sha256(found[0]))
                except OSError:
                    continue  # and it is read again, and then the reason told
        return cls(folder, files)

    @property
    def digest(self) -> str:
        """Names them all."""
        return digest(sorted((clip, sha256) for clip, (_, sha256) in self.files.items()))

    def content(self, clip: str) -> str:
        """The SHA-256 of its file, or ""."""
        return self.files[clip][1] if clip in self.files else ""

    def latent(self, clip: str, shape: tuple[int, int]) -> Array:
        """Reads it; raises ChangedError where the file is no longer what was hashed."""
        places = _places(self.folder, clip)
        path, expected = self.files.get(clip, (places[0], ""))
        try:
            content, found = read_hashed(path, limit=MOST_BYTES)
        except OSError as error:
            raise CodecError(
                f"there is no predicted latent of the clip {clip!r}: {path} cannot be read "
                f"({error.strerror}); put an array {shape} there"
            ) from None
        if found != expected:
            raise ChangedError.of(str(path))
        try:
            values = read_array(content, path.suffix, kinds="f", most=MOST_BYTES)
        except Exception as error:  # NumPy and zipfile raise anything for what is no array
            raise CodecError(
                f"{path} holds no latent ({first_line(error)}); save one array of floats"
            ) from None
        return _checked(values, shape, f"{path}, the predicted latent of {clip!r},")


@dataclass(frozen=True)
class PluginPredictions:
    """name: as the spec has it. target: `module:callable`. source: names its code."""

    name: str
    target: str
    seed: int
    source: str

    @property
    def digest(self) -> str:
        """Names them all."""
        return digest([self.source, self.seed])

    def content(self, clip: str) -> str:
        """Nothing: its code is in the key."""
        return ""

    def latent(self, clip: str, shape: tuple[int, int]) -> Array:
        """Asks the plugin."""
        generate = _callable(self.name, self.target)
        try:
            values = np.asarray(generate(clip, shape=shape, seed=self.seed))
        except Exception as error:  # somebody else's code: its fault is a row
            raise CodecError(
                f"the generator {self.name!r} raised {type(error).__name__} on the clip {clip!r}: "
                f"{first_line(error)}"
            ) from error
        return _checked(values, shape, f"what the generator {self.name!r} made of {clip!r}")


def take_predictions(
    spec: BenchmarkSpec,
    systems: Sequence[System],
    clips: Sequence[PlannedClip],
    *,
    allow_code: bool,
) -> None:
    """Gives systems that decode predicted latents where these come from, one for each seed.

    Raises SpecError for a folder or a plugin that is not there, and for code without `allow_code`.
    """
    for system in systems:
        if not any(is_predicted(variant) for variant in system.variants):
            continue
        names = [clip.name for clip in clips if system.takes(clip.domain)]
        found: list[Predictions] = []
        for seed, text in enumerate(system.spec.predicted or ()):
            if target := _target(text, allow_code=allow_code):
                code = _behind(text, target)
                system.files = {**system.files, **code.files}
                found.append(PluginPredictions(text, target, seed, digest(code.source)))
            else:
                found.append(FolderPredictions.of(spec.locate(text), names))
        system.predictions = tuple(found)


def _target(text: str, *, allow_code: bool) -> str:
    """What a plugin is imported as; "" for a folder."""
    if names_class(text):
        if not allow_code:
            raise SpecError(
                f"the latents {text!r} are made by Python code that would be run; add --allow-code "
                "if you trust it"
            )
        return text
    found = [entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name == text]
    return found[0].value if found else ""


def _behind(name: str, target: str) -> Any:
    _callable(name, target)
    return behind(target.partition(":")[0])


def _callable(name: str, target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # somebody else's code may raise anything
        raise SpecError(
            f"the generator {name!r} cannot be imported ({type(error).__name__}: "
            f"{first_line(error)}); mend it"
        ) from error
    if not callable(found):
        raise SpecError(f"the generator {name!r} is no function; name one that makes a latent")
    return found


def _places(folder: Path, clip: str) -> list[Path]:
    return [folder / f"{place_of(clip)}{end}" for end in ENDS]


def _checked(values: NDArray[Any], shape: tuple[int, int], what: str) -> Array:
    if values.shape != shape:
        raise CodecError(
            f"{what} has the shape {values.shape}, and the encoder's latent is {shape} (channels, "
            "frames); predict that"
        )
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        raise CodecError(f"{what} has values that are not finite numbers; leave the clip out")
    with np.errstate(over="ignore"):
        single = np.array(values, np.float32)
    if not np.isfinite(single).all():
        raise CodecError(f"{what} has values beyond float32; mend the generator")
    return single
