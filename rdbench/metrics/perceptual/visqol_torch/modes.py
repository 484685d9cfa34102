"""The two modes of ViSQOL v3, and the constants that belong to them.

| mode   | rate   | bands | from–to, Hz | patch, frames | reference's patches    | mapping |
|--------|--------|-------|-------------|---------------|------------------------|---------|
| audio  | 48 kHz | 32    | 50–24000    | 30 (0.6 s)    | one after the other    | support vectors |
| speech | 16 kHz | 21    | 50–8000     | 20 (0.4 s)    | those that hold voice  | lattice |

Frames are 80 ms long, every 20 ms (Chinen et al. 2020, visqol-python 3.8.0).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """A mode: `rate` in hertz, `lowest` and `highest` band in hertz, `patch` in frames."""

    name: str
    rate: int
    bands: int
    lowest: float
    highest: float
    patch: int
    voiced_only: bool

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return self.rate * 80 // 1000

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return self.window // 4

    @property
    def frame_seconds(self) -> float:
        """Seconds between frames."""
        return self.hop / self.rate

    @property
    def patch_seconds(self) -> float:
        """Nominal seconds of a patch: its frames times their spacing."""
        return self.frame_seconds * self.patch

    @property
    def first_patch(self) -> int:
        """Frame at which the first patch of the reference starts."""
        return self.patch // 2 - 1

    @property
    def shortest(self) -> int:
        """Samples of the shortest reference that holds a patch."""
        frames = self.patch + self.first_patch + (0 if self.voiced_only else 1)
        return self.window + (frames - 1) * self.hop

    def frames(self, samples: int) -> int:
        """Whole frames in so many samples."""
        return 1 + (samples - self.window) // self.hop if samples > self.window else 0


AUDIO = Mode("audio", 48_000, 32, 50.0, 24_000.0, 30, voiced_only=False)
SPEECH = Mode("speech", 16_000, 21, 50.0, 8_000.0, 20, voiced_only=True)
