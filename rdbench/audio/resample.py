"""The one resampler of the project: a windowed-sinc filter, the same for every stage.

    y[n] = Σ_k x[k] · g · h(g · (k − n·from/to)),   g = rolloff · min(1, to/from)
    h(t) = sinc(t) · I0(β √(1 − (t/64)²)) / I0(β)  for |t| ≤ 64, else 0

with sinc(t) = sin(πt)/(πt), rolloff 0.9476 and Kaiser β 14.77: torchaudio's resampler with the
filter that its documentation names `kaiser_best` (after resampy and librosa). It is linear-phase
and adds no delay; n samples become ceil(n · to/from); what lies outside a clip counts as zero.

The taps are computed in float64 and applied in float32. torchaudio lays them out as a dense
table of `to` × `from` (reduced by their common divisor), which no memory holds for rates such as
44 101 Hz; those ratios are evaluated tap by tap, with the same formula. On CUDA the convolution
runs without TF32, which would leave ten bits of mantissa.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from rdbench.types import AudioBatch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torchaudio

ZERO_CROSSINGS = 64
ROLLOFF = 0.9475937167399596
BETA = 14.769656459379492

RESAMPLER = (
    f"torchaudio sinc_interp_kaiser, lowpass_filter_width={ZERO_CROSSINGS}, rolloff={ROLLOFF}, "
    f"beta={BETA}, float32"
)
"""The name under which protocols and manifests record the resampler."""

_DENSE_LIMIT = 2**22  # taps of torchaudio's dense table: 32 MiB while it is computed in float64
_BLOCK = 2048  # output samples at a time where taps are evaluated one by one


def resampled_length(length: int, from_rate: int, to_rate: int) -> int:
    """Samples that `length` samples become: ceil(length · to_rate / from_rate), exactly.

    >>> resampled_length(3, 48000, 16000), resampled_length(4, 48000, 16000)
    (1, 2)
    """
    return -(-length * to_rate // from_rate)


def context(from_rate: int, to_rate: int) -> int:
    """Input samples on either side on which an output sample depends, at `from_rate`."""
    up, down = _ratio(from_rate, to_rate)
    return math.ceil(ZERO_CROSSINGS * down / (min(up, down) * ROLLOFF)) + 1


def resample(samples: torch.Tensor, from_rate: int, to_rate: int) -> torch.Tensor:
    """Brings float32 `samples` (..., time) from one rate to another, both in hertz.

    Returns (..., ceil(time · to_rate / from_rate)) on the same device; where the rates are equal,
    `samples` itself. Raises ValueError for rates below 1.
    """
    if from_rate < 1 or to_rate < 1:
        raise ValueError(f"rates must be positive, not {from_rate} and {to_rate}")
    if from_rate == to_rate:
        return samples
    if samples.numel() == 0:
        length = resampled_length(samples.shape[-1], from_rate, to_rate)
        return samples.new_zeros((*samples.shape[:-1], length))
    up, down = _ratio(from_rate, to_rate)
    if up * (down + 2 * context(from_rate, to_rate)) > _DENSE_LIMIT:
        return _tap_by_tap(samples.float(), up, down)
    flat = samples.float().reshape(-1, samples.shape[-1])
    with _full_precision(samples):
        resampled: torch.Tensor = _torchaudio(down, up, str(samples.device))(flat)
    return resampled.reshape(*samples.shape[:-1], -1)


def resample_batch(batch: AudioBatch, to_rate: int) -> AudioBatch:
    """Brings a batch to `to_rate` hertz; each clip is what it would be alone.

    Lengths become ceil(length · to_rate / rate). What lies past a clip's length is taken as zero
    before and is zero after.
    """
    if to_rate == batch.sample_rate:
        return batch
    lengths = resampled_lengths(batch.lengths, batch.sample_rate, to_rate)
    samples = resample(masked(batch.samples, batch.lengths), batch.sample_rate, to_rate)
    return AudioBatch(masked(samples, lengths), lengths, to_rate)


def resampled_lengths(lengths: torch.Tensor, from_rate: int, to_rate: int) -> torch.Tensor:
    """`resampled_length` of every length, int64 (clips,)."""
    return -(-lengths * to_rate // from_rate)


def fit_lengths(batch: AudioBatch, lengths: torch.Tensor) -> AudioBatch:
    """Cuts or zero-pads every clip to `lengths` (clips,), for example after a trip to another rate.

    What lay past a clip's own length is dropped, never taken for audio.
    """
    longest = int(lengths.max()) if lengths.numel() else 0
    kept = masked(batch.samples, torch.minimum(batch.lengths, lengths))[..., :longest]
    padded = torch.nn.functional.pad(kept, (0, longest - kept.shape[-1]))
    return AudioBatch(padded, lengths, batch.sample_rate)


def masked(samples: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """`samples` (clips, channels, time) with zeros past `lengths` (clips,); a copy where needed."""
    time = samples.shape[-1]
    if bool((lengths >= time).all()):
        return samples
    valid = torch.arange(time, device=samples.device) < lengths.to(samples.device)[:, None]
    return torch.where(valid[:, None, :], samples, samples.new_zeros(()))


def _ratio(from_rate: int, to_rate: int) -> tuple[int, int]:
    divisor = math.gcd(from_rate, to_rate)
    return to_rate // divisor, from_rate // divisor


@lru_cache(maxsize=32)
def _torchaudio(down: int, up: int, device: str) -> torchaudio.transforms.Resample:
    from torchaudio.transforms import Resample

    # dtype says in what the taps are computed; torchaudio's own default rounds phases to float32.
    resampler = Resample(
        down,
        up,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=ZERO_CROSSINGS,
        rolloff=ROLLOFF,
        beta=BETA,
        dtype=torch.float64,
    )
    return resampler.to(device=device, dtype=torch.float32)


def _full_precision(samples: torch.Tensor) -> AbstractContextManager[None]:
    if not samples.is_cuda:
        return nullcontext()
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


def _tap_by_tap(samples: torch.Tensor, up: int, down: int) -> torch.Tensor:
    length = resampled_length(samples.shape[-1], down, up)
    gain = ROLLOFF * min(1.0, up / down)
    reach = math.ceil(ZERO_CROSSINGS / gain)
    padded = torch.nn.functional.pad(samples, (reach, reach + 1))
    windows = padded.unfold(-1, 2 * reach + 2, 1)  # windows[k] starts at sample k − reach
    offsets = torch.arange(-reach, reach + 2, dtype=torch.float64, device=samples.device)
    blocks = []
    for first in range(0, length, _BLOCK):
        n = torch.arange(first, min(first + _BLOCK, length), device=samples.device)
        whole, phase = n * down // up, (n * down % up).double() / up
        taps = gain * _windowed_sinc(gain * (offsets - phase[:, None]))
        blocks.append((windows[..., whole, :] * taps.float()).sum(-1))
    return torch.cat(blocks, dim=-1)


def _windowed_sinc(t: torch.Tensor) -> torch.Tensor:
    inside = (1 - (t / ZERO_CROSSINGS) ** 2).clamp(min=0)
    window = torch.i0(BETA * inside.sqrt()) / torch.i0(torch.tensor(BETA, dtype=t.dtype))
    return torch.where(t.abs() <= ZERO_CROSSINGS, torch.sinc(t) * window, 0.0)
