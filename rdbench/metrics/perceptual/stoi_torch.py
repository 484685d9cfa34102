"""STOI and ESTOI as batched tensor programs.

Both measures look at speech at 10 kHz in 15 third-octave bands and ask how well the envelopes of
the reconstruction follow those of the reference over segments of 30 frames (384 ms).

1. Resampling to 10 kHz by a rational factor p/q. The anti-aliasing filter h is a sinc of cut-off
   f = 1/(2 max(p, q)) under a Kaiser window that reaches 60 dB over a transition of f/10, scaled
   to a gain of p at zero frequency: y[m] = Σ_k h[m q − k p] x[k].
2. Silent frames. Frames of 256 samples every 128, under a Hann window w. Frame i is kept when its
   energy in the *reference* is less than 40 dB below the loudest one. The kept frames are
   overlap-added, each clip to a length of its own.
3. Bands. Again frames of 256 every 128 under w, a DFT of 512 points, X_j(m) = sqrt(Σ_k |x̂(k, m)|²)
   over the bins k of third-octave band j; the lowest is centred at 150 Hz.
4. Segments of 30 frames, one ending at every frame m. With x, y the envelopes of one band in one
   segment (vectors of 30):
   STOI   y' = min(α y, (1 + 10^(15/20)) x), α = ‖x‖ / ‖y‖; the score is the mean over bands and
          segments of the correlation coefficient of x and y'.
   ESTOI  each segment (15 × 30) has its rows, then its columns, brought to zero mean and unit
          norm; the score is the mean over segments of Σ x y / 30.

A clip with fewer than 31 frames that are not silent has no segment, hence no score. The reference
package then returns 1e-5 with a warning; here the outcome is `undefined`, as for a signal whose
samples are all equal. The package also adds noise of 1e-16 before the norms of ESTOI, which is
all there is to correlate where a reconstruction is exactly zero for a whole segment (384 ms): its
score is then random, with a deviation of some thousandths. Here a row or column without variance
counts as zero, the mean of what that noise gives.

Sources: C. H. Taal, R. C. Hendriks, R. Heusdens, J. Jensen, "An algorithm for intelligibility
prediction of time-frequency weighted noisy speech", IEEE TASLP 19(7), 2011; J. Jensen,
C. H. Taal, "An algorithm for predicting the intelligibility of speech masked by modulated noise
maskers", IEEE/ACM TASLP 24(11), 2016; constants and framing as in pystoi 0.4.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.channels import average_channels
from rdbench.metrics.ragged import check_match
from rdbench.types import AudioBatch, Score

RATE = 10_000
FRAME = 256
HOP = 128
FFT = 512
BANDS = 15
LOWEST_BAND = 150.0  # Hz, centre
SEGMENT = 30
RANGE_DB = 40.0
CLIP = 1.0 + 10.0 ** (15.0 / 20.0)  # lower bound of -15 dB on the signal-to-distortion ratio
EPS = float(np.finfo(np.float64).eps)

TOO_SHORT = f"fewer than {SEGMENT + 1} frames of speech"

Precision = Literal["float64", "float32"]


class StoiTorch(DeviceBackend):
    """STOI (or ESTOI) of each clip, channels scored apart and averaged.

    Takes any sample rate. Silent frames are always chosen in float64, since a frame more or less
    moves the score by more than the tolerance of either precision.

    extended: ESTOI. precision: "float64" within 1e-6 of pystoi, "float32" within 1e-4.
    """

    version = "1"

    def __init__(self, *, extended: bool, precision: Precision = "float64") -> None:
        self.name = "torch" if precision == "float64" else "torch_float32"
        self.extended = extended
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.tolerance = 1e-6 if precision == "float64" else 1e-4

    def prepare(self, reference: AudioBatch) -> PreparedStoi:
        """Silent frames, band envelopes and normalized segments of the references."""
        rows, lengths = _rows(reference, torch.float64)
        signal = resample(rows, reference.sample_rate)
        samples = -(-lengths * RATE // reference.sample_rate)
        kept, counts = kept_frames(signal, samples)
        bands = band_envelopes(signal.to(self.dtype), kept)
        normalize = _normalized if self.extended else _centred
        parts = [normalize(_segments(bands[part])) for part in _parts(bands)]
        return PreparedStoi(
            reference=reference,
            kept=kept,
            segments=counts - 1 - (SEGMENT - 1),
            silent=_silent(reference),
            bands=bands,
            normalized=torch.cat(parts) if parts else None,
        )

    def score(self, prepared: PreparedStoi, *, reconstruction: AudioBatch) -> list[Score]:
        """One score per clip; raises ValueError where the layout is not the references'."""
        check_match(prepared.reference, reconstruction)
        rows, _ = _rows(reconstruction, self.dtype)
        count = prepared.segments.clamp(min=0)
        values = torch.full((len(count),), math.nan, dtype=torch.float64)
        if prepared.normalized is not None:
            bands = band_envelopes(resample(rows, reconstruction.sample_rate), prepared.kept)
            inside = torch.arange(prepared.normalized.shape[-1]) < count[:, None]
            inside = inside.to(rows.device)
            for part in _parts(bands):
                per_segment = self._correlation(prepared, part, bands[part]).double()
                total = torch.where(inside[part], per_segment, 0.0).sum(-1)
                values[part] = total.cpu() / count[part]
        scores = _scores(values.tolist(), prepared, _silent(reconstruction))
        channels = reconstruction.channels
        return [
            average_channels(scores[index * channels :][:channels])
            for index in range(reconstruction.clips)
        ]

    def _correlation(
        self, prepared: PreparedStoi, part: slice, bands: torch.Tensor
    ) -> torch.Tensor:
        """Score per segment, (rows, segments), of the rows in `part`."""
        assert prepared.normalized is not None
        if self.extended:
            return _extended_correlation(prepared.normalized[part], bands)
        return _clipped_correlation(prepared.bands[part], prepared.normalized[part], bands)


@dataclass(frozen=True)
class PreparedStoi:
    """What every reconstruction of the references shares; rows are clips × channels.

    silent: rows whose samples are all equal.
    kept: int64 (rows, frames), indices of the frames that are not silent, in order, padded.
    segments: int64 (rows,), on the CPU: segments of each row, 0 or less where there is none.
    bands: (rows, bands, frames), third-octave envelopes.
    normalized: (rows, bands, 30, segments), the reference's side of the correlation; None where
        no row has a segment.
    """

    reference: AudioBatch
    silent: list[bool]
    kept: torch.Tensor
    segments: torch.Tensor
    bands: torch.Tensor
    normalized: torch.Tensor | None


def _rows(audio: AudioBatch, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Each channel of each clip as a row (rows, time), padding zeroed, and lengths (rows,)."""
    samples = audio.samples.to(dtype)
    if not audio.uniform:
        time = torch.arange(samples.shape[-1], device=samples.device)
        inside = time < audio.lengths.to(samples.device)[:, None, None]
        samples = torch.where(inside, samples, torch.zeros((), dtype=dtype, device=samples.device))
    return samples.flatten(0, 1), audio.lengths.repeat_interleave(audio.channels)


def _silent(audio: AudioBatch) -> list[bool]:
    """Whether all samples of a row are equal, padding aside."""
    time = torch.arange(audio.samples.shape[-1])
    past = (time >= audio.lengths[:, None, None]).to(audio.samples.device)
    if audio.samples.shape[-1] == 0:
        return [True] * (audio.clips * audio.channels)
    least = audio.samples.masked_fill(past, math.inf).amin(dim=-1)
    most = audio.samples.masked_fill(past, -math.inf).amax(dim=-1)
    return [bool(item) for item in (least >= most).flatten().tolist()]


def _scores(values: list[float], prepared: PreparedStoi, silent: list[bool]) -> list[Score]:
    """Outcomes of rows."""
    scores = []
    for value, segments, *mute in zip(
        values, prepared.segments.tolist(), prepared.silent, silent, strict=True
    ):
        if any(mute):
            which = "reference" if mute[0] else "reconstruction"
            scores.append(Score.undefined(f"the {which} is silent"))
        else:
            scores.append(Score(value) if segments > 0 else Score.undefined(TOO_SHORT))
    return scores


def _parts(bands: torch.Tensor) -> Iterator[slice]:
    """Rows in parts whose segments fit the cache of a CPU, or a share of a GPU's memory."""
    rows, _, frames = bands.shape
    if frames < SEGMENT:
        return
    budget = 2**26 if bands.device.type == "cuda" else 2**19
    step = max(1, budget // (BANDS * SEGMENT * frames))
    for start in range(0, rows, step):
        yield slice(start, start + step)


# Resampling


@lru_cache(maxsize=16)
def _resampling_matrix(rate: int) -> tuple[npt.NDArray[np.float64], int, int]:
    """Blocks of q M input samples to blocks of p M output samples.

    Returns the matrix (inputs seen by a block, p M), the stride q M and the samples that the
    first block needs from before the signal. M is chosen so that the overlap of what blocks see
    is about their stride, which keeps both the copies and the zeros in the matrix few.
    """
    divisor = math.gcd(RATE, rate)
    p, q = RATE // divisor, rate // divisor
    cutoff = 0.5 / max(p, q)
    half = math.ceil((60.0 - 8.0) / (28.714 * cutoff / 10.0))
    time = np.arange(-half, half + 1)
    response = np.kaiser(2 * half + 1, 0.1102 * (60.0 - 8.7)) * np.sinc(2.0 * cutoff * time)
    response *= p / response.sum()

    first = -(half // p)
    blocks = max(1, round((2 * half / p) / q))
    outputs = np.arange(p * blocks)
    last = int(outputs[-1] * q + half) // p
    inputs = np.arange(first, last + 1)
    tap = half + outputs[None, :] * q - inputs[:, None] * p
    inside = (tap >= 0) & (tap <= 2 * half)
    return np.where(inside, response[tap.clip(0, 2 * half)], 0.0), q * blocks, -first


def resample(rows: torch.Tensor, rate: int) -> torch.Tensor:
    """Brings rows (rows, time) at `rate` hertz to 10 kHz, (rows, ⌈time · 10000 / rate⌉)."""
    if rate == RATE:
        return rows
    table, stride, before = _resampling_matrix(rate)
    matrix = torch.as_tensor(table, dtype=rows.dtype, device=rows.device)
    seen, produced = matrix.shape
    length = -(-rows.shape[-1] * RATE // rate)
    blocks = -(-length // produced)
    after = max(0, (blocks - 1) * stride + seen - before - rows.shape[-1])
    padded = torch.nn.functional.pad(rows, (before, after))
    out = padded.unfold(-1, seen, stride)[:, :blocks] @ matrix
    return out.flatten(1)[:, :length]


# Frames and bands


def _window(like: torch.Tensor) -> torch.Tensor:
    """Hann window of 256 points without its zeros."""
    n = torch.arange(1, FRAME + 1, dtype=torch.float64)
    return (0.5 - 0.5 * torch.cos(2.0 * math.pi * n / (FRAME + 1))).to(like)


@lru_cache(maxsize=1)
def _band_matrix() -> npt.NDArray[np.float64]:
    """Which DFT bins belong to which third-octave band, (bins, bands) of zeros and ones."""
    bins = np.linspace(0.0, RATE, FFT + 1)[: FFT // 2 + 1]
    edges = LOWEST_BAND * 2.0 ** ((2.0 * np.arange(BANDS + 1) - 1.0) / 6.0)
    nearest = np.abs(bins[:, None] - edges).argmin(axis=0)
    index = np.arange(len(bins))[:, None]
    matrix: npt.NDArray[np.float64] = (index >= nearest[:-1]) & (index < nearest[1:])
    return matrix.astype(np.float64)


def kept_frames(signal: torch.Tensor, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The frames of the reference within 40 dB of its loudest.

    signal: float64 (rows, time) at 10 kHz; samples: int64 (rows,), their lengths. Returns indices
    (rows, frames), valid ones first and in order, and the counts of valid ones, on the CPU.
    """
    frames = (-((FRAME - samples) // HOP)).clamp(min=0)  # a frame that ends the clip is left out
    longest = int(frames.max()) if len(frames) else 0
    if longest == 0:
        return signal.new_zeros((len(signal), 0), dtype=torch.int64), frames
    view = torch.nn.functional.pad(signal, (0, HOP)).unfold(-1, FRAME, HOP)[:, :longest]
    energy = 20.0 * torch.log10((view * _window(signal)).norm(dim=-1) + EPS)
    valid = torch.arange(longest, device=signal.device) < frames.to(signal.device)[:, None]
    energy = torch.where(valid, energy, -math.inf)
    keep = valid & (energy.amax(dim=-1, keepdim=True) - RANGE_DB - energy < 0)
    counts = keep.sum(dim=-1).cpu()
    order = torch.argsort((~keep).to(torch.int8), dim=-1, stable=True)
    return order[:, : int(counts.max())], counts


def band_envelopes(signal: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Third-octave envelopes of the kept frames, overlap-added, (rows, bands, frames - 1).

    Frames past a row's count of kept ones are padding. Half-frame b of the overlap-added signal
    is the first half of kept frame b plus the second half of kept frame b - 1, and the analysis
    frame m is made of the half-frames m and m + 1.
    """
    rows, frames = kept.shape
    if frames < 2:
        return signal.new_zeros((rows, BANDS, 0))
    window = _window(signal)
    halves = torch.nn.functional.pad(signal, (0, -signal.shape[-1] % HOP)).view(rows, -1, HOP)
    index = kept[..., None].expand(-1, -1, HOP)
    added = halves.gather(1, index) * window[:HOP]
    added[:, 1:] += (halves.gather(1, index[:, :-1] + 1)) * window[HOP:]
    analysis = torch.cat([added[:, :-1], added[:, 1:]], dim=-1) * window
    spectrum = torch.fft.rfft(analysis, n=FFT)
    power = spectrum.real.square() + spectrum.imag.square()
    matrix = torch.as_tensor(_band_matrix(), dtype=signal.dtype, device=signal.device)
    envelopes: torch.Tensor = (power @ matrix).sqrt()
    return envelopes.transpose(1, 2).contiguous()


# Segments: (rows, bands, 30, segments), so that sums over the frames of a segment run along memory


def _segments(bands: torch.Tensor) -> torch.Tensor:
    return bands.unfold(-1, SEGMENT, 1).transpose(-1, -2)


def _centred(segments: torch.Tensor) -> torch.Tensor:
    """Segments less their means, divided by what is left (STOI's side of the reference)."""
    centred = segments - segments.mean(dim=-2, keepdim=True)
    centred /= centred.norm(dim=-2, keepdim=True) + EPS
    return centred


def _normalized(segments: torch.Tensor) -> torch.Tensor:
    """Rows (bands over time), then columns (frames over bands) to zero mean and unit norm."""
    for dim in (-2, 1):
        segments = segments - segments.mean(dim=dim, keepdim=True)
        norm = segments.norm(dim=dim, keepdim=True)
        segments *= torch.where(norm > EPS, 1.0 / norm, 0.0)
    return segments


def _clipped_correlation(
    x: torch.Tensor, x_centred: torch.Tensor, y_bands: torch.Tensor
) -> torch.Tensor:
    """STOI per segment, (rows, segments); x: envelopes of the reference (rows, bands, frames)."""
    x, y = _segments(x), _segments(y_bands)
    scale = x.norm(dim=-2, keepdim=True) / (y.norm(dim=-2, keepdim=True) + EPS)
    clipped = torch.minimum(y * scale, x * CLIP)
    clipped -= clipped.mean(dim=-2, keepdim=True)
    product = (clipped * x_centred).sum(dim=-2)
    scores: torch.Tensor = product / (clipped.norm(dim=-2) + EPS)
    return scores.mean(dim=1)


def _extended_correlation(x_normalized: torch.Tensor, y_bands: torch.Tensor) -> torch.Tensor:
    """ESTOI per segment, (rows, segments)."""
    product: torch.Tensor = x_normalized * _normalized(_segments(y_bands))
    return product.sum(dim=(1, 2)).div_(SEGMENT)
