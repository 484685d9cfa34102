"""Runs a model over clips of equal length, so that no output depends on padding.

`by_length` splits a ragged batch into groups of equally long clips, calls a function on each
group, and gives the per-clip results back in the batch's order; `pad_stack` puts them into one
tensor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


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
