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

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.store.atomic import cannot_write, make_folder, remove_leftovers, write_atomic
from rdbench.store.parts import MEASUREMENTS, ordered, read_all
from rdbench.store.schema import Kind
from rdbench.types import StoreError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

FOLDER = "audio"
KEY = "flac"
"""What rows of kept audio have in their column `key`."""
UNIT = "full scale"
COLUMNS = ("system", "curve", "point", "variant", "clip", "path")

_STEPS = 2**23
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
    make_folder(folder)
    remove_leftovers(folder)
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
    write_atomic(folder / f"{unit_key}{_SUFFIX}", content.getvalue())
    return float(np.abs(samples).max(initial=0.0))


def read_audio(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Samples float32 (channels, time) of a kept file, and their rate in hertz.

    Raises StoreError where it cannot be read.
    """
    import numpy as np
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise StoreError(
            f"cannot read the kept audio {path} ({error}); delete it and run again"
        ) from error
    return np.ascontiguousarray(samples.T), int(rate)


def rename_audio(run: Path, keys: Mapping[str, str]) -> None:
    """Names the kept files of units after the keys that `keys` gives them; raises StoreError.

    Where it ends early, the next call does the rest.
    """
    for key, path in _files(Path(run)).items():
        if key in keys:
            try:
                os.replace(path, path.with_stem(keys[key]))  # noqa: PTH105 (as in `atomic`)
            except OSError as error:
                raise cannot_write(path, error) from error


def _files(run: Path) -> dict[str, Path]:
    folder = run / FOLDER
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in folder.iterdir() if path.suffix == _SUFFIX}
