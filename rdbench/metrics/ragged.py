"""Helpers for batches whose clips differ in length, so that no score depends on padding."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from rdbench.types import AudioBatch


def equal_lengths(audio: AudioBatch, *, limit: int) -> list[tuple[int, list[int]]]:
    """(length, indices of clips that have it); at most `limit` samples where clips allow it."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(audio.lengths.tolist()):
        groups[length].append(index)
    parts = []
    for length, indices in groups.items():
        size = max(1, limit // max(1, length * audio.channels))
        parts += [(length, indices[i : i + size]) for i in range(0, len(indices), size)]
    return parts


def cut(audio: AudioBatch, indices: list[int], length: int) -> torch.Tensor:
    """The clips at `indices` without padding, float32 (clips, channels, length)."""
    if len(indices) == audio.clips:
        return audio.samples[..., :length].float()
    return audio.samples[indices, :, :length].float()


def check_match(reference: AudioBatch, reconstruction: AudioBatch) -> None:
    """Raises ValueError unless both have the same clips, channels, lengths and sample rate."""
    ours = (reference.clips, reference.channels, reference.sample_rate, reference.lengths.tolist())
    theirs = (
        reconstruction.clips,
        reconstruction.channels,
        reconstruction.sample_rate,
        reconstruction.lengths.tolist(),
    )
    if ours != theirs:
        raise ValueError(
            "reference and reconstruction differ in (clips, channels, hertz, lengths): "
            f"{ours} and {theirs}"
        )
