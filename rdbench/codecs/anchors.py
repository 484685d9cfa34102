"""Anchors: what a curve is seen against. They have no rate.

`Identity` gives back what it got: every metric's ceiling. `LowPass` gives back the audio without
its high band, the anchors of listening tests (ITU-R BS.1534 uses 3.5 and 7 kHz).

The low-pass filter is a linear-phase FIR filter by the window method (Kaiser window): flat within
0.01 dB up to the cutoff f, at least 65 dB down from 8f/7 (4 kHz for 3.5 kHz, 8 kHz for 7 kHz), or
from the Nyquist frequency where that is lower. BS.1534 asks for ±0.1 dB up to f, and 25 dB and
50 dB at 4 and 4.5 kHz for f = 3.5 kHz. Its delay of half its length is removed. Audio whose Nyquist
frequency is not more than 1 % above the cutoff has nothing to lose and passes unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from rdbench.codecs.base import Codec
from rdbench.codecs.points import ordered
from rdbench.types import (
    AudioBatch,
    CodecError,
    CodecInfo,
    DecoderInput,
    Encoded,
    OperatingPoint,
    RunsOn,
    Waveform,
)

if TYPE_CHECKING:
    import torch

ADAPTER = 1
"""Raised when what an anchor gives back changes."""

ATTENUATION = 70.0
"""Design attenuation of the stop band in dB: Kaiser's formula, with a margin of 5 dB."""


class _Anchor(Codec):
    """A codec whose payload is the waveform itself."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """The waveform that stands at this anchor, zero past each clip's length."""
        samples = self._process(_masked(audio), audio.sample_rate, point)
        kept = _masked(AudioBatch(samples, audio.lengths, audio.sample_rate))
        return Encoded(Waveform(kept), audio.lengths.clone(), audio.sample_rate, audio.channels)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """A copy of the waveform."""
        payload = decoder_input.payload
        if not isinstance(payload, Waveform):
            raise CodecError(f"{self.info.name} decodes waveforms, not {type(payload).__name__}")
        return AudioBatch(
            payload.samples.clone(), decoder_input.lengths.clone(), decoder_input.sample_rate
        )

    def _process(
        self, samples: torch.Tensor, sample_rate: int, point: OperatingPoint
    ) -> torch.Tensor:
        """(clips, channels, time) to the same shape; may return its argument."""
        return samples

    @staticmethod
    def _make_info(name: str) -> CodecInfo:
        return CodecInfo(
            name=name,
            family="anchor",
            sample_rates=(),
            channels=(),
            headline=None,
            runs_on=RunsOn.DEVICE,
            version=f"adapter {ADAPTER}",
        )


class Identity(_Anchor):
    """The reference itself, at any rate and channel count. Its only point is "identity"."""

    def __init__(self, *, points: Sequence[float | str] | None = None) -> None:
        for item in points or ():
            if item != "identity":
                raise CodecError(f"identity has one point, 'identity', and not {item!r}")
        self.points = (OperatingPoint("identity", None),)
        self.info = self._make_info("identity")


class LowPass(_Anchor):
    """The reference below a cutoff, at any rate and channel count.

    Args:
        points: cutoffs, as numbers of hertz (3500) or names ("3.5kHz"); from 100 Hz up. None means
            3500 and 7000.

    Raises:
        CodecError: for what is not a cutoff, and for duplicates.
    """

    def __init__(self, *, points: Sequence[float | str] | None = None) -> None:
        if isinstance(points, str) or (points is not None and not points):
            raise CodecError("lowpass: points must be a list of cutoffs, such as [3500, 7000]")
        cutoffs = sorted(_hertz(item) for item in (points or (3500.0, 7000.0)))
        self.points = ordered(
            "lowpass",
            [OperatingPoint(f"{hz / 1000:g}kHz", None, {"cutoff_hz": hz}) for hz in cutoffs],
        )
        self.info = self._make_info("lowpass")

    def _process(
        self, samples: torch.Tensor, sample_rate: int, point: OperatingPoint
    ) -> torch.Tensor:
        import torch

        cutoff = float(point.settings["cutoff_hz"])
        if sample_rate / 2 <= 1.01 * cutoff:
            return samples
        taps = torch.tensor(_taps(cutoff, sample_rate), dtype=torch.float32, device=samples.device)
        half, time = len(taps) // 2, samples.shape[-1]
        size = time + len(taps) - 1
        spectrum = torch.fft.rfft(samples, n=size) * torch.fft.rfft(taps, n=size)
        filtered: torch.Tensor = torch.fft.irfft(spectrum, n=size)[..., half : half + time]
        return filtered


def _hertz(item: float | str) -> float:
    try:
        kilo = isinstance(item, str) and item.endswith("kHz")
        value = 1000 * float(str(item).removesuffix("kHz")) if kilo else float(item)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(item, bool) or not 100 <= value < math.inf:
        raise CodecError(
            f"lowpass: {item!r} is not a cutoff; give hertz from 100 up (3500) or a name ('3.5kHz')"
        )
    return value


@lru_cache(maxsize=32)
def _taps(cutoff: float, sample_rate: int) -> tuple[float, ...]:
    """The odd number of taps of the filter; their sum is 1."""
    from scipy.signal import firwin, kaiserord

    nyquist = sample_rate / 2
    stop = min(8 / 7 * cutoff, nyquist)
    count, beta = kaiserord(ATTENUATION, (stop - cutoff) / nyquist)
    return tuple(
        firwin(count | 1, (stop + cutoff) / 2, window=("kaiser", beta), fs=sample_rate).tolist()
    )


def _masked(audio: AudioBatch) -> torch.Tensor:
    """A copy of the samples with zeros past each clip's length."""
    import torch

    time = torch.arange(audio.samples.shape[-1])
    inside = (time[None, :] < audio.lengths[:, None]).to(audio.samples.device)
    return torch.where(inside[:, None, :], audio.samples, torch.zeros_like(audio.samples))
