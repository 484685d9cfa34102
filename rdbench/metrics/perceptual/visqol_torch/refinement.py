"""Fine alignment: every matched pair of patches is cut out, aligned anew and compared again.

Both slices last as long as a patch (0.6 s or 0.4 s; three frames less than a patch fit into
them). They are aligned by `alignment`, cut to what they share, turned into spectrograms of their
own, levelled over a floor of their own, and compared. The pair keeps whichever similarity is
larger. Lost patches stay as they are.

The frames of a slice start every hop from its beginning, and every frame is filtered from rest.
So wherever a slice begins on the grid of hops, which is the rule for a codec without drift, its
spectrogram is a piece of the whole signal's, and only the others are computed.

Slices are cut at times in seconds, as in the reference implementation: rounding may take a sample
off either end, the last sample of a signal is never part of a slice, and what a slice of the
reconstruction lacks at its end is put as zeros in *front* of it.

Source: Hines et al. 2015; order of operations and rounding as in visqol-python 3.8.0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from rdbench.metrics.perceptual.visqol_torch import alignment, nsim, spectrogram
from rdbench.metrics.perceptual.visqol_torch.alignment import Overlap
from rdbench.metrics.perceptual.visqol_torch.filterbank import Filterbank
from rdbench.metrics.perceptual.visqol_torch.modes import Mode

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Slice:
    """Samples `start` to `stop` of a row, with `zeros` put in front."""

    row: int
    start: int
    stop: int
    zeros: int

    @property
    def samples(self) -> int:
        """Length, zeros included."""
        return self.zeros + self.stop - self.start

    @classmethod
    def at(cls, row: int, frame: int, length: int, mode: Mode) -> Slice:
        """The slice of a patch that starts at `frame`, in a signal of `length` samples."""
        begin = frame * mode.frame_seconds
        end = begin + mode.patch_seconds
        return cls(
            row,
            int(begin * mode.rate),
            min(length - 1, int(end * mode.rate)),
            max(0, int(end * mode.rate - length)),
        )


@dataclass(frozen=True)
class Signals:
    """Signals (rows, time) and their RMS spectrograms (rows, bands, frames)."""

    samples: torch.Tensor
    spectrogram: torch.Tensor


@dataclass(frozen=True)
class Refined:
    """A pair compared anew.

    index: which of the pairs. lag: of the reconstruction, in samples. samples: length of the
    overlap. bands, spread, level: (bands,), see `nsim.Similarity`.
    """

    index: int
    lag: int
    samples: int
    bands: Array
    spread: Array
    level: Array


def envelope_spectra(signals: torch.Tensor, slices: Sequence[Slice], points: int) -> torch.Tensor:
    """DFTs of the slices' envelopes, (slices, points // 2 + 1)."""
    out = signals.new_empty((len(slices), points // 2 + 1), dtype=torch.complex128)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, item in enumerate(slices):
        groups[item.samples].append(index)
    for length, members in groups.items():
        waves = _waves(signals, [slices[i] for i in members], length)
        out[members] = alignment.spectrum(alignment.envelope(waves), points)
    return out


def points(mode: Mode) -> int:
    """Points of the DFT in which slices correlate."""
    return alignment.correlation_length(mode.patch * mode.hop + 1)


def refine(
    *,
    reference: Signals,
    reference_slices: Sequence[Slice],
    reference_spectra: torch.Tensor,
    reconstruction: Signals,
    reconstruction_slices: Sequence[Slice],
    mode: Mode,
    filterbank: Filterbank,
) -> list[Refined]:
    """Aligns and compares pairs of slices anew; pairs too short for a frame are left out."""
    spectra = envelope_spectra(reconstruction.samples, reconstruction_slices, points(mode))
    found = _lags(reference_slices, reference_spectra, reconstruction_slices, spectra, points(mode))
    pairs: list[tuple[int, int, Overlap]] = []
    for index, (ours, theirs, lag) in enumerate(
        zip(reference_slices, reconstruction_slices, found, strict=True)
    ):
        shared = alignment.overlap(ours.samples, theirs.samples, lag, mode.rate)
        if shared.samples > mode.window:
            pairs.append((index, lag, shared))
    if not pairs:
        return []
    counts = [mode.frames(shared.samples) for _, _, shared in pairs]
    first = _frames(
        reference,
        [(reference_slices[index], shared.reference) for index, _, shared in pairs],
        counts,
        filterbank,
    )
    second = _frames(
        reconstruction,
        [(reconstruction_slices[index], shared.reconstruction) for index, _, shared in pairs],
        counts,
        filterbank,
    )
    frames = torch.tensor(counts, device=first.device)
    similarity = nsim.compare(*spectrogram.level(first, second, frames, frames), frames)
    return [
        Refined(
            index,
            lag,
            shared.samples,
            similarity.bands[position],
            similarity.spread[position],
            similarity.level[position],
        )
        for position, (index, lag, shared) in enumerate(pairs)
    ]


def _waves(signals: torch.Tensor, slices: Sequence[Slice], length: int) -> torch.Tensor:
    """Slices of one length as (slices, length)."""
    out = signals.new_zeros((len(slices), length))
    for index, item in enumerate(slices):
        out[index, item.zeros :] = signals[item.row, item.start : item.stop]
    return out


def _lags(
    reference_slices: Sequence[Slice],
    reference: torch.Tensor,
    reconstruction_slices: Sequence[Slice],
    reconstruction: torch.Tensor,
    size: int,
) -> list[int]:
    longest = [
        max(ours.samples, theirs.samples)
        for ours, theirs in zip(reference_slices, reconstruction_slices, strict=True)
    ]
    found = [0] * len(longest)
    for length in set(longest):
        members = [index for index, item in enumerate(longest) if item == length]
        lags = alignment.best_lags(reference[members], reconstruction[members], size, length)
        for index, lag in zip(members, lags.tolist(), strict=True):
            found[index] = alignment.usable_lag(lag, reference_slices[index].samples)
    return found


def _frames(
    signals: Signals,
    cuts: Sequence[tuple[Slice, int]],
    counts: Sequence[int],
    filterbank: Filterbank,
) -> torch.Tensor:
    """RMS of the frames of slices from an offset on, (slices, bands, most frames)."""
    device, hop = signals.samples.device, filterbank.hop
    firsts = [item.start - item.zeros + offset for item, offset in cuts]
    rows = torch.tensor([item.row for item, _ in cuts], device=device)
    column = torch.tensor([first // hop for first in firsts], device=device)[:, None]
    column = column + torch.arange(max(counts), device=device)
    column = column.clamp_(min=0, max=signals.spectrogram.shape[-1] - 1)
    out = signals.spectrogram[rows[:, None], :, column].transpose(1, 2).contiguous()
    off = [
        index
        for index, ((item, _), first) in enumerate(zip(cuts, firsts, strict=True))
        if first % hop or first < item.start
    ]
    if off:
        waves = [_wave(signals.samples, cuts[i][0], firsts[i], counts[i], filterbank) for i in off]
        computed = torch.split(filterbank.rms(torch.cat(waves)), [counts[i] for i in off])
        for index, frames in zip(off, computed, strict=True):
            out[index, :, : counts[index]] = frames.T
    return out


def _wave(
    signals: torch.Tensor, item: Slice, first: int, count: int, filterbank: Filterbank
) -> torch.Tensor:
    """Frames (count, window) from sample `first` on, with zeros before the slice begins."""
    samples = len(filterbank.window) + (count - 1) * filterbank.hop
    wave = signals[item.row, max(first, item.start) : first + samples]
    wave = torch.nn.functional.pad(wave, (samples - len(wave), 0))
    return wave.unfold(0, len(filterbank.window), filterbank.hop)
