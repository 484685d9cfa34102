"""Audio kept beside the measurements: reconstructions and references as FLAC, on request.

A file is `audio/<unit key>.flac`: the key names codec, weights, point, variant, clip content and
protocol, so that a file of other inputs never looks like the one that is asked for, and no name of
a user becomes part of a path. Which key is what stands in rows of the kind `audio` among the
measurements; they come and go with the spec as all rows do, and readers of measurements do not see
them. The value of such a row is the peak of what was scored, 1 being full scale.

FLAC holds 24 bits at most. What is scored is the float32 that a decoder gave, so that scores never
depend on whether audio is kept; the file is the same rounded to the 24-bit grid,

    kept = clamp(round(2^23 x), −2^23, 2^23 − 1) / 2^23    |kept − x| ≤ 2^-24, 2^-23 at x = 1

A score that is made later from the file says so in its row's `reason`. Samples beyond full scale
are clipped in the file, as every player would: such a file is for listening, and is decoded again
where it is to be scored (`Kept.exact`).
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.files import open_regular, read_file
from rdbench.store.atomic import changing, make_folder, remove_leftovers, write_atomic
from rdbench.store.parts import MEASUREMENTS, ordered, read_all
from rdbench.store.schema import Kind
from rdbench.types import StoreError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import soundfile

FOLDER = "audio"
KEY = "flac"
"""What rows of kept audio have in their column `key`."""
UNIT = "full scale"
COLUMNS = ("system", "curve", "point", "variant", "clip", "path")

MAX_VALUES = 2**26
"""The most samples × channels of a file: what a clip may have (`rdbench.audio.load`)."""
MAX_CHANNELS = 8

_STEPS = 2**23
_BLOCK = 2**18  # frames
_SUFFIX = ".flac"


@dataclass(frozen=True)
class Kept:
    """One kept file. peak: of the samples before they were rounded, 1 being full scale."""

    path: Path
    peak: float

    @property
    def exact(self) -> bool:
        """Whether the file differs from what was scored by rounding alone, and not by clipping."""
        return self.peak <= 1.0


def kept_audio(run: Path) -> pd.DataFrame:
    """The audio kept in the folder of a run: one row per file.

    Columns: system, curve, point, variant, clip, path (of the FLAC). References have the system ""
    and nothing in curve, point and variant. Ordered as measurements are. Empty where no audio was
    kept; files that were deleted, or belong to units that the spec no longer asks for, are left
    out. Raises StoreError where the measurements cannot be read.
    """
    frame = ordered(read_all(Path(run) / MEASUREMENTS, kind=Kind.AUDIO)).to_pandas()
    there = _files(Path(run))
    frame = frame[frame["unit_key"].isin(list(there))]
    frame = frame.assign(path=[str(there[key]) for key in frame["unit_key"]])
    listed: pd.DataFrame = frame[list(COLUMNS)].reset_index(drop=True)
    return listed


def kept_files(run: Path) -> dict[str, Kept]:
    """The kept files by unit key, those alone whose file is there."""
    there = _files(Path(run))
    if not there:
        return {}
    table = read_all(Path(run) / MEASUREMENTS, ("unit_key", "value"), Kind.AUDIO)
    pairs = zip(table["unit_key"].to_pylist(), table["value"].to_pylist(), strict=True)
    return {key: Kept(there[key], peak) for key, peak in pairs if key in there}


def open_audio(run: Path) -> Path:
    """Makes the folder for audio and clears it of a killed writer's leftovers; needs the lock."""
    folder = Path(run) / FOLDER
    make_folder(folder, within=Path(run))
    remove_leftovers(folder, within=Path(run))
    return folder


def write_audio(
    folder: Path, unit_key: str, samples: npt.NDArray[np.float32], sample_rate: int
) -> float:
    """Writes samples (channels, time), full scale at ±1, as 24-bit FLAC; returns their peak.

    Equal samples make equal files. Raises StoreError where the file cannot be written.
    """
    import numpy as np
    import soundfile

    steps = np.rint(samples.T.astype(np.float64) * _STEPS).clip(-_STEPS, _STEPS - 1)
    content = io.BytesIO()
    # As integers in the upper 24 of 32 bits: the library's own conversion of floats scales them.
    soundfile.write(
        content, (steps.astype(np.int32) << 8), sample_rate, format="FLAC", subtype="PCM_24"
    )
    path = folder / f"{unit_key}{_SUFFIX}"
    write_atomic(path, content.getvalue(), within=folder.parent)
    return float(np.abs(samples).max(initial=0.0))


def read_audio(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Samples float32 (channels, time) of a kept file, and their rate in hertz.

    Raises StoreError where it cannot be read, or is none that `write_audio` wrote: at most
    `MAX_VALUES` samples in all channels, read in blocks, so that memory is used as samples come.
    """
    import numpy as np

    with _opened(path) as file:
        samples = np.zeros((file.channels, file.frames), np.float32)
        found = 0
        while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
            samples[:, found : found + len(block)] = block.T
            found += len(block)
        if found != file.frames:
            raise _damaged(path, "it ends before its header says")
        return samples, int(file.samplerate)


def check_audio(path: Path) -> None:
    """Raises StoreError as `read_audio` does for a file whose header is none of kept audio."""
    with _opened(path):
        pass


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    import soundfile

    try:
        with open_regular(path) as stream, soundfile.SoundFile(stream) as file:
            if file.format != "FLAC" or not 0 < file.channels <= MAX_CHANNELS:
                raise _damaged(path, "it is no FLAC of a few channels")
            if not 0 <= file.frames <= MAX_VALUES // file.channels:
                raise _damaged(path, f"it promises {file.frames} samples")
            yield file
    except (OSError, soundfile.SoundFileError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> StoreError:
    reason = " ".join(why.split())
    return StoreError(f"cannot read the kept audio {path} ({reason}); delete it and run again")


def rename_audio(run: Path, keys: Mapping[str, str]) -> None:
    """Names the kept files of units after the keys that `keys` gives them; raises StoreError.

    Where it ends early, the next call does the rest.
    """
    for key, path in _files(Path(run)).items():
        if key in keys:
            with changing(path, Path(run)) as folder:
                new = f"{keys[key]}{_SUFFIX}"
                os.replace(path.name, new, src_dir_fd=folder, dst_dir_fd=folder)


def copy_audio(run: Path, into: Path, keys: Set[str]) -> None:
    """Takes the kept files of units of one run into the folder of another; raises StoreError."""
    there = _files(Path(run)) if keys else {}
    for key in sorted(keys & there.keys()):
        try:
            content = read_file(there[key], MAX_VALUES * 4)
        except OSError as error:
            raise _damaged(there[key], error.strerror or str(error)) from error
        make_folder(into / FOLDER, within=into)
        write_atomic(into / FOLDER / there[key].name, content, within=into)


def _files(run: Path) -> dict[str, Path]:
    folder = run / FOLDER
    if not folder.is_dir():
        return {}
    # Keys are hexadecimal: a name of other signs is nobody's, and may be no text at all.
    names = (path for path in folder.iterdir() if path.suffix == _SUFFIX)
    return {path.stem: path for path in names if path.stem.isascii()}
