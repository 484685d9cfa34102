"""ViSQOL of a batch of clips, the references' side prepared once.

Clips are grouped by exact length, since the Hilbert transform runs over a signal's own length and
depends on it; within a group everything but the search for the best path and the mapping, which
are small, runs on the device of the samples. Clips have one channel, the mean of those they had.

One case is left to the reference package. Where the reconstruction is the reference but for a
gain, every patch is as similar before as after its fine alignment, to about 1e-14, and which one
is kept hangs on the rounding of the package's recursive filters. The lattice also sees the level
of the patches, which differs between the two, so that speech scores move by up to 0.1 with those
last digits. An identity is not such a case: both programs find exactly 1.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.packages import missing
from rdbench.metrics.perceptual.visqol_torch import (
    alignment,
    mapping,
    matching,
    nsim,
    patches,
    refinement,
)
from rdbench.metrics.perceptual.visqol_torch.filterbank import Filterbank
from rdbench.metrics.perceptual.visqol_torch.modes import AUDIO, SPEECH, Mode
from rdbench.metrics.perceptual.visqol_torch.pairs import Pairs
from rdbench.metrics.perceptual.visqol_torch.refinement import Signals, Slice
from rdbench.metrics.perceptual.visqol_torch.spectrogram import level
from rdbench.metrics.ragged import check_match, cut, equal_lengths
from rdbench.types import AudioBatch, Score

MappingName = Literal["svr", "lattice", "exponential"]
MODES: dict[str, tuple[Mode, MappingName]] = {
    "visqol_audio": (AUDIO, "svr"),
    "visqol_speech": (SPEECH, "lattice"),
    "visqol_speech_exponential": (SPEECH, "exponential"),
}
ROWS_AT_ONCE = {"cpu": 4, "cuda": 64}
SAMPLES_AT_ONCE = 2**23  # of references that are prepared together


class VisqolTorch(DeviceBackend):
    """ViSQOL v3 by tensor programs, within `tolerance` of visqol-python 3.8.0.

    key: visqol_audio, visqol_speech (by the lattice) or visqol_speech_exponential.
    """

    name = "torch"

    def __init__(self, key: str) -> None:
        self.key = key
        self.mode, self.mapping_name = MODES[key]
        self.tolerance = 0.03 if self.mode is SPEECH else 0.02
        self._filterbanks: dict[torch.device, Filterbank] = {}

    @cached_property
    def version(self) -> str:
        """Of the program and of the models; raises MissingExtraError without the latter."""
        try:
            models = importlib.metadata.version("visqol-python")
        except importlib.metadata.PackageNotFoundError:
            raise missing("visqol-python", self.key) from None
        if self.mapping_name != "lattice":
            return f"1, {self.mapping_name} mapping of visqol-python {models}"
        if importlib.util.find_spec("ai_edge_litert") is None:
            raise missing("visqol-python[lattice]", self.key)
        runtime = importlib.metadata.version("ai-edge-litert")
        return f"1, lattice mapping of visqol-python {models} (ai-edge-litert {runtime})"

    def prepare(self, reference: AudioBatch) -> PreparedVisqol:
        """Spectrograms, patches and envelopes of the references."""
        self._check(reference)
        groups = [
            (indices, self._prepare_rows(cut(reference, indices, length)[:, 0].double()))
            for length, indices in equal_lengths(reference, limit=SAMPLES_AT_ONCE)
        ]
        return PreparedVisqol(reference, groups)

    def score(self, prepared: PreparedVisqol, *, reconstruction: AudioBatch) -> list[Score]:
        """One score per clip; raises ValueError where the layout is not the references'."""
        check_match(prepared.reference, reconstruction)
        scores: dict[int, Score] = {}
        for indices, rows in prepared.groups:
            samples = cut(reconstruction, indices, rows.length)[:, 0].double()
            scores |= zip(indices, self._score_rows(rows, samples), strict=True)
        return [scores[index] for index in range(reconstruction.clips)]

    def _check(self, audio: AudioBatch) -> None:
        if (audio.sample_rate, audio.channels) != (self.mode.rate, 1):
            raise ValueError(
                f"{self.key} is defined on one channel at {self.mode.rate} Hz, not on "
                f"{audio.channels} at {audio.sample_rate} Hz; average channels and resample first"
            )

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
        spectra = refinement.envelope_spectra(rows, flat, refinement.points(mode))
        shared = Shared(
            signals=Signals(
                rows, self._filterbank(rows.device).spectrogram(rows, mode.frames(length))
            ),
            power=rows.square().mean(dim=-1).tolist(),
            envelopes=alignment.spectrum(alignment.envelope(rows), points),
            starts=starts,
            slices=slices,
            slice_spectra=list(torch.split(spectra, [len(row) for row in slices])),
        )
        return PreparedRows(length, silent, shared)

    # The reconstruction's side

    def _score_rows(self, prepared: PreparedRows, rows: torch.Tensor) -> list[Score]:
        if prepared.shared is None:
            seconds = self.mode.shortest / self.mode.rate
            return [Score.undefined(f"shorter than {seconds:.2f} s")] * len(rows)
        shared = prepared.shared
        scores: dict[int, Score] = {}
        for row, silent in enumerate(_silent(rows)):
            if prepared.silent[row] or silent:
                which = "reference" if prepared.silent[row] else "reconstruction"
                scores[row] = Score.undefined(f"the {which} is silent")
        left = [row for row in range(len(rows)) if row not in scores]
        parts = _parts(left, rows)
        matched = _in_threads(
            lambda part: self._pairs(shared, part, rows[part]), parts, rows.device
        )
        for part, found in zip(parts, matched, strict=True):
            for row, item in zip(part, found, strict=True):
                scores[row] = (
                    item if isinstance(item, Score) else self._map(shared, row, item, rows[row])
                )
        return [scores[row] for row in range(len(rows))]

    def _map(self, shared: Shared, row: int, pairs: Pairs, samples: torch.Tensor) -> Score:
        """The score of one row; samples (time,) as they came."""
        if pairs.undecided and self.mapping_name == "lattice":
            value = self._package.measure(shared.signals.samples[row], samples)
        else:
            value = mapping.predict(self._mapping, pairs.features(self.mode.frame_seconds))
        if math.isfinite(value):
            return Score(value)
        return Score.failed(f"{self.key}: the mapping gave {value}")

    def _pairs(self, shared: Shared, rows: list[int], samples: torch.Tensor) -> list[Pairs | Score]:
        """Matched and refined patches of some rows (rows, time), or why there are none."""
        mode = self.mode
        aligned, lengths = self._align(shared, rows, samples)
        power = (aligned.square().sum(dim=-1).cpu() / torch.tensor(lengths)).tolist()
        found: dict[int, Pairs | Score] = {}
        jobs: list[Job] = []
        for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            frames = mode.frames(length)
            count = matching.usable(shared.starts[row], mode.patch, frames) if frames else 0
            if count == 0:
                reason = "no patch lies within the aligned reconstruction"
                found[index] = Score.failed(f"{self.key}: {reason}")
            elif power[index] == 0.0:
                found[index] = Score.failed(f"{self.key}: the aligned reconstruction is silent")
            else:
                gain = _gain(shared.power[row], power[index])
                jobs.append(Job(index, row, length, frames, shared.starts[row][:count], gain))
        if jobs:
            chosen = [job.index for job in jobs]
            levelled = aligned[chosen] * aligned.new_tensor([job.gain for job in jobs])[:, None]
            frames = max(job.frames for job in jobs)
            spectrogram = self._filterbank(levelled.device).spectrogram(levelled, frames)
            matched = self._match(shared, jobs, spectrogram)
            refined = self._refine(shared, jobs, Signals(levelled, spectrogram), matched)
            found |= zip(chosen, refined, strict=True)
        return [found[index] for index in range(len(rows))]

    def _align(
        self, shared: Shared, rows: list[int], samples: torch.Tensor
    ) -> tuple[torch.Tensor, list[int]]:
        length = samples.shape[-1]
        points = alignment.correlation_length(length)
        envelopes = alignment.spectrum(alignment.envelope(samples), points)
        lags = alignment.best_lags(shared.envelopes[rows], envelopes, points, length).tolist()
        return alignment.shift(samples, [alignment.usable_lag(lag, length) for lag in lags])

    def _match(self, shared: Shared, jobs: list[Job], reconstruction: torch.Tensor) -> list[Pairs]:
        """The best matches for the patches of the references, before their refinement."""
        mode, device = self.mode, reconstruction.device
        reference = shared.signals.spectrogram[[job.row for job in jobs]]
        ours, theirs = level(
            reference,
            reconstruction,
            torch.full((len(jobs),), reference.shape[-1], device=device),
            torch.tensor([job.frames for job in jobs], device=device),
        )
        theirs = torch.nn.functional.pad(theirs, (0, mode.patch - 1))
        wanted = [
            patches.cut(spectrogram, torch.as_tensor(job.starts, device=device), mode.patch)
            for job, spectrogram in zip(jobs, ours, strict=True)
        ]
        similarities = [
            nsim.sliding(patch, spectrogram[:, : job.frames + mode.patch - 1])
            for job, patch, spectrogram in zip(jobs, wanted, theirs, strict=True)
        ]
        paths = [
            matching.match(similarity.cpu().numpy(), job.starts, mode.patch)
            for job, similarity in zip(jobs, similarities, strict=True)
        ]
        chosen = [
            patches.cut(spectrogram, torch.as_tensor(path, device=device), mode.patch)
            for (path, _), spectrogram in zip(paths, theirs, strict=True)
        ]
        counts = [len(job.starts) for job in jobs]
        full = torch.full((sum(counts),), mode.patch, device=device)
        compared = nsim.compare(torch.cat(wanted), torch.cat(chosen), full).split(counts)
        return [
            Pairs.of(similarity, job.starts, path, lost, mode)
            for job, similarity, (path, lost) in zip(jobs, compared, paths, strict=True)
        ]

    def _refine(
        self, shared: Shared, jobs: list[Job], reconstruction: Signals, matched: list[Pairs]
    ) -> list[Pairs]:
        mode = self.mode
        kept = [np.flatnonzero(~pairs.lost).tolist() for pairs in matched]
        slices = [
            [Slice.at(index, int(pairs.offsets[patch]), job.length, mode) for patch in chosen]
            for index, (job, pairs, chosen) in enumerate(zip(jobs, matched, kept, strict=True))
        ]
        refined = refinement.refine(
            reference=shared.signals,
            reference_slices=[
                shared.slices[job.row][patch]
                for job, chosen in zip(jobs, kept, strict=True)
                for patch in chosen
            ],
            reference_spectra=torch.cat(
                [
                    shared.slice_spectra[job.row][chosen]
                    for job, chosen in zip(jobs, kept, strict=True)
                ]
            ),
            reconstruction=reconstruction,
            reconstruction_slices=[item for row in slices for item in row],
            mode=mode,
            filterbank=self._filterbank(reconstruction.samples.device),
        )
        owners = [(index, patch) for index, chosen in enumerate(kept) for patch in chosen]
        for found in refined:
            index, patch = owners[found.index]
            matched[index].improve(patch, found, mode, unscaled=jobs[index].gain == 1.0)
        return matched


@dataclass(frozen=True)
class Job:
    """A reconstruction that can be scored.

    index, row: where it stands in its part and among the references. length, frames: samples and
    frames after alignment. starts: the patches that can be matched. gain: what levels it.
    """

    index: int
    row: int
    length: int
    frames: int
    starts: npt.NDArray[np.int64]
    gain: float


@dataclass(frozen=True)
class Shared:
    """What reconstructions of references of one length share; lists have an entry per row.

    power: mean squares. envelopes: DFT of the envelopes (rows, bins). starts: first frames
    of the patches. slices: their samples, and slice_spectra the DFTs of the slices' envelopes.
    """

    signals: Signals
    power: list[float]
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


def _parts(rows: list[int], samples: torch.Tensor) -> list[list[int]]:
    """Rows in parts that are processed together."""
    most = ROWS_AT_ONCE["cuda" if samples.is_cuda else "cpu"]
    threads = 1 if samples.is_cuda else torch.get_num_threads()
    step = max(1, min(most, -(-len(rows) // threads)))
    return [rows[start : start + step] for start in range(0, len(rows), step)]


def _in_threads(
    work: Callable[[list[int]], list[Pairs | Score]],
    parts: list[list[int]],
    device: torch.device,
) -> list[list[Pairs | Score]]:
    """The work on every part, on a CPU in as many threads as torch has for one operation.

    Operations are many and small here, so that threads of one part each wait for each other far
    less than threads within an operation would. The count of threads is put back.
    """
    threads = 1 if device.type == "cuda" else torch.get_num_threads()
    if threads == 1 or len(parts) < 2:
        return [work(part) for part in parts]
    try:
        with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
            return list(pool.map(work, parts))
    finally:
        torch.set_num_threads(threads)


def _silent(rows: torch.Tensor) -> list[bool]:
    """Whether all samples of a row are equal, which is what the reference backend calls silent."""
    if rows.shape[-1] == 0:
        return [True] * len(rows)
    return [bool(item) for item in (rows.amin(dim=-1) == rows.amax(dim=-1)).tolist()]
