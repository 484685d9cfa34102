"""Reading audio files, and preparing from them the excerpts that are encoded and scored.

Files are read by libsndfile: WAV, FLAC, OGG (Vorbis, Opus) and MP3, also AIFF; 8 to 192 kHz; 1 to
8 channels; integer and float samples. Samples become float32 with full scale at ±1 and are never
scaled or clamped.

An excerpt is what the protocol makes of a clip: cut, brought to the protocol's channels, then to
its rate by the one resampler. The cut is made on the protocol's sample grid, so that every clip
that is long enough gives the same number of samples whatever its native rate, and batches are
full. A shorter clip stays whole. Only the part of the file that the excerpt depends on is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

import numpy as np
import torch

from rdbench.audio.clip import Clip, name_problem, readable
from rdbench.audio.resample import context, resample, resampled_length
from rdbench.audio.streams import as_libsndfile_needs
from rdbench.identity import CheckedFile, FileHash
from rdbench.types import AudioError, ChangedError, SpecError

if TYPE_CHECKING:
    import numpy.typing as npt
    import soundfile

VERSION = 1
"""Raised when the samples of an excerpt change."""

MIN_RATE, MAX_RATE = 8_000, 192_000
MAX_CHANNELS = 8
MIN_SECONDS = 0.02
"""The shortest audio that is read: one frame of the usual speech codecs."""
MAX_VALUES = 2**26
"""The most samples × channels read at once: 11 minutes of stereo at 48 kHz; under 2 GB in all."""

# libsndfile enters MP3 (and, seldom, Vorbis) in mid-stream without what its frames build on: the
# first samples come out wrong. It is let in a second earlier, longer than any bit reservoir.
_PRE_ROLL = {"MP3": 1.0, "OGG": 1.0}  # seconds
_BLOCK = 2**16  # frames
_READ_BLOCK = 2**20
_CLOSE_TO_END = 0.01  # seconds that a manifest's rounded duration may overshoot
_FULL_SCALE = 1.0 - 2.0**-15  # the largest positive 16-bit sample
_CLIPPED_RUN = 3  # samples in a row at full scale
_SILENCE = 2.0**-15  # under the smallest step of 16 bits

Layout = Literal["mono", "stereo", "native"]


@dataclass(frozen=True)
class ExcerptProtocol:
    """To what every clip is brought before it is encoded.

    sample_rate: in hertz. channels: "mono", "stereo", or "native" (as the file has them).
    excerpt_seconds: length of the excerpts; None: whole clips. gain: "none", the only one: levels
    are left as they are. Raises SpecError for other values.
    """

    sample_rate: int
    channels: Layout
    excerpt_seconds: float | None
    gain: str = "none"

    def __post_init__(self) -> None:
        if not MIN_RATE <= self.sample_rate <= MAX_RATE:
            raise SpecError(
                f"protocol sample_rate is {self.sample_rate} Hz; "
                f"it must be between {MIN_RATE} and {MAX_RATE}"
            )
        if self.channels not in ("mono", "stereo", "native"):
            raise SpecError(
                f"protocol channels is {self.channels!r}; it must be 'mono', 'stereo' or 'native'"
            )
        seconds = self.excerpt_seconds
        if seconds is not None and not MIN_SECONDS <= seconds < math.inf:
            raise SpecError(
                f"protocol excerpt_seconds is {seconds}; it must be {MIN_SECONDS} or more, "
                "or null for whole clips"
            )
        if self.gain != "none":
            raise SpecError(f"protocol gain is {self.gain!r}; the only one there is is 'none'")

    @property
    def excerpt_samples(self) -> int | None:
        """Samples of a full excerpt at `sample_rate`; None for whole clips."""
        if self.excerpt_seconds is None:
            return None
        return round(self.excerpt_seconds * self.sample_rate)


@dataclass(frozen=True)
class Part:
    """Which part of a clip an excerpt is.

    offset, length, total: samples at the protocol's rate: before it, of it, and of the whole clip.
    """

    offset: int
    length: int
    total: int


NOTES = ("short", "upsampled", "silent", "clipped")
"""The keys of notes."""


@dataclass(frozen=True)
class Note:
    """What a reader of scores should know of a clip.

    key: "short", "upsampled", "silent" or "clipped". sentence: what is so, in words.
    """

    key: str
    sentence: str


@dataclass(frozen=True)
class Excerpt:
    """The audio of a clip under a protocol.

    samples: float32 (channels, time) at `sample_rate` hertz. notes: on the clip, as it was read.
    """

    samples: torch.Tensor
    sample_rate: int
    notes: tuple[Note, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return int(self.samples.shape[-1]) / self.sample_rate


def read(
    path: str | Path,
    *,
    start: float = 0.0,
    duration: float | None = None,
    planned: FileHash | None = None,
    most_seconds: float = math.inf,
) -> tuple[torch.Tensor, int]:
    """Reads `duration` seconds from `start` on; None is up to the end of the file.

    planned: what the file held when the run was planned; whatever is read of it now is held against
    that, and ChangedError raised for a file that does not hold it. most_seconds: what a file may
    last; one that is longer is an AudioError, and is not read.

    Returns float32 samples (channels, time), full scale at ±1, and the rate in hertz. Silent and
    clipped audio is audio. Raises AudioError, with the reason, for a file that is missing,
    damaged, cut off, empty, shorter than MIN_SECONDS or larger than MAX_VALUES, that has another
    rate or more channels than stated above, or that holds NaN or infinite samples.
    """
    with _opened(Path(path), planned=planned) as file:
        if (lasts := file.frames / file.samplerate) > most_seconds:  # by its header
            raise AudioError(
                f"{path} lasts {lasts:.4f} s, and at most {most_seconds:.1f} s are read"
            )
        first, count = _part(file, str(path), start, duration)
        return _frames(file, str(path), first, count), int(file.samplerate)


def load_excerpt(clip: Clip, protocol: ExcerptProtocol, planned: FileHash | None = None) -> Excerpt:
    """The excerpt of `clip` under `protocol`: the middle of it, where the clip is longer.

    planned: what the file held when the run was planned; whatever is read of it now is held against
    that.

    A clip that is not longer than the excerpt is kept whole, with a note. Mono is the mean of the
    channels; mono becomes stereo by doubling; from more than two channels, stereo is the first
    two as left and right, each averaged with the mean of all others.
    Raises AudioError as `read` does, its message naming the clip, and ChangedError for a file that
    does not hold what was planned.
    """
    with _opened(clip.path, clip.name, planned) as file:
        first, count = _part(file, clip.name, clip.start, clip.duration)
        native = int(file.samplerate)
        rate = protocol.sample_rate
        part = _middle(count, native, protocol)
        offset, length = part.offset, part.length
        window = _window(offset, length, count, native, rate)
        read_in = _frames(file, clip.name, first + window.start, len(window))
    prepared = resample(_with_layout(read_in, protocol.channels), native, rate)
    # The window begins where the grids of both rates meet, so this division leaves nothing over.
    skipped = offset - window.start * rate // native
    samples = prepared[:, skipped : skipped + length].contiguous()
    return Excerpt(samples, rate, _notes(read_in, samples, native, protocol))


def part_of(clip: Clip, protocol: ExcerptProtocol) -> Part:
    """Which part of `clip` `load_excerpt` takes; raises AudioError as it does."""
    with _opened(clip.path, clip.name) as file:
        _, count = _part(file, clip.name, clip.start, clip.duration)
        return _middle(count, int(file.samplerate), protocol)


def _middle(count: int, native: int, protocol: ExcerptProtocol) -> Part:
    """Of `count` samples at the file's rate."""
    total = resampled_length(count, native, protocol.sample_rate)
    wanted = protocol.excerpt_samples
    length = total if wanted is None else min(wanted, total)
    return Part((total - length) // 2, length, total)


@contextmanager
def _opened(
    path: Path, name: str | None = None, planned: FileHash | None = None
) -> Iterator[soundfile.SoundFile]:
    """Opens a file and checks its header; what libsndfile says becomes one sentence."""
    import soundfile

    name = name or readable(str(path))
    if problem := name_problem(path):
        raise AudioError(f"{name} cannot be read: {problem}")
    if not path.is_file():
        raise AudioError(f"{name} cannot be read: there is no file {str(path)!r}")
    if path.stat().st_size == 0:
        raise AudioError(f"{name} cannot be read: the file is empty (0 bytes)")
    try:
        with _source(path, name, planned) as source:
            needed = as_libsndfile_needs(source, name)
            as_it_is = planned is None and needed is source
            with soundfile.SoundFile(path if as_it_is else needed) as file:
                _check_header(file, name)
                yield file
    except soundfile.SoundFileError as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise AudioError(
            f"{name} cannot be read: {reason}; give a WAV, FLAC, OGG or MP3 file"
        ) from error
    except OSError as error:
        raise AudioError(f"{name} cannot be read: {error.strerror or error}") from error


@contextmanager
def _source(path: Path, name: str, planned: FileHash | None) -> Iterator[BinaryIO]:
    """An open file; in the end, whether it held what was planned."""
    if planned is None:
        with path.open("rb") as plain:
            yield plain
        return
    with CheckedFile(path, planned) as file:
        try:
            yield cast("BinaryIO", file)
        finally:  # whatever else was found wrong with a file that was changed comes of that
            if file.changed:
                raise ChangedError.of(name)


def _check_header(file: soundfile.SoundFile, name: str) -> None:
    if file.frames <= 0:
        raise AudioError(f"{name} holds no samples; leave it out or record it again")
    if not MIN_RATE <= file.samplerate <= MAX_RATE:
        raise AudioError(
            f"{name} has a sample rate of {file.samplerate} Hz; "
            f"rdbench takes {MIN_RATE} to {MAX_RATE} Hz"
        )
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise AudioError(
            f"{name} has {file.channels} channels; rdbench takes 1 to {MAX_CHANNELS}, split it"
        )


def _part(
    file: soundfile.SoundFile, name: str, start: float, duration: float | None
) -> tuple[int, int]:
    """First frame and count of frames of a part."""
    rate, frames = int(file.samplerate), _length(file)
    lasts = frames / rate
    if not 0 <= start < math.inf or (duration is not None and not 0 < duration < math.inf):
        raise AudioError(
            f"{name}: start {start} and duration {duration} are not a part of a file; "
            "give seconds, 0 or more"
        )
    first = round(start * rate)
    count = frames - first if duration is None else round(duration * rate)
    if first >= frames or first + count > frames + _CLOSE_TO_END * rate:
        end = "" if duration is None else f" up to {start + duration:g} s"
        raise AudioError(
            f"{name} lasts {lasts:g} s, but the part from {start:g} s{end} is asked for; "
            "mend start and duration"
        )
    count = min(count, frames - first)
    if count < MIN_SECONDS * rate:
        raise AudioError(
            f"{name} is too short: {count} sample{'s' * (count != 1)} ({count / rate:.4g} s), "
            f"where at least {MIN_SECONDS} s are needed"
        )
    return first, count


def _length(file: soundfile.SoundFile) -> int:
    """Frames in a file: what its header says, but for MP3, where that may be a guess.

    An MP3 without a Xing header has its length guessed from its size (0.5 % too long in a try), so
    it is decoded once, in blocks.
    """
    if file.format != "MP3":
        return int(file.frames)
    frames = 0
    while count := len(file.read(_BLOCK, dtype="float32")):
        frames += count
    return frames


def _frames(file: soundfile.SoundFile, name: str, first: int, count: int) -> torch.Tensor:
    """Reads frames as float32 (channels, time), once the header's promise is found bearable."""
    lead = min(first, round(_PRE_ROLL.get(file.format, 0.0) * file.samplerate))
    if (lead + count) * file.channels > MAX_VALUES:
        raise AudioError(
            f"{name} is too long to be read at once: {count / file.samplerate:.0f} s of "
            f"{file.channels} channels at {file.samplerate} Hz; give start and duration"
        )
    try:
        data = np.empty((file.channels, count), np.float32)
        file.seek(first - lead)
        found = _fill(file, data, skip=lead)
    except MemoryError as error:
        raise AudioError(f"{name} does not fit into memory; give start and duration") from error
    if found < count:
        raise AudioError(
            f"{name} is cut off: its header promises {file.frames} samples, but they end at "
            f"{first + found}; replace the file"
        )
    bad = sum(
        int((~np.isfinite(data[:, at : at + _BLOCK])).sum()) for at in range(0, count, _BLOCK)
    )
    if bad:
        raise AudioError(
            f"{name} holds {bad} NaN or infinite sample{'s' * (bad != 1)}; replace the file"
        )
    return torch.from_numpy(data)


def _fill(file: soundfile.SoundFile, data: npt.NDArray[np.float32], *, skip: int) -> int:
    """Fills `data` (channels, time) after `skip` frames; returns how many frames there were.

    In blocks, so that memory is used as samples come and not as the header promises them; but a
    file that has a pre-roll at once, because soundfile seeks after every read.
    """
    size = skip + data.shape[1] if file.format in _PRE_ROLL else _READ_BLOCK
    found = -skip
    while found < data.shape[1]:
        block = file.read(min(size, data.shape[1] - found), dtype="float32", always_2d=True)
        if not len(block):
            break
        wanted = block[max(0, -found) :]
        found += len(block)
        if len(wanted):
            data[:, found - len(wanted) : found] = wanted.T
    return max(found, 0)


def _window(offset: int, length: int, count: int, native: int, rate: int) -> range:
    """The native samples on which output samples offset … offset + length depend.

    Its start is a multiple of native / gcd, so that it falls on a sample of both rates and the
    resampler's phases are those that the whole clip would have.
    """
    if native == rate:
        return range(offset, offset + length)
    down = native // math.gcd(native, rate)
    reach = context(native, rate)
    start = max(0, offset * native // rate - reach)
    stop = min(count, -(-(offset + length) * native // rate) + reach + 1)
    return range(start // down * down, stop)


def _with_layout(samples: torch.Tensor, layout: Layout) -> torch.Tensor:
    channels = samples.shape[0]
    if layout == "native" or (layout, channels) in (("mono", 1), ("stereo", 2)):
        return samples
    if layout == "mono":
        return samples.mean(0, keepdim=True)
    if channels == 1:
        return samples.expand(2, -1)
    return (samples[:2] + samples[2:].mean(0, keepdim=True)) / 2


def _notes(
    native: torch.Tensor, samples: torch.Tensor, native_rate: int, protocol: ExcerptProtocol
) -> tuple[Note, ...]:
    notes = []
    rate, wanted = protocol.sample_rate, protocol.excerpt_samples
    if wanted is not None and samples.shape[-1] < wanted:
        lasts = f"{samples.shape[-1] / rate:.3f} s, kept whole"
        notes.append(Note("short", f"{lasts} (excerpts are {protocol.excerpt_seconds:g} s)"))
    if native_rate < rate:
        above = f"nothing above {native_rate / 2:g} Hz"
        notes.append(Note("upsampled", f"upsampled from {native_rate} Hz: {above}"))
    if float(samples.abs().max()) < _SILENCE:
        notes.append(Note("silent", "no sample reaches -90 dBFS"))
    full = (native.abs() >= _FULL_SCALE).unfold(-1, _CLIPPED_RUN, 1).all(-1)
    if bool(full.any()):
        notes.append(Note("clipped", f"{_CLIPPED_RUN} or more samples in a row at full scale"))
    return tuple(notes)
