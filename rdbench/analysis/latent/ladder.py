"""The prior ladder: bits that a generator must model, under priors that know ever more.

    R(p) = f_r · E[ln q(z|x) − ln p(z)] / ln 2

What falls away from one rung to the next is what a generator of that kind learns of the latent;
what stays under the last is what it must store. A fitted prior pays for what other clips do not
tell of these, so that a rung may lie above the one before by a little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.aggregate import ratio_intervals
from rdbench.analysis.arrays import DomainScores, by_domain
from rdbench.analysis.latent.decoded import LATENT, DecodedLatent, decoded_latents
from rdbench.types import KL_PRIOR, RateKind

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from rdbench.analysis.runs import Run

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

RUNGS = (
    KL_PRIOR, "Gaussian prior", "full-covariance Gaussian", "AR(4) Gaussian", "flow-matching probe",
)  # fmt: skip
"""How models of rates begin, the one that knows least first."""
LADDER_COLUMNS = [
    *LATENT, "rung", "model", "kbps", "low", "high", "falls", "falls_low", "falls_high",
    "n_clips", "n_groups", "note",
]  # fmt: skip


def prior_of(model: str) -> str:
    """The prior that the model of a rate names, without what it was fitted on.

    >>> prior_of("AR(4) Gaussian, fit 1a2b3c4d"), prior_of("N(0, I)")
    ('AR(4) Gaussian', 'N(0, I)')
    """
    return model.rpartition(", fit ")[0] or model


def ladder_table(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """One row for each rung of each latent; columns `LADDER_COLUMNS`.

    kbps, low, high: over the clips that have all rungs. falls: kbps less than on the rung before,
    paired over clips; NaN on the first. A latent without a KL has no rows.
    """
    import pandas as pd

    rows = [
        row
        for scores in by_domain(run)
        for latent in decoded_latents(scores)
        for row in _rungs(scores, latent, confidence)
    ]
    return pd.DataFrame(rows, columns=LADDER_COLUMNS)


def _rungs(scores: DomainScores, latent: DecodedLatent, confidence: float) -> list[dict[str, Any]]:
    found = _bits(scores, latent)
    if not found:
        return []
    bits = np.stack([values for _, _, values in found])
    chosen: Flags = np.all(np.isfinite(bits), axis=0)
    if not chosen.any():
        return []
    seconds = scores.group_sums(np.nanmax(scores.seconds, axis=0), chosen)
    over = scores.group_sums(bits / 1000, chosen)
    less = np.concatenate([np.full((1, over.shape[1]), np.nan), over[:-1] - over[1:]])
    under = np.broadcast_to(seconds, over.shape)
    kbps, falls = (
        ratio_intervals(
            totals, under, logarithmic=np.full(len(over), rate), confidence=confidence
        )
        for totals, rate in ((over, True), (less, False))
    )  # fmt: skip
    return [
        {
            "domain": scores.domain, "system": latent.system, "curve": latent.curve,
            "point": latent.point, "rung": rung, "model": model, "kbps": kbps["value"][i],
            "low": kbps["low"][i], "high": kbps["high"][i], "falls": falls["value"][i],
            "falls_low": falls["low"][i], "falls_high": falls["high"][i],
            "n_clips": int(chosen.sum()), "n_groups": over.shape[1], "note": kbps["note"][i],
        }
        for i, (rung, model, _) in enumerate(found)
    ]  # fmt: skip


def _bits(scores: DomainScores, latent: DecodedLatent) -> list[tuple[str, str, Array]]:
    """Rung, model and bits per clip, of the variant that has them; as far as they were counted."""
    found = []
    for rung in RUNGS:
        for (kind, model), rate in scores.rates.items():
            if kind != RateKind.KL or prior_of(model) != rung:
                continue
            values = rate.values[list(latent.variants.values())]
            counted = np.isfinite(values).any(axis=1)
            if counted.any():
                found.append((rung, model, values[int(np.argmax(counted))]))
                break
    return found
