"""The sequence of patches of the reconstruction that matches the reference's best.

Patch p of the reference may lie at any offset s within 60 patches of its own place, in order: with
S the similarities, the best total up to p at s is

    T[p, s] = max( S[p, s] + max_{t < s} T[p − 1, t],  T[p − 1, s] ),

where the second case means that patch p is lost and scores nothing. Offsets outside the search
window hold 0. Ties: among earlier offsets the latest, at the end the earliest, and a patch is only
lost when that is strictly better.

Sources: Hines et al. 2015; recursion, window and ties as in visqol-python 3.8.0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SEARCH = 60  # patches


def usable(starts: npt.NDArray[np.int64], patch: int, frames: int) -> int:
    """How many patches can be matched in a reconstruction of so many frames."""
    return int(np.searchsorted(starts - patch // 2, frames, side="right"))


def match(
    similarity: npt.NDArray[np.float64], starts: npt.NDArray[np.int64], patch: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Offset of each patch's match and whether the patch is lost.

    similarity: (patches, offsets), at least one patch. starts: first frames of the reference's
    patches, ascending (patches,). patch: frames of a patch.
    """
    patches, offsets = similarity.shape
    low = np.maximum(starts - SEARCH * patch, 0)
    high = np.minimum(starts + SEARCH * patch, offsets - 1)
    before = np.full((patches, offsets), -1, dtype=np.int64)
    total = np.zeros(offsets)
    for index in range(patches):
        window = slice(low[index], high[index] + 1)
        row = np.zeros(offsets)
        row[window] = similarity[index, window]
        if index:
            best, where = _best_before(total, int(low[index - 1]))
            row[window] += best[window]
            lost = total > row
            before[index, window] = np.where(lost, np.arange(offsets), where)[window]
            row[window] = np.where(lost, total, row)[window]
        total = row
    window = slice(low[-1], high[-1] + 1)
    return _trace(before, int(low[-1]) + int(np.argmax(total[window])))


def _best_before(
    total: npt.NDArray[np.float64], low: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """For each offset the largest total at an earlier one from `low` on, and the last such."""
    best = np.full(len(total), -np.inf)
    where = np.full(len(total), -1, dtype=np.int64)
    highest = np.maximum.accumulate(total[low:])
    position = np.arange(low, len(total))
    last = np.maximum.accumulate(np.where(total[low:] == highest, position, -1))
    best[low + 1 :] = highest[:-1]
    where[low + 1 :] = last[:-1]
    return best, where


def _trace(
    before: npt.NDArray[np.int64], offset: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    path = np.empty(len(before), dtype=np.int64)
    lost = np.empty(len(before), dtype=np.bool_)
    for index in range(len(before) - 1, -1, -1):
        path[index] = offset
        offset = int(before[index, offset])
        lost[index] = offset == path[index]
    return path, lost
