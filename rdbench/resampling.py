"""How often each group of clips is drawn: one bootstrap for every value that is compared.

Clips of one group (a speaker, a session) are not independent, so whole groups are drawn. The
groups of a domain stand in the order of their names (a clip without a group is one by itself,
under its own name), and the seed is the run's with the domain's name; so two values that were
resampled in different rooms (a mean in a table, the distance of a set of clips in the engine) have
replicates with the same index of the same draw, and their difference is a paired replicate.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

RESAMPLES = 2000


def group_names(groups: Mapping[str, str]) -> tuple[str, ...]:
    """The distinct groups of clips in the order of their columns; groups: by clip, "" for none."""
    return tuple(sorted({group or clip for clip, group in groups.items()}))


def domain_seed(seed: int, domain: str) -> list[int]:
    """The seed of the draws of a domain."""
    return [seed, zlib.crc32(domain.encode())]


def resample_weights(
    groups: int, *, resamples: int = RESAMPLES, seed: int | list[int] = 0
) -> Array:
    """How often each group is drawn in each resample, float64 (resamples, groups).

    Each row sums to `groups`. The same seed and number of groups give the same weights. Raises
    ValueError without a group or a resample.
    """
    if groups < 1 or resamples < 1:
        raise ValueError("a bootstrap needs at least one group and one resample")
    drawn = np.random.default_rng(seed).integers(0, groups, (resamples, groups))
    cells = drawn + groups * np.arange(resamples)[:, None]
    counts = np.bincount(cells.ravel(), minlength=resamples * groups)
    return counts.reshape(resamples, groups).astype(np.float64)
