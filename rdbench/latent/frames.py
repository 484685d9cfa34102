"""A clip frame by frame: the KL of its latent, and what its waveform does meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

VERSION = 1
"""Raised when these numbers change."""
PARTS = 4
"""In how many parts of a frame the extremes of the waveform are told."""


@dataclass(frozen=True)
class LatentFrames:
    """begin: of each frame in seconds; kl: its KL to N(0, I) in nats, NaN without a posterior
    scale; level: in dBFS; (frames,) each. low, high: extremes of the waveform over all channels in
    each of `PARTS` parts of each frame, (PARTS, frames), 0 past the clip's end.
    """

    begin: Floats
    kl: Floats
    level: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(
        cls,
        samples: NDArray[np.float32],
        sample_rate: int,
        frame_rate: float,
        kl: Floats,
        level: Floats,
    ) -> LatentFrames:
        """samples: (channels, time). kl, level: (frames,). Rates in hertz."""
        frames = len(kl)
        edges = np.round(np.arange(frames * PARTS + 1) * (sample_rate / frame_rate / PARTS))
        padded = np.zeros((len(samples), max(int(edges[-1]) + 1, samples.shape[1])))
        padded[:, : samples.shape[1]] = samples
        starts = edges[:-1].astype(np.int64)
        low = np.minimum.reduceat(padded.min(axis=0)[: int(edges[-1])], starts)
        high = np.maximum.reduceat(padded.max(axis=0)[: int(edges[-1])], starts)
        begin = np.arange(frames) / frame_rate
        shape = (frames, PARTS)
        return cls(begin, kl, level, low.reshape(shape).T, high.reshape(shape).T)

    def pack(self) -> NDArray[np.float32]:
        """All of it in one array, (3 + 2 PARTS, frames)."""
        rows = [np.atleast_2d(getattr(self, field.name)) for field in fields(self)]
        return np.concatenate(rows).astype(np.float32)

    @classmethod
    def unpack(cls, array: NDArray[np.float32]) -> LatentFrames:
        """What `pack` gave; raises ValueError for anything else."""
        if array.ndim != 2 or len(array) != 3 + 2 * PARTS:
            raise ValueError("these are no frames of a latent; run again to make them anew")
        rows = array.astype(np.float64)
        return cls(rows[0], rows[1], rows[2], rows[3 : 3 + PARTS], rows[3 + PARTS :])
