"""Where in a clip a frame lies: in silence, at a transient, or in between.

The level of a frame is the mean square of its samples over all channels, in dB of full scale. A
frame is silent below −50 dBFS, a transient where it is not silent and its level is more than 6 dB
above that of the frame before, and else steady.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLACES = ("silence", "transient", "steady")
SILENCE_DBFS = -50.0
RISE_DB = 6.0
_FLOOR_DBFS = -200.0


def frame_levels(
    samples: NDArray[np.float32], sample_rate: int, frame_rate: float, frames: int
) -> NDArray[np.float64]:
    """Levels in dBFS, (frames,), of samples (channels, time); a frame past them is silent.

    sample_rate, frame_rate: in hertz; a hop need not be a whole number of samples.
    """
    power = np.square(samples.astype(np.float64)).mean(axis=0)
    total = np.concatenate([[0.0], np.cumsum(power)])
    edges = np.round(np.arange(frames + 1) * (sample_rate / frame_rate)).astype(np.int64)
    edges = np.minimum(edges, len(power))
    mean = np.diff(total[edges]) / np.maximum(np.diff(edges), 1)
    return np.asarray(10.0 * np.log10(np.maximum(mean, 10.0 ** (_FLOOR_DBFS / 10.0))))


def places(levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place of each frame, (frames,), as its index in PLACES; levels: in dBFS."""
    silent = levels < SILENCE_DBFS
    rises = np.diff(levels, prepend=levels[:1]) > RISE_DB
    return np.where(silent, 0, np.where(rises, 1, 2))
