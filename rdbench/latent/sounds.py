"""Numbers of sounds, to stand beside what is heard.

A log-mel is L = 20 log10 max(M |X| / (w/4), 1e-4) in dB, with |X| the magnitude of an STFT (Hann
window of w samples, the power of two nearest to 64 ms; hop w/4; the clip with half a window of
silence at each end), and M 80 triangles of height 1 on Slaney's mel scale over 0 … rate/2. A
sinusoid at full scale lies between −1 and 6 dB; −80 dB is silence.

    log-mel distance     mean |L_a − L_b| in dB, ≥ 0
    long-term distance   the same of the means of L over time
    roughness            Σ ‖L_{k+1} − 2 L_k + L_{k−1}‖ / Σ ‖L_{k+1} − L_k‖ along a path of sounds,
                         its second differences over its first. 0 for a straight even path, below
                         2 always; nine independent sounds have about 1.5 (√3 · 7/8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Samples = NDArray[np.float32]

SILENT_DBFS = -200.0
BANDS = 80
SECONDS = 0.064
"""Of a window, about."""
FLOOR_DB = -80.0


def level_dbfs(samples: Samples) -> float:
    """10 log10 of the mean square of samples (channels, time); at least `SILENT_DBFS`."""
    power = float(np.square(samples.astype(np.float64)).mean()) if samples.size else 0.0
    return 10.0 * math.log10(max(power, 10.0 ** (SILENT_DBFS / 10.0)))


def log_mel(samples: Samples, sample_rate: int) -> Floats:
    """L in dB, (frames, channels × BANDS), of samples (channels, time) at `sample_rate` hertz."""
    import torch

    from rdbench.metrics.spectra import magnitudes, mel_bank

    window = 2 ** round(math.log2(SECONDS * sample_rate))
    quiet = (window // 2, window // 2)
    padded = torch.nn.functional.pad(torch.from_numpy(np.ascontiguousarray(samples)), quiet)
    spectrum = magnitudes(padded[None], window, window // 4, center=False)[0]
    bands = spectrum.transpose(-1, -2) @ mel_bank(sample_rate, window, BANDS, "cpu", None)
    decibels = (bands / (window / 4)).clamp_min(10 ** (FLOOR_DB / 20)).log10() * 20
    found: Floats = decibels.transpose(0, 1).flatten(1).double().numpy()
    return found


def log_mel_distance(one: Floats, two: Floats) -> float:
    """Mean |L_a − L_b| in dB; of log-mels of unequal length up to the end of the shorter."""
    frames = min(len(one), len(two))
    return float(np.abs(one[:frames] - two[:frames]).mean())


def long_term_distance(one: Floats, two: Floats) -> float:
    """The log-mel distance in dB of what is left when time is averaged out."""
    return float(np.abs(one.mean(axis=0) - two.mean(axis=0)).mean())


def roughness(path: Sequence[Floats]) -> float:
    """As the module says, of the log-mels of a path; NaN where nothing changes along it."""
    steps = np.diff(np.stack(path), axis=0)
    length = np.sqrt(np.square(steps).sum(axis=(1, 2))).sum()
    bends = np.sqrt(np.square(np.diff(steps, axis=0)).sum(axis=(1, 2))).sum()
    return float(bends / length) if length > 0 else math.nan
