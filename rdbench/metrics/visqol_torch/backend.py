"""ViSQOL of a batch of clips, the references' side prepared once.

Clips are grouped by exact length, since the Hilbert transform runs over a signal's own length and
depends on it; within a group everything but the search for the best path and the mapping, which
are small, runs on the device of the samples. Channels are rows of the batch, scored apart.

One case is left to the reference package. Where the reconstruction is the reference but for a
gain, every patch is as similar before as after its fine alignment, to about 1e-14, and which one
is kept hangs on the rounding of the package's recursive filters. The lattice also sees the level
of the patches, which differs between the two, so that speech scores move by up to 0.1 with those
last digits. An identity is not such a case: both programs find exactly 1.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.channels import average_channels
from rdbench.metrics.packages import missing
from rdbench.metrics.ragged import check_match, cut, equal_lengths
from rdbench.metrics.visqol_torch import alignment, mapping, matching, nsim, patches, refinement
from rdbench.metrics.visqol_torch.filterbank import Filterbank
from rdbench.metrics.visqol_torch.modes import AUDIO, SPEECH, Mode
from rdbench.metrics.visqol_torch.refinement import Signals, Slice
from rdbench.metrics.visqol_torch.spectrogram import level
from rdbench.types import AudioBatch, Score

MappingName = Literal["svr", "lattice", "exponential"]
ROUNDING = 1e-11  # difference of similarities that the reference's own rounding can turn
SAMPLES_AT_ONCE = 2**23  # of references that are prepared together


class VisqolTorch(DeviceBackend):
    """ViSQOL v3 by tensor programs, within `tolerance` of visqol-python 3.8.0.

    key: visqol_audio or visqol_speech. mapping: "svr" (audio), "lattice" or "exponential"
    (speech); None takes the first that the mode has.
    """

    name = "torch"

    def __init__(self, key: str, mapping: MappingName | None = None) -> None:
        self.key = key
        self.mode = {"visqol_audio": AUDIO, "visqol_speech": SPEECH}[key]
        allowed = ("lattice", "exponential") if self.mode is SPEECH else ("svr",)
        self.mapping_name = mapping or allowed[0]
        if self.mapping_name not in allowed:
            raise ValueError(f"{key} has no mapping {mapping!r}; it has: {', '.join(allowed)}")
        self.tolerance = 0.03 if self.mode is SPEECH else 0.02
        self._filterbanks: dict[torch.device, Filterbank] = {}

    @cached_property
    def version(self) -> str:  # type: ignore[override]
        """Of the program and of the models; raises MissingExtraError without the latter."""
        try:
            models = importlib.metadata.version("visqol-python")
        except importlib.metadata.PackageNotFoundError:
            raise missing("visqol-python", self.key) from None
        return f"1, {self.mapping_name} mapping of visqol-python {models}"

    def prepare(self, reference: AudioBatch) -> PreparedVisqol:
        """Spectrograms, patches and envelopes of the references."""
        self._check_rate(reference)
        groups = [
            (indices, self._prepare_rows(cut(reference, indices, length).flatten(0, 1).double()))
            for length, indices in equal_lengths(reference, limit=SAMPLES_AT_ONCE)
        ]
        return PreparedVisqol(reference, groups)

    def score(self, prepared: PreparedVisqol, *, reconstruction: AudioBatch) -> list[Score]:
        """One score per clip; raises ValueError where the layout is not the references'."""
        check_match(prepared.reference, reconstruction)
        scores: dict[int, Score] = {}
        channels = reconstruction.channels
        for indices, rows in prepared.groups:
            samples = cut(reconstruction, indices, rows.length).flatten(0, 1).double()
            found = self._score_rows(rows, samples)
            for position, index in enumerate(indices):
                scores[index] = average_channels(found[position * channels :][:channels])
        return [scores[index] for index in range(reconstruction.clips)]

    def _check_rate(self, audio: AudioBatch) -> None:
        if audio.sample_rate != self.mode.rate:
            raise ValueError(f"{self.key} is defined at {self.mode.rate} Hz, not at this rate")

    def _filterbank(self, device: torch.device) -> Filterbank:
        if device not in self._filterbanks:
            self._filterbanks[device] = Filterbank.build(self.mode, device)
        return self._filterbanks[device]

    @cached_property
    def _mapping(self) -> mapping.Mapping:
        if self.mapping_name == "svr":
            return mapping.SupportVectors.load(mapping.model_file(mapping.SVR_FILE, self.key))
        if self.mapping_name == "lattice":
            return mapping.Lattice(mapping.model_file(mapping.LATTICE_FILE, self.key), self.key)
        return mapping.Exponential()

    @cached_property
    def _package(self) -> Package:
        return Package(self.key)

    # The reference's side

    def _prepare_rows(self, rows: torch.Tensor) -> PreparedRows:
        """Prepares references of one length, float64 (rows, time)."""
        mode, length = self.mode, rows.shape[-1]
        silent = _silent(rows)
        if length < mode.shortest:
            return PreparedRows(length, silent)
        host = rows.cpu().numpy()
        starts = [patches.reference_patches(row, mode) for row in host]
        slices = [
            [Slice.at(row, int(frame), length, mode) for frame in frames]
            for row, frames in enumerate(starts)
        ]
        flat = [item for row in slices for item in row]
        points = alignment.correlation_length(length)
        shared = Shared(
            signals=Signals(
                rows, self._filterbank(rows.device).spectrogram(rows, mode.frames(length), mode.hop)
            ),
            power=rows.square().mean(dim=-1),
            envelopes=alignment.spectrum(alignment.envelope(rows), points),
            starts=starts,
            slices=slices,
            slice_spectra=list(
                refinement.envelope_spectra(rows, flat, refinement.points(mode)).split(
                    [len(row) for row in slices]
                )
            ),
        )
        return PreparedRows(length, silent, shared)

    # The reconstruction's side

    def _score_rows(self, prepared: PreparedRows, rows: torch.Tensor) -> list[Score]:
        if prepared.shared is None:
            seconds = self.mode.shortest / self.mode.rate
            return [Score.undefined(f"shorter than {seconds:.2f} s")] * len(rows)
        silent = _silent(rows)
        return [
            Score.undefined("the reference is silent")
            if prepared.silent[row]
            else Score.undefined("the reconstruction is silent")
            if silent[row]
            else self._score_row(prepared.shared, row, rows[row : row + 1])
            for row in range(len(rows))
        ]

    def _score_row(self, shared: Shared, row: int, samples: torch.Tensor) -> Score:
        """One channel of one clip, (1, time)."""
        mode = self.mode
        length = samples.shape[-1]
        points = alignment.correlation_length(length)
        envelopes = alignment.spectrum(alignment.envelope(samples), points)
        lag = alignment.best_lags(shared.envelopes[row : row + 1], envelopes, points, length)
        shifted, (aligned_length,) = alignment.shift(
            samples, [alignment.usable_lag(int(lag), length)]
        )
        if aligned_length <= mode.window:
            return Score.failed(f"{self.key}: nothing is left after alignment")
        power = shifted.square().mean(dim=-1)
        if float(power) == 0.0:
            return Score.failed(f"{self.key}: the aligned reconstruction is silent")
        shifted = shifted * _gain(float(shared.power[row]), float(power))
        frames = mode.frames(aligned_length)
        reconstruction = Signals(
            shifted, self._filterbank(samples.device).spectrogram(shifted, frames, mode.hop)
        )
        count = matching.usable(shared.starts[row], mode.patch, frames)
        if count == 0:
            return Score.failed(f"{self.key}: no patch lies within the aligned reconstruction")
        pairs = self._match(shared, row, count, reconstruction)
        pairs = self._refine(shared, row, reconstruction, pairs)
        if pairs.undecided and self.mapping_name == "lattice":
            value = self._package.measure(shared.signals.samples[row], samples[0])
        else:
            value = mapping.predict(self._mapping, pairs.features(mode.frame_seconds))
        if not math.isfinite(value):
            return Score.failed(f"{self.key}: the mapping gave {value}")
        return Score(value)

    def _match(self, shared: Shared, row: int, count: int, reconstruction: Signals) -> Pairs:
        mode = self.mode
        device = reconstruction.samples.device
        starts = shared.starts[row][:count]
        ours, theirs = shared.signals.spectrogram[row : row + 1], reconstruction.spectrogram
        ours, theirs = level(
            ours,
            theirs,
            torch.tensor([ours.shape[-1]], device=device),
            torch.tensor([theirs.shape[-1]], device=device),
        )
        wanted = patches.cut(ours[0], torch.as_tensor(starts, device=device), mode.patch)
        padded = torch.nn.functional.pad(theirs[0], (0, mode.patch - 1))
        similarity = nsim.sliding(wanted, padded).cpu().numpy()
        path, lost = matching.match(similarity, starts, mode.patch)
        chosen = patches.cut(padded, torch.as_tensor(path, device=device), mode.patch)
        full = torch.full((count,), mode.patch, device=device)
        result = Pairs.of(nsim.compare(wanted, chosen, full), starts, path, lost, mode)
        result.bands[lost] = 0.0
        return result

    def _refine(self, shared: Shared, row: int, reconstruction: Signals, pairs: Pairs) -> Pairs:
        mode = self.mode
        kept = np.flatnonzero(~pairs.lost).tolist()
        if not kept:
            return pairs
        length = reconstruction.samples.shape[-1]
        refined = refinement.refine(
            reference=shared.signals,
            reference_slices=[shared.slices[row][index] for index in kept],
            reference_spectra=shared.slice_spectra[row][kept],
            reconstruction=reconstruction,
            reconstruction_slices=[
                Slice.at(0, int(pairs.offsets[index]), length, mode) for index in kept
            ],
            mode=mode,
            filterbank=self._filterbank(reconstruction.samples.device),
        )
        return pairs.improved([kept[index] for index in refined.indices], refined, mode)


@dataclass(frozen=True)
class Shared:
    """What reconstructions of references of one length share; lists have an entry per row.

    power: mean square (rows,). envelopes: DFT of the envelopes (rows, bins). starts: first frames
    of the patches. slices: their samples, and slice_spectra the DFTs of the slices' envelopes.
    """

    signals: Signals
    power: torch.Tensor
    envelopes: torch.Tensor
    starts: list[npt.NDArray[np.int64]]
    slices: list[list[Slice]]
    slice_spectra: list[torch.Tensor]


@dataclass(frozen=True)
class PreparedRows:
    """References of one length; nothing is shared where they are too short."""

    length: int
    silent: list[bool]
    shared: Shared | None = None


@dataclass(frozen=True)
class PreparedVisqol:
    """The references and, for groups of clips of one length, what was prepared."""

    reference: AudioBatch
    groups: Sequence[tuple[list[int], PreparedRows]]


@dataclass(frozen=True)
class Pairs:
    """The matched patches of one row.

    bands, spread, level: (patches, bands), see `nsim.Similarity`. offsets: frames at which the
    matches start. lost: patches without a match. begins, seconds: where the patches of the
    reference begin and how long they last. undecided: whether rounding decided on a refinement.
    """

    bands: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    lost: npt.NDArray[np.bool_]
    begins: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    undecided: bool = False

    @classmethod
    def of(
        cls,
        similarity: nsim.Similarity,
        starts: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        lost: npt.NDArray[np.bool_],
        mode: Mode,
    ) -> Pairs:
        """Pairs whose patches of the reference begin at the frames `starts`."""
        begins = starts * mode.frame_seconds
        # The end less the beginning, not the duration: rounding decides on the count of frames.
        seconds = (begins + mode.patch_seconds) - begins
        return cls(*_arrays(similarity), offsets, lost, begins, seconds)

    def improved(self, indices: list[int], refined: refinement.Refined, mode: Mode) -> Pairs:
        """With the refined similarity of the pairs at `indices` where it is not smaller."""
        if refined.similarity is None:
            return self
        bands, spread, level_ = _arrays(refined.similarity)
        undecided = False
        for position, index in enumerate(indices):
            new, old = float(bands[position].mean()), float(self.bands[index].mean())
            undecided |= abs(new - old) < ROUNDING and not new == old == 1.0
            if new < old:
                continue
            self.bands[index] = bands[position]
            self.spread[index] = spread[position]
            self.level[index] = level_[position]
            begin = self.begins[index] + max(refined.lags[position], 0) / mode.rate
            end = begin + refined.overlaps[position].samples / mode.rate
            self.seconds[index] = end - begin
        return replace(self, undecided=undecided)

    def features(self, frame_seconds: float) -> mapping.Features:
        """What the mapping sees; the spread is pooled over the patches by their frames."""
        count = len(self.bands)
        mean = self.bands.mean(axis=0)
        worst = np.sort(self.bands, axis=0)[: max(1, int(count * 0.1))].mean(axis=0)
        frames = np.ceil(self.seconds / frame_seconds)[:, None]
        total = float(frames.sum())
        squares = ((frames - 1.0) * self.spread**2 + frames * self.bands**2).sum(axis=0)
        variance = (squares - mean**2 * total) / max(total - 1.0, 1.0)
        return mapping.Features(
            mean, worst, np.sqrt(np.maximum(variance, 0.0)), self.level.mean(axis=0)
        )


class Package:
    """visqol-python itself, in speech mode with the lattice."""

    def __init__(self, key: str) -> None:
        try:
            from visqol import VisqolApi
        except ImportError as error:
            raise missing("visqol-python[lattice,accel]", key) from error
        self._api = VisqolApi()
        self._api.create(mode="speech", use_lattice_model=True)

    def measure(self, reference: torch.Tensor, reconstruction: torch.Tensor) -> float:
        """MOS-LQO of one channel, (time,) each."""
        first, second = reference.cpu().numpy(), reconstruction.cpu().numpy()
        return float(self._api.measure_from_arrays(first, second, SPEECH.rate).moslqo)


def _gain(reference: float, reconstruction: float) -> float:
    """The factor that brings one mean square to another, by way of decibels as in the package."""
    first, second = (10.0 * math.log10(power) for power in (reference, reconstruction))
    return float(10.0 ** ((first - second) / 20.0))


def _arrays(
    similarity: nsim.Similarity,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return (
        similarity.bands.cpu().numpy().copy(),
        similarity.spread.cpu().numpy().copy(),
        similarity.level.cpu().numpy().copy(),
    )


def _silent(rows: torch.Tensor) -> list[bool]:
    """Whether all samples of a row are equal, which is what the reference backend calls silent."""
    if rows.shape[-1] == 0:
        return [True] * len(rows)
    return [bool(item) for item in (rows.amin(dim=-1) == rows.amax(dim=-1)).tolist()]
