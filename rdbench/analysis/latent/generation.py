"""Rate against generation: what a decoder makes of a sample and of what a generator predicted.

A sweep (the points of a curve) is best for reconstruction at one rate and for generation perhaps at
another. Which one is best is a choice among few points, so its uncertainty is told as shares: of
draws of the groups of clips, and of the generator's seeds of each point, in how many is each best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import DomainScores, by_domain
from rdbench.analysis.curves.measured import chosen_metrics
from rdbench.analysis.latent.decoded import (
    PREDICTED,
    SAMPLE,
    DecodedLatent,
    decoded_latents,
    with_seeds,
)
from rdbench.analysis.stats.leave_one_out import Sampling, columns_of, drawn, means
from rdbench.types import KL_PRIOR, RateKind

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from rdbench.analysis.runs import Run

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

GENERATION_COLUMNS = [
    "domain", "key", "backend", "better", "unit", "curve", "system", "point", "kbps", "decoded",
    "value", "low", "high", "least", "most", "deviation", "n_seeds", "n_clips", "n_groups", "best",
    "share", "note",
]  # fmt: skip
RATE = (RateKind.KL.value, KL_PRIOR)
_SEEDS = 104_729
"""The seed of the draws of a generator's seeds, beside that of the draws of clips."""


def generation_table(run: Run, *, sampling: Sampling | None = None) -> pd.DataFrame:
    """Samples and predictions of each sweep by rate; columns `GENERATION_COLUMNS`.

    Of points that have both and a rate to N(0, I). decoded: "sample" or "predicted". kbps, value
    (of predictions the mean over seeds), low, high: over the clips that all points of the curve
    have, with intervals over groups. least, most, deviation: over seeds. best: whether no other
    point of the curve is better; share: in which part of the draws.
    """
    import pandas as pd

    sampling = sampling or Sampling()
    whole = with_seeds(run)
    rows: list[dict[str, Any]] = []
    for scores in by_domain(whole):
        sweeps = _sweeps(scores)
        for metric in chosen_metrics(scores, None):
            head = {
                "domain": scores.domain, "key": metric[0], "backend": metric[1],
                "better": run.direction(metric[0]), "unit": scores.metrics[metric].unit,
            }  # fmt: skip
            for sweep in sweeps:
                made = _Sweep(scores, metric, sweep, head["better"] == "higher", sampling).rows()
                rows += [head | row for row in made]
    return pd.DataFrame(rows, columns=GENERATION_COLUMNS)


def _sweeps(scores: DomainScores) -> list[list[DecodedLatent]]:
    """The latents of each curve that have a rate, samples and predictions."""
    found: dict[str, list[DecodedLatent]] = {}
    rates = scores.rates.get(RATE)
    for latent in decoded_latents(scores):
        if rates is None or not {SAMPLE, PREDICTED} <= set(latent.variants):
            continue
        if np.isfinite(rates.values[latent.variants[SAMPLE]]).any():
            found.setdefault(latent.curve, []).append(latent)
    return list(found.values())


@dataclass(frozen=True)
class _Sweep:
    """One metric of one curve; higher: whether higher scores are better."""

    scores: DomainScores
    metric: tuple[str, str]
    latents: Sequence[DecodedLatent]
    higher: bool
    sampling: Sampling

    def rows(self) -> list[dict[str, Any]]:
        """Samples of all points, then predictions."""
        together = [i for one in self.latents for what in (SAMPLE, PREDICTED)
                    for i in self._seeds(one, what)]  # fmt: skip
        values = self.scores.metrics[self.metric]
        rates = self.scores.rates[RATE].values[[one.variants[SAMPLE] for one in self.latents]]
        both = np.concatenate([values.values[together], rates])
        chosen: Flags = np.all(np.isfinite(both), axis=0)
        if not chosen.any() or not values.same_set(together, chosen):
            return []
        return [row for what in (SAMPLE, PREDICTED) for row in self._of(what, chosen)]

    def _of(self, what: str, chosen: Flags) -> list[dict[str, Any]]:
        shares = self._shares(what, chosen)
        columns = columns_of(self.scores, chosen, self.metric[0])
        rows = []
        for latent, share in zip(self.latents, shares, strict=True):
            found = means(self.scores, self._seeds(latent, what), self.metric, chosen)
            made = columns.interval(
                found.mean(axis=0, keepdims=True), confidence=self.sampling.confidence
            )
            one, count = latent.variants[SAMPLE], len(found)
            bits = self.scores.rates[RATE].values[one, chosen].sum()
            rows.append(
                {
                    "curve": latent.curve, "system": latent.system, "point": latent.point,
                    "kbps": bits / self.scores.seconds[one, chosen].sum() / 1000, "decoded": what,
                    "value": found[:, 0].mean(), "low": made.low[0], "high": made.high[0],
                    "least": found[:, 0].min(), "most": found[:, 0].max(),
                    "deviation": found[:, 0].std(ddof=1) if count > 1 else np.nan,
                    "n_seeds": count, "n_clips": int(chosen.sum()),
                    "n_groups": len(columns.groups), "share": share, "note": made.notes[0],
                }
            )  # fmt: skip
        best = _best(np.array([[row["value"]] for row in rows]), self.higher)[0]
        return [row | {"best": number == best} for number, row in enumerate(rows)]

    def _shares(self, what: str, chosen: Flags) -> Array:
        """Of the draws, in which part each point is the best one, (points,)."""
        draws = [
            self._drawn(self._seeds(latent, what), number, chosen)
            for number, latent in enumerate(self.latents)
        ]
        best = _best(np.stack(draws), self.higher)
        return np.bincount(best, minlength=len(draws)) / max(1, len(best))

    def _drawn(self, seeds: Sequence[int], number: int, chosen: Flags) -> Array:
        """The mean over drawn seeds in each draw of the groups, (draws,)."""
        found, _ = drawn(
            self.scores, seeds, self.metric, RATE, chosen, sampling=self.sampling
        )  # (seeds, draws)
        count, draws = found.shape
        generator = np.random.default_rng([self.sampling.seed, _SEEDS, number])
        weights = generator.multinomial(count, np.full(count, 1 / count), size=draws).T / count
        mean: Array = (found * weights).sum(axis=0)
        return mean

    def _seeds(self, latent: DecodedLatent, what: str) -> list[int]:
        """All seeds of a prediction, of a set metric and of a sample the first."""
        several = what == PREDICTED and self.scores.metrics[self.metric].sets is None
        return [i for name, i in latent.variants.items()
                if name == what or (several and self._of_name(i) == what)]  # fmt: skip

    def _of_name(self, index: int) -> str:
        return self.scores.card(index).of


def _best(values: Array, higher: bool) -> npt.NDArray[np.intp]:
    """Which point is best in each draw; values (points, draws), without a value never."""
    worst = -np.inf if higher else np.inf
    filled = np.where(np.isfinite(values), values, worst)
    return np.asarray(filled.argmax(axis=0) if higher else filled.argmin(axis=0))
