"""NSIM, the similarity of two patches of a spectrogram.

For patches r and d (bands × frames), with local means under a Gaussian window w of 3 × 3
(σ = 0.5, border values repeated) written ⟨·⟩,

    μ_r = ⟨r⟩, σ_r² = ⟨r²⟩ − μ_r², σ_rd = ⟨r d⟩ − μ_r μ_d, and the same for d,

    NSIM = (2 μ_r μ_d + C1) / (μ_r² + μ_d² + C1) · (σ_rd + C3) / (σ_r σ_d + C3)

at every point; C1 = (0.01 L)², C3 = (0.03 L)² / 2 with L = 1 although the values are decibels.
Its mean over the frames is the similarity of a band, the mean over bands that of the patches.

The dynamic programme needs the similarity of each patch of the reference with the patches of the
reconstruction at every offset. Of the nine-point sums only ⟨r d⟩ depends on both; arrays are laid
out (bands, frames, offsets) so that every operation runs along offsets.

Sources: Hines et al. 2015 (NSIM: Hines and Harte, Speech Communication 54, 2012); constants as in
visqol-python 3.8.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.float64]

C1 = 0.01**2
C3 = 0.03**2 / 2.0
# Weights of the window: corner, side, centre.
CORNER, SIDE, CENTRE = 0.0113033910173052, 0.0838251475442633, 0.619485845753726
CPU_BLOCK = (1, 64)  # patches and offsets at a time, so that arrays stay in the cache


@dataclass(frozen=True)
class Similarity:
    """How alike pairs of patches are.

    bands: mean NSIM per band (pairs, bands). spread: its standard deviation over frames (with
    n − 1). level: mean of the reconstruction's patch per band.
    """

    bands: Array
    spread: Array
    level: Array

    def split(self, counts: Sequence[int]) -> list[Similarity]:
        """Consecutive groups of so many pairs."""
        edges = np.cumsum(counts)[:-1]
        fields = (np.split(field, edges) for field in (self.bands, self.spread, self.level))
        return [Similarity(*group) for group in zip(*fields, strict=True)]


def compare(
    reference: torch.Tensor, reconstruction: torch.Tensor, frames: torch.Tensor
) -> Similarity:
    """NSIM of pairs of patches (pairs, bands, frames), of which the first `frames` (pairs,) count.

    Equal patches score exactly 1, so that comparing two such scores does not hang on rounding.
    """
    longest = reference.shape[-1]
    index = torch.arange(longest, device=reference.device)
    repeated = torch.minimum(index, frames[:, None] - 1)[:, None].expand_as(reference)
    # The border is repeated past the last frame, and pairs come last, as in `sliding`.
    ours, theirs = (
        _bordered(patch.gather(-1, repeated).permute(1, 2, 0))
        for patch in (reference, reconstruction)
    )
    similarity = _symmetric_points(ours, theirs)
    inside = (index < frames[:, None]).T
    count = frames.to(similarity)
    mean = torch.where(inside, similarity, 0.0).sum(1) / count
    deviation = torch.where(inside, similarity - mean[:, None], 0.0)
    spread = (deviation.square().sum(1) / (count - 1.0).clamp(min=1.0)).sqrt()
    level = torch.where(inside, theirs[1:-1, 1:-1], 0.0).sum(1) / count
    arrays = torch.stack([mean, spread, level]).transpose(1, 2).cpu().numpy()
    return Similarity(*arrays)


def sliding(patches: torch.Tensor, spectrogram: torch.Tensor) -> torch.Tensor:
    """Similarity of patches with the spectrogram at every offset, (patches, offsets).

    patches: (patches, bands, frames). spectrogram: (bands, offsets + frames − 1).
    """
    count, _, length = patches.shape
    offsets = spectrogram.shape[-1] - length + 1
    windows = spectrogram.unfold(-1, length, 1).transpose(1, 2)[..., None, :]
    pairs = _bordered(patches.permute(1, 2, 0)[..., None])  # (bands, frames, patches, 1)
    ours = _statistics(pairs)
    out = patches.new_empty((count, offsets))
    patch_step, offset_step = (count, offsets) if patches.is_cuda else CPU_BLOCK
    for start in range(0, offsets, offset_step):
        columns = slice(start, start + offset_step)
        part = _bordered(windows[..., columns])
        theirs = _statistics(part)
        for first in range(0, count, patch_step):
            rows = slice(first, first + patch_step)
            points = _points(pairs[:, :, rows], ours.select(rows), part, theirs)
            out[rows, columns] = 2.0 * points.mean(dim=(0, 1))
    return out


def _bordered(patch: torch.Tensor) -> torch.Tensor:
    """(bands, frames, …) with its border repeated, (bands + 2, frames + 2, …), contiguous."""
    for dim in (0, 1):
        last = patch.shape[dim] - 1
        patch = torch.cat([patch.narrow(dim, 0, 1), patch, patch.narrow(dim, last, 1)], dim)
    return patch


@dataclass(frozen=True)
class _Statistics:
    """Local mean, its square, and standard deviation, (bands, frames, …)."""

    mean: torch.Tensor
    square: torch.Tensor
    deviation: torch.Tensor

    def select(self, rows: slice) -> _Statistics:
        """Those of some patches."""
        fields = (self.mean, self.square, self.deviation)
        return _Statistics(*(field[:, :, rows] for field in fields))


def _statistics(bordered: torch.Tensor) -> _Statistics:
    mean = _smooth(bordered * SIDE)
    square = mean.square()
    variance = _smooth(bordered.square() * SIDE) - square
    # A variance below zero is rounding; as zero it leaves C3 in the denominator, as it should.
    return _Statistics(mean, square, variance.clamp_(min=0.0).sqrt_())


def _points(
    reference: torch.Tensor, ours: _Statistics, reconstruction: torch.Tensor, theirs: _Statistics
) -> torch.Tensor:
    """Half of NSIM at every point, (bands, frames, …), of bordered patches that broadcast."""
    # Sums and products of two arrays alone: with three that broadcast, torch does not vectorize.
    product = ours.mean * theirs.mean
    similarity = _smooth((reference * SIDE) * reconstruction).sub_(product).add_(C3)
    similarity *= product.add_(C1 / 2.0)
    denominator = torch.mul(ours.deviation, theirs.deviation, out=product).add_(C3)
    denominator *= (ours.square + C1) + theirs.square
    similarity /= denominator
    return similarity


def _symmetric_points(reference: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
    """NSIM at every point, exactly 1 where both are equal: operations pair up to cancel."""
    first, second = _smooth(reference * SIDE), _smooth(reconstruction * SIDE)
    squares = first * first, second * second
    product = first * second
    variances = (
        _smooth(patch * patch * SIDE) - square
        for patch, square in zip((reference, reconstruction), squares, strict=True)
    )
    covariance = _smooth(reference * reconstruction * SIDE) - product
    # A negative product of variances is rounding, and counts as zero.
    deviation = torch.mul(*variances).clamp_(min=0.0).sqrt_()
    intensity = (2.0 * product + C1) / (squares[0] + squares[1] + C1)
    return intensity * ((covariance + C3) / (deviation + C3))


def _smooth(scaled: torch.Tensor) -> torch.Tensor:
    """Local means of a bordered (bands + 2, frames + 2, …), given times SIDE, without border."""
    middle = scaled[1:-1]
    vertical = scaled[:-2] + scaled[2:]
    sides = torch.add(vertical, middle, alpha=SIDE / CORNER)
    centre = torch.add(vertical[:, 1:-1], middle[:, 1:-1], alpha=CENTRE / SIDE)
    return centre.add_(sides[:, :-2] + sides[:, 2:], alpha=CORNER / SIDE)
