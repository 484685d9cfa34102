"""What adapters do with a batch: refuse what they cannot take, and see no clip's padding.

Models whose output depends on padding must see each clip at its true length: `by_length` splits a
ragged batch into groups of equally long clips, calls a function on each group, and gives the
results back in the batch's order; `pad_stack` puts them into one tensor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from rdbench.types import AudioBatch, CodecError, CodecInfo

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def check_audio(info: CodecInfo, audio: AudioBatch) -> None:
    """Raises CodecError unless `audio` is what `info` says the codec takes.

    Refused are: another sample rate or channel count, an empty batch or clip, and NaN or infinite
    samples within a clip's length.
    """
    if info.sample_rates and audio.sample_rate not in info.sample_rates:
        rates = ", ".join(str(rate) for rate in info.sample_rates)
        raise CodecError(
            f"{info.name} does not take {audio.sample_rate} Hz; resample to one of: {rates}"
        )
    if info.channels and audio.channels not in info.channels:
        takes = " or ".join({1: "mono", 2: "stereo"}.get(n, str(n)) for n in info.channels)
        raise CodecError(
            f"{info.name} takes {takes}, not {audio.channels} channels; run it on each channel, "
            "or downmix"
        )
    if audio.clips == 0:
        raise CodecError(f"{info.name} cannot encode a batch without clips")
    whole = bool(audio.samples.isfinite().all())  # once, for a device waits at every answer
    for index, length in enumerate(audio.lengths.tolist()):
        if length < 1:
            raise CodecError(f"{info.name} cannot encode clip {index}: it is empty; leave it out")
        if not whole and not bool(audio.samples[index, :, :length].isfinite().all()):
            raise CodecError(
                f"{info.name} cannot encode clip {index}: it holds NaN or infinite samples"
            )


def by_length(lengths: torch.Tensor, run: Callable[[list[int]], Sequence[T]]) -> list[T]:
    """Calls `run` with the indices of each group of equal `lengths` (clips,).

    `run` returns one result for each index it was given; the list comes back in clip order.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(lengths.tolist()):
        groups[length].append(index)
    results: dict[int, T] = {}
    for indices in groups.values():
        results.update(zip(indices, run(indices), strict=True))
    return [results[index] for index in range(len(lengths))]


def pad_stack(items: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stacks (..., time_i) into (items, ..., time), zeros behind; also returns every time_i."""
    import torch

    sizes = torch.tensor([item.shape[-1] for item in items], dtype=torch.int64)
    longest = int(sizes.max())
    padded = [torch.nn.functional.pad(item, (0, longest - item.shape[-1])) for item in items]
    return torch.stack(padded), sizes
