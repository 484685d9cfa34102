"""Noise that a decoder draws: the same for the same codes, in any batch and at any time.

Packages draw from torch's own generators. A clip is decoded by itself, with the generators seeded
by what its decoder is given, and finds them afterwards as they were.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def noise_seed(given: Sequence[torch.Tensor]) -> int:
    """A seed of 32 bits, of the values that a decoder is given for one clip."""
    seed = 0
    for one in given:
        seed = zlib.crc32(one.cpu().contiguous().numpy().tobytes(), seed)
    return seed


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's generators of the CPU and of `device`, seeded in here and then put back."""
    import torch

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
