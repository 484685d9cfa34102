"""Tensor metrics whose clips are measured in groups of exactly equal length.

So no value depends on padding or on the other clips of a batch. What is made of a reference is made
once for all of its reconstructions.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.ragged import check_match, cut, equal_lengths
from rdbench.types import AudioBatch, Score

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Group:
    """Clips of one length, and what was made of them (None: they have no reference)."""

    length: int
    indices: list[int]
    features: Any


@dataclass(frozen=True)
class _Prepared:
    """References, for checking that a reconstruction matches, and their groups."""

    audio: AudioBatch
    groups: list[_Group]


class EqualLengths(DeviceBackend):
    """Features of clips of one length, and scores of these.

    at_once: samples that are transformed together, where clips allow it.
    """

    name = "torch"
    at_once = 2**20

    @property
    def version(self) -> str:
        """Of a program of rdbench's own; one with a package or weights says these."""
        return "1"

    @abstractmethod
    def shortest(self, sample_rate: int) -> int:
        """Samples that a clip needs at `sample_rate` hertz, 1 or more."""

    @abstractmethod
    def features(self, samples: torch.Tensor, sample_rate: int) -> Any:
        """All that scores need of float32 (clips, channels, time), references or not."""

    @abstractmethod
    def scores(self, reference: Any, reconstruction: Any) -> Sequence[Score]:
        """One score per clip from both features; without references, of None and one of them."""

    def prepare(self, reference: AudioBatch) -> _Prepared:
        """The features of every reference that is long enough."""
        rate = reference.sample_rate
        groups = [
            _Group(length, indices, self.features(cut(reference, indices, length), rate))
            for length, indices in self._groups(reference)
        ]
        return _Prepared(reference, groups)

    def score(self, prepared: _Prepared | None, *, reconstruction: AudioBatch) -> list[Score]:
        """One score per clip, over all of its channels."""
        rate = reconstruction.sample_rate
        if prepared is None:
            groups = [_Group(*group, None) for group in self._groups(reconstruction)]
        else:
            check_match(prepared.audio, reconstruction)
            groups = prepared.groups
        needed = self.shortest(rate)
        found = [
            Score.undefined(f"{length} samples; the longest window needs {needed}")
            for length in reconstruction.lengths.tolist()
        ]
        for group in groups:
            made = self.features(cut(reconstruction, group.indices, group.length), rate)
            scores = self.scores(group.features, made)
            for index, score in zip(group.indices, scores, strict=True):
                found[index] = score
        return found

    def _groups(self, audio: AudioBatch) -> list[tuple[int, list[int]]]:
        needed = self.shortest(audio.sample_rate)
        groups = equal_lengths(audio, limit=self.at_once)
        return [group for group in groups if group[0] >= needed]


def finite(value: float) -> Score:
    """The value as a score; `failed` where samples were not finite."""
    if math.isfinite(value):
        return Score(value)
    return Score.failed("the audio holds samples that are not finite")
