"""The analysis of speech by WORLD, which the metrics of pitch and of the cepstrum share.

Every 5 ms: F0 by Harvest (Morise, "Harvest: a high-performance fundamental frequency estimator from
speech signals", Interspeech 2017) between 71 and 800 Hz; whether the frame is voiced, which is
where Harvest has an F0 and D4C's "love train" does not call the frame aperiodic (Morise, "D4C, a
band-aperiodicity estimator for high-quality speech synthesis", Speech Communication 84, 2016: the
power up to 4 kHz, against that up to 7.9 kHz, is above 0.85), since Harvest alone takes much noise
for voice; and the spectral envelope by CheapTrick (Morise, Speech Communication 67, 2015). By the
package `pyworld`, at 16 kHz, in float64.

Harvest takes 0.2 s of one core for each second of speech, ten times what PESQ does. One clip is
analysed once, whatever is measured on it, and clips of more than a minute are not.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import PoolBackend
from rdbench.metrics.packages import distribution_version, without_signal
from rdbench.metrics.remembered import remembered
from rdbench.types import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

RATE = 16000
HOP = 0.005  # seconds
SHORTEST = 0.1
LONGEST = 60.0
EXTRA = "pitch"
_APERIODIC = 0.5  # D4C says 1 of what it takes for no voice, and 0.001 of the lowest band of others


@dataclass(frozen=True, eq=False)
class Voice:
    """One channel of speech, by frames of 5 ms.

    f0: in hertz, NaN where it is not voiced, (frames,). envelope: power, (frames, bins) from 0 to
    half of the rate.
    """

    f0: Floats
    envelope: Floats

    @property
    def voiced(self) -> npt.NDArray[np.bool_]:
        """Which frames are voiced, (frames,)."""
        import numpy as np

        return ~np.isnan(self.f0)


@remembered
def analysed(samples: npt.NDArray[np.float32], sample_rate: int) -> Voice:
    """WORLD's view of one channel (time,); of the last ones, what was found before.

    Raises ImportError where pyworld is not installed.
    """
    import warnings

    import numpy as np

    with warnings.catch_warnings():  # pyworld asks setuptools for its own version
        warnings.simplefilter("ignore")
        import pyworld

    wave = samples.astype(np.float32).astype(np.float64)
    f0, times = pyworld.harvest(wave, sample_rate, frame_period=1000 * HOP)
    envelope = pyworld.cheaptrick(wave, f0, times, sample_rate)
    aperiodic = pyworld.d4c(wave, f0, times, sample_rate)[:, 0] > _APERIODIC
    return Voice(np.where((f0 > 0) & ~aperiodic, f0, np.nan), envelope)


class WorldBackend(PoolBackend):
    """A score of two analyses of one channel; `key` is that of the metric."""

    name = "reference"
    tolerance = 0.0

    def __init__(self, key: str) -> None:
        self.key = key

    @cached_property
    def version(self) -> str:
        """The package's version; raises MissingExtraError where it is not installed."""
        return f"pyworld {distribution_version('pyworld', self.key, EXTRA)}"

    def prepare(self, reference: npt.NDArray[np.float32], sample_rate: int) -> Any:
        """The reference (time,), which is analysed when it is first compared."""
        return reference

    def score(
        self, prepared: Any, *, reconstruction: npt.NDArray[np.float32], sample_rate: int
    ) -> Score:
        """The score of one channel (time,) at 16 kHz."""
        import numpy as np

        for name, signal in (("reference", prepared), ("reconstruction", reconstruction)):
            if not np.isfinite(signal).all():
                return Score.failed(f"the {name} holds samples that are not finite")
        silent = without_signal(reference=prepared, reconstruction=reconstruction)
        if silent is not None:
            return silent
        seconds = len(reconstruction) / sample_rate
        if seconds > LONGEST:
            return Score.undefined(
                f"{seconds:.0f} s, and WORLD is given {LONGEST:g} s or less; shorten the excerpts"
            )
        if seconds < SHORTEST:
            return Score.undefined(f"{seconds:.3f} s is shorter than the {SHORTEST:g} s needed")
        return self.compare(analysed(prepared, sample_rate), analysed(reconstruction, sample_rate))

    @abstractmethod
    def compare(self, reference: Voice, reconstruction: Voice) -> Score:
        """The score of two analyses, which have equally many frames."""
