"""Random crops of a corpus, each a function of the seed, the step and the device's rank alone.

No state is kept from one step to the next, so that a run that was killed goes on with exactly the
crops it would have seen. Clips are chosen in proportion to their length. A clip that cannot be
read, holds NaN, is silent or shorter than a crop is left out, with a note in the log; a corpus of
which nothing is left is refused.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rdbench.types import AudioError, ChangedError, RdbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdbench.audio.clip import Clip, Corpus

_LOG = logging.getLogger(__name__)
_TRIES = 20
_FULL_SCALE = 32767.0


@dataclass(frozen=True)
class _Source:
    """One usable clip: its length in samples, and its audio where that is kept in memory.

    digest: of the audio, which is read again where it is not kept.
    """

    clip: Clip
    length: int
    kept: np.ndarray | None
    digest: bytes


class CropData:
    """Crops of one length from a corpus.

    sample_rate: in hertz; audio at another rate is resampled. channels: of the crops; a mono model
    gets the mean of a clip's channels. cache_mib: audio kept decoded, as 16-bit samples.

    Raises AudioError where the corpus leaves nothing to train on. A clip that is another when it is
    read again is a ChangedError of `batch`.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        sample_rate: int,
        channels: int,
        crop: int,
        silence_db: float = -60.0,
        cache_mib: float = 2048.0,
    ) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.crop = crop
        self._floor = 10.0 ** (silence_db / 20.0)
        self._sources: list[_Source] = []
        digest = hashlib.sha256()
        left = cache_mib * 2**20
        for clip in corpus.clips:
            audio = self._usable(clip)
            if audio is None:
                continue
            digest.update(audio.tobytes())
            keep = audio.nbytes <= left
            left -= audio.nbytes if keep else 0
            kept = audio if keep else None
            self._sources.append(_Source(clip, audio.shape[1], kept, _digest(audio)))
        if not self._sources:
            raise AudioError(
                f"corpus {corpus.name!r} has no clip to train on: all are unreadable, silent or "
                f"shorter than {crop / sample_rate:g} s; give other data or shorter crops"
            )
        self.sha256 = digest.hexdigest()
        self._edges = self._edges_of(range(self.clips))
        self.seconds = sum(source.length for source in self._sources) / sample_rate

    @property
    def clips(self) -> int:
        """Number of usable clips."""
        return len(self._sources)

    @property
    def names(self) -> list[str]:
        """Of the usable clips, in order."""
        return [source.clip.name for source in self._sources]

    def length(self, index: int) -> int:
        """Samples of a usable clip."""
        return self._sources[index].length

    def batch(self, *, seed: int, step: int, size: int, rank: int = 0) -> torch.Tensor:
        """Crops float32 (size, channels, crop) for one step on one device."""
        generator = np.random.default_rng(np.random.SeedSequence((seed, step, rank)))
        return self.as_audio([self.draw(generator)[2] for _ in range(size)])

    @staticmethod
    def as_audio(crops: Sequence[np.ndarray]) -> torch.Tensor:
        """What was drawn, float32 (clips, channels, crop)."""
        return torch.from_numpy(np.stack(crops).astype(np.float32) / _FULL_SCALE)

    def draw(
        self, generator: np.random.Generator, *, among: Sequence[int] | None = None, grid: int = 1
    ) -> tuple[int, int, np.ndarray]:
        """A crop: of which clip, its first sample, and it itself, int16 (channels, crop).

        among: indices of clips, all where None. grid: the first sample is a multiple of it.
        """
        chosen = range(len(self._sources)) if among is None else among
        edges = self._edges if among is None else self._edges_of(among)
        for _ in range(_TRIES):
            place = int(np.searchsorted(edges, generator.random(), side="right"))
            index = chosen[min(place, len(chosen) - 1)]
            source = self._sources[index]
            start = grid * int(generator.integers(0, (source.length - self.crop) // grid + 1))
            audio = source.kept if source.kept is not None else self._again(source)
            crop = audio[:, start : start + self.crop]
            if self._level(crop) > self._floor:
                break
        return index, start, crop

    def _edges_of(self, among: Sequence[int]) -> np.ndarray:
        """Where the shares of clips end, each in proportion to its length."""
        lengths = np.array([self._sources[index].length for index in among], dtype=np.float64)
        edges: np.ndarray = np.cumsum(lengths) / lengths.sum()
        return edges

    def _again(self, source: _Source) -> np.ndarray:
        """The audio of a clip that is not kept; raises ChangedError where it is another."""
        audio = self._read(source.clip)
        if _digest(audio) != source.digest:
            raise ChangedError.of(source.clip.name)
        return audio

    def _usable(self, clip: Clip) -> np.ndarray | None:
        try:
            audio = self._read(clip)
        except RdbenchError as error:
            _LOG.warning("left out of training: %s", error)
            return None
        reason = ""
        if audio.shape[1] < self.crop:
            reason = f"is shorter than a crop of {self.crop / self.sample_rate:g} s"
        elif self._level(audio) <= self._floor:
            reason = "is silent"
        if reason:
            _LOG.warning("left out of training: %s %s", clip.name, reason)
            return None
        return audio

    def _level(self, audio: np.ndarray) -> float:
        """RMS over full scale."""
        return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) / _FULL_SCALE

    def _read(self, clip: Clip) -> np.ndarray:
        """int16 (channels, time) at the model's rate; raises AudioError."""
        return _to_int16(clip, _decode(clip, self.sample_rate, self.channels))


def _digest(audio: np.ndarray) -> bytes:
    return hashlib.sha256(audio.tobytes()).digest()


def _decode(clip: Clip, sample_rate: int, channels: int) -> torch.Tensor:
    from rdbench.audio.load import read
    from rdbench.audio.resample import resample

    samples, rate = read(clip.path, start=clip.start, duration=clip.duration)
    if samples.shape[0] != channels:
        samples = samples.mean(0, keepdim=True).expand(channels, -1)
    return resample(samples, rate, sample_rate)


def _to_int16(clip: Clip, samples: torch.Tensor) -> np.ndarray:
    audio = samples.double().numpy()
    if not np.isfinite(audio).all():
        raise AudioError(f"{clip.name} holds NaN or infinity; repair or remove it")
    scaled: np.ndarray = np.rint(np.clip(audio, -1.0, 1.0) * _FULL_SCALE).astype(np.int16)
    return scaled
