"""Random numbers that both ends of a stream draw alike, from the seed of the clip.

Philox 4×64 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) counts: a key
made of the seed and of what the numbers are for gives the same words in any process. They are taken
raw, since numpy keeps the words of a bit generator as they are and not its distributions.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rdbench.rate.coded.base import Floats


class Purpose(IntEnum):
    """What numbers are for: each purpose has a sequence of its own."""

    DITHER = 1
    FILL = 2
    CANDIDATES = 3
    SIGNS = 4
    SHIFTS = 5
    RACE = 6  # the encoder's own


def philox(seed: int, purpose: Purpose) -> np.random.Philox:
    """The bit generator of a seed for a purpose."""
    return np.random.Philox(key=np.array([seed % 2**64, purpose], np.uint64))


def uniforms(seed: int, purpose: Purpose, *shape: int) -> Floats:
    """Uniform on (0, 1), never an end of it, float64 of `shape`."""
    words = philox(seed, purpose).random_raw(int(np.prod(shape)))
    found: Floats = ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return found.reshape(shape)


def normals(seed: int, purpose: Purpose, *shape: int) -> Floats:
    """Standard normal, float64 of `shape`."""
    from scipy.special import ndtri

    found: Floats = ndtri(uniforms(seed, purpose, *shape))
    return found
