"""Kept audio as the page plays it: 16-bit FLAC in base64, one file per clip and point.

The store keeps 24 bits, whose last byte is noise that no coder can shorten. What is heard is
rounded to 16 bits (−98 dB), at the level and the rate that were scored.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.report.html.files import ReportFolder
from rdbench.report.html.numbering import Numbering
from rdbench.store.audio import kept_audio, read_audio
from rdbench.types import StoreError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]

FULL_SCALE = 2**15
REFERENCE = "reference"


@dataclass(frozen=True)
class Sounds:
    """Which files there are. reference: clips. points: clip -> points, both by number."""

    reference: frozenset[int]
    points: dict[int, list[int]]

    @property
    def any(self) -> bool:
        """Whether any audio was kept."""
        return bool(self.reference or self.points)


def kept_files(run: Path, numbers: Numbering) -> dict[tuple[int, int | None], Path]:
    """Paths of the kept audio by (clip, point), point None for a reference."""
    found: dict[tuple[int, int | None], Path] = {}
    fields = kept_audio(run)[["system", "point", "variant", "clip", "path"]]
    for system, point, variant, clip, path in fields.itertuples(index=False, name=None):
        decoded = numbers.point_named(system, point, variant)
        if system and decoded is None:
            continue  # a system that the configuration hides
        for number in numbers.clips_named(clip):
            found[number, decoded] = Path(path)
    return found


def write_sounds(files: dict[tuple[int, int | None], Path], folder: ReportFolder) -> Sounds:
    """Writes `data/audio/CLIP/POINT.js`; a file that cannot be read is left out."""
    reference: set[int] = set()
    points: dict[int, list[int]] = {}
    for (clip, point), path in files.items():
        text = encoded(path)
        if text is None:
            continue
        folder.data(f"audio/{clip}/{REFERENCE if point is None else point}", text)
        if point is None:
            reference.add(clip)
        else:
            points.setdefault(clip, []).append(point)
    return Sounds(frozenset(reference), points)


def encoded(path: Path) -> str | None:
    """The audio of `path` as 16-bit FLAC in base64; None where it cannot be read."""
    try:
        samples, rate = read_audio(path)
    except StoreError:
        return None
    return base64.b64encode(flac(samples, rate)).decode("ascii")


def flac(samples: Samples, sample_rate: int) -> bytes:
    """A 16-bit FLAC file of samples (channels, time) at `sample_rate` hertz."""
    import numpy as np
    import soundfile

    # Samples beyond full scale are held there, as in every player.
    steps = np.rint(samples.T.astype(np.float64) * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1)
    sink = io.BytesIO()
    soundfile.write(sink, steps.astype(np.int16), sample_rate, format="FLAC", subtype="PCM_16")
    return sink.getvalue()
