"""The matched patches of a clip, and the features that a mapping sees of them.

Over the patches p of a clip, with μ_p the mean similarity of a band, σ_p its standard deviation and
n_p the frames in the patch, the features of a band are the mean of μ_p, the mean of the lowest
tenth of them (one at least), the mean of the reconstruction's level, and the pooled deviation

    sqrt( (Σ_p (n_p − 1) σ_p² + n_p μ_p² − μ² Σ_p n_p) / (Σ_p n_p − 1) ),  n_p = ⌈seconds / 20 ms⌉.

Source: Chinen et al. 2020; as in visqol-python 3.8.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdbench.metrics.perceptual.visqol_torch import mapping, nsim, refinement
from rdbench.metrics.perceptual.visqol_torch.modes import Mode

ROUNDING = 1e-11  # difference of similarities that the reference's own rounding can turn


@dataclass
class Pairs:
    """The matched patches of one row.

    bands, spread, level: (patches, bands), see `nsim.Similarity`. offsets: frames at which the
    matches start. lost: patches without a match. begins, seconds: where the patches of the
    reference begin and how long they last. undecided: whether rounding decided on a refinement.
    """

    bands: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    lost: npt.NDArray[np.bool_]
    begins: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    undecided: bool = False

    @classmethod
    def of(
        cls,
        similarity: nsim.Similarity,
        starts: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        lost: npt.NDArray[np.bool_],
        mode: Mode,
    ) -> Pairs:
        """Pairs whose patches of the reference begin at the frames `starts`."""
        begins = starts.astype(np.float64) * mode.frame_seconds
        # The end less the beginning, not the duration: rounding decides on the count of frames.
        seconds = (begins + mode.patch_seconds) - begins
        bands = np.where(lost[:, None], 0.0, similarity.bands)
        spread, level_ = similarity.spread.copy(), similarity.level.copy()
        return cls(bands, spread, level_, offsets, lost, begins, seconds)

    def improve(
        self, patch: int, refined: refinement.Refined, mode: Mode, *, unscaled: bool
    ) -> None:
        """Takes the refined similarity of a patch where it is not smaller.

        Rounding does not decide between two silent patches, nor where the reconstruction is
        `unscaled` and equals the reference.
        """
        new, old = float(refined.bands.mean()), float(self.bands[patch].mean())
        exact = new == old == 1.0 and (unscaled or not refined.level.any())
        self.undecided |= abs(new - old) < ROUNDING and not exact
        if new < old:
            return
        self.bands[patch] = refined.bands
        self.spread[patch] = refined.spread
        self.level[patch] = refined.level
        begin = float(self.begins[patch]) + max(refined.lag, 0) / mode.rate
        self.seconds[patch] = (begin + refined.samples / mode.rate) - begin

    def features(self, frame_seconds: float) -> mapping.Features:
        """What the mapping sees; the spread is pooled over the patches by their frames."""
        count = len(self.bands)
        mean = self.bands.mean(axis=0)
        worst = np.sort(self.bands, axis=0)[: max(1, int(count * 0.1))].mean(axis=0)
        frames = np.ceil(self.seconds / frame_seconds)[:, None]
        total = float(frames.sum())
        squares = ((frames - 1.0) * self.spread**2 + frames * self.bands**2).sum(axis=0)
        variance = (squares - mean**2 * total) / max(total - 1.0, 1.0)
        return mapping.Features(
            mean, worst, np.sqrt(np.maximum(variance, 0.0)), self.level.mean(axis=0)
        )
