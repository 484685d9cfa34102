"""Degraded copies of a clip: the same sound in noise, and in a room.

    noise_S    white Gaussian noise, S dB below the clip's own power
    room_T     the response of a room with a reverberation time (RT60) of T seconds

The response is the direct sound and, from 2.5 ms after it, a tail of Gaussian noise whose power
falls by 60 dB in T (Polack 1988), as strong in all as the direct sound (a direct-to-reverberant
ratio of 0 dB); the copy has the clip's own power. Power is the mean square over channels and time.
What is silent stays so. Channels have noise and tails of their own.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from rdbench.types import SpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

VERSION = 1
"""Raised when copies change."""
NOISE, ROOM = "noise_", "room_"
_GAP_SECONDS = 0.0025


def degraded(samples: Samples, sample_rate: int, name: str, *, seed: int) -> Samples:
    """The copy called `name` of samples (channels, time); the same for the same seed.

    Raises SpecError for a name that is none.
    """
    kind = next((one for one in (NOISE, ROOM) if name.startswith(one)), "")
    try:
        amount = float(name.removeprefix(kind)) if kind else math.nan
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount) or (kind == ROOM and amount <= 0):
        raise SpecError(
            f"there is no copy {name!r}; name noise_S (S dB below the clip) or room_T (T seconds)"
        )
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    clean = samples.astype(np.float64)
    power = float(np.square(clean).mean()) if clean.size else 0.0
    if power == 0.0:
        return samples.copy()
    if kind == NOISE:
        spread = math.sqrt(power * 10.0 ** (-amount / 10.0))
        made = clean + spread * rng.standard_normal(clean.shape)
    else:
        made = _reverberant(clean, sample_rate, amount, rng)
        made *= math.sqrt(power / float(np.square(made).mean()))
    return made.astype(np.float32)


def room_response(
    sample_rate: int, seconds: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """One response, as long as its reverberation time, (time,)."""
    time = np.arange(max(2, round(seconds * sample_rate))) / sample_rate
    tail = rng.standard_normal(len(time)) * 10.0 ** (-3.0 * time / seconds)
    tail[time < min(_GAP_SECONDS, time[-1])] = 0.0
    response = tail / math.sqrt(float(np.square(tail).sum()))
    response[0] = 1.0
    return response


def _reverberant(
    clean: NDArray[np.float64], sample_rate: int, seconds: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    from scipy.signal import fftconvolve

    return np.stack(
        [
            fftconvolve(channel, room_response(sample_rate, seconds, rng))[: len(channel)]
            for channel in clean
        ]
    )
