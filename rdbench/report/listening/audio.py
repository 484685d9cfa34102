"""The audio of a listening test: one excerpt, one level, one length, and low-pass versions.

Loudness is that of ITU-R BS.1770-4 (integrated, gated), by pyloudnorm. Every version of a clip is
brought to the loudness of its reference and all of them together to a target, or as near to it as
leaves 1 dB below full scale, so that no level tells a version from another.

The low-pass versions (the anchors of ITU-R BS.1534-3, 5.1) are the reference below 3.5 and 7 kHz:
linear-phase FIR filters (Kaiser window) without delay, flat within 0.1 dB up to the cutoff f and
more than 60 dB down from 8f/7; BS.1534-3 asks for 25 dB and 50 dB at 4 and 4.5 kHz.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]

LOW_PASSES = {"anchor35": 3500.0, "anchor70": 7000.0}
HEADROOM = 1.0  # dB below full scale
FADE = 0.005  # seconds
BLOCK = 0.4  # seconds, of BS.1770
HOP = 0.25
ATTENUATION = 70.0


def loudness(samples: Samples, sample_rate: int) -> float:
    """Integrated loudness in LUFS of samples (channels, time); −inf for silence.

    A clip that is shorter than the 0.4 s of a block is one block.
    """
    import pyloudnorm

    block = min(BLOCK, samples.shape[-1] / sample_rate)
    meter = pyloudnorm.Meter(sample_rate, block_size=block * 0.999)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = float(meter.integrated_loudness(samples.T.astype(np.float64)))
    return found if math.isfinite(found) else -math.inf


def best_window(reference: Samples, sample_rate: int, seconds: float) -> slice:
    """The stretch of at most `seconds` in which the reference has most energy."""
    time = reference.shape[-1]
    length = min(time, round(seconds * sample_rate))
    energy = np.concatenate([[0.0], np.cumsum((reference.astype(np.float64) ** 2).sum(axis=0))])
    starts = np.arange(0, time - length + 1, max(1, round(HOP * sample_rate)))
    start = int(starts[np.argmax(energy[starts + length] - energy[starts])])
    return slice(start, start + length)


def low_pass_versions(reference: Samples, sample_rate: int) -> dict[str, Samples]:
    """By name, without one that a narrow band makes equal to the reference."""
    found = {}
    for name, cutoff in LOW_PASSES.items():
        if sample_rate / 2 > 1.01 * cutoff:
            found[name] = low_pass(reference, sample_rate, cutoff)
    return found


def low_pass(samples: Samples, sample_rate: int, cutoff: float) -> Samples:
    """`samples` (channels, time) below `cutoff` hertz, at the same length and without delay."""
    from scipy.signal import firwin, kaiser_beta, kaiserord, oaconvolve

    stop = min(cutoff * 8 / 7, sample_rate / 2)
    taps, _ = kaiserord(ATTENUATION, (stop - cutoff) / (sample_rate / 2))
    taps |= 1  # odd: the delay is a whole number of samples
    window = ("kaiser", kaiser_beta(ATTENUATION))
    filters = firwin(taps, (cutoff + stop) / 2, window=window, fs=sample_rate)
    filtered = oaconvolve(samples.astype(np.float64), filters[None], mode="same", axes=-1)
    # "same" keeps the length of the longer of the two.
    surplus = filtered.shape[-1] - samples.shape[-1]
    start = surplus // 2
    result: Samples = filtered[:, start : start + samples.shape[-1]].astype(np.float32)
    return result


def levelled(
    versions: dict[str, Samples], sample_rate: int, *, reference: str, target: float
) -> tuple[dict[str, Samples], dict[str, float]]:
    """All versions at one loudness, and the gain of each in dB.

    target: LUFS. A version that is silent has the gain of the reference.
    """
    found = {name: loudness(samples, sample_rate) for name, samples in versions.items()}
    wanted = found[reference] if math.isfinite(found[reference]) else target
    own = {name: wanted - value if math.isfinite(value) else 0.0 for name, value in found.items()}
    peaks = [
        20 * math.log10(peak) + own[name]
        for name, samples in versions.items()
        if (peak := float(np.abs(samples).max(initial=0.0))) > 0
    ]
    common = min(target - wanted, -HEADROOM - max(peaks, default=-math.inf))
    gains = {name: gain + common for name, gain in own.items()}
    scaled: dict[str, Samples] = {
        name: (samples * np.float32(10 ** (gains[name] / 20))).astype(np.float32)
        for name, samples in versions.items()
    }
    return scaled, gains


def faded(samples: Samples, sample_rate: int) -> Samples:
    """`samples` with 5 ms of raised cosine at both ends, against clicks."""
    length = min(round(FADE * sample_rate), samples.shape[-1] // 2)
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / max(length, 1))).astype(
        np.float32
    )
    result = samples.copy()
    if length:
        result[..., :length] *= ramp
        result[..., -length:] *= ramp[::-1]
    return result
