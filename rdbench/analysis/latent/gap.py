"""The gap between reconstruction and generation, in its two terms.

A decoder is trained on encoded latents and given predicted ones. With D(·) the score of what is
decoded of the mean μ, of a sample s and of a prediction ẑ,

    D(μ) − D(ẑ) = [D(μ) − D(s)] + [D(s) − D(ẑ)]

the first term is what the posterior's noise costs, the second what the generator does. Each is
paired over the clips that have all three, and positive where it is a loss, whether higher scores
are better or lower ones. The gain of a projection is D(project ẑ) − D(ẑ), positive where it helps.

Over several seeds of a generator D(ẑ) is their mean. Three seeds or more are a source of
uncertainty beside the groups of clips; of two the deviation alone is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import DomainScores, by_domain
from rdbench.analysis.curves.measured import chosen_metrics
from rdbench.analysis.latent.decoded import MEAN, PREDICTED, SAMPLE, with_seeds
from rdbench.analysis.paired import holm
from rdbench.analysis.stats.intervals import ENOUGH, FEW, p_two_sided
from rdbench.analysis.stats.leave_one_out import columns_of, means

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from rdbench.analysis.runs import Run
    from rdbench.analysis.stats.leave_one_out import Columns

    Flags = npt.NDArray[np.bool_]

POSTERIOR, GENERATOR, TOTAL, GAIN = "posterior", "generator", "total", "gain of "
TERMS = {POSTERIOR: (MEAN, SAMPLE), GENERATOR: (SAMPLE, PREDICTED), TOTAL: (MEAN, PREDICTED)}
GAP_COLUMNS = [
    "domain", "key", "backend", "better", "unit", "system", "point", "term", "variant",
    "reference_variant", "value", "reference_value", "difference", "low", "high", "p", "p_holm",
    "n_clips", "n_groups", "n_seeds", "deviation", "note", "reason",
]  # fmt: skip
_ENOUGH_SEEDS = 3


def gap_table(
    run: Run, *, metrics: Sequence[str] | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """One row for each term of each point with predictions and metric; columns `GAP_COLUMNS`.

    term: "posterior", "generator" and "total", of points that have a mean and a sample too, and
    "gain of …" for each projection. difference, low, high: in the metric's unit, positive as the
    module says. value, reference_value: the means of `variant` and `reference_variant`. deviation:
    of the difference over the generator's seeds, NaN for one. p_holm: over all rows of the table.
    A metric of sets is told of the first seed. NaN and a reason where there is nothing to compare.

    Raises RdbenchError for a metric that the run has not.
    """
    import pandas as pd

    run = with_seeds(run)
    rows: list[dict[str, Any]] = []
    for scores in by_domain(run):
        for metric in chosen_metrics(scores, metrics):
            better = run.direction(metric[0])
            for (system, point), found in _points(scores).items():
                for made in _Gap(scores, metric, found, better, confidence).terms():
                    rows.append(
                        {
                            "domain": scores.domain, "key": metric[0], "backend": metric[1],
                            "better": better, "unit": scores.metrics[metric].unit,
                            "system": system, "point": point,
                        } | made
                    )  # fmt: skip
    table = pd.DataFrame(rows, columns=GAP_COLUMNS)
    table["p_holm"] = holm(table["p"].to_numpy(float))
    return table


def _points(scores: DomainScores) -> dict[tuple[str, str], dict[str, list[int]]]:
    """Points with predictions; the number of each variant by seed, of predictions the seeds that
    all of them have. (A run that was interrupted may lack some.)
    """
    found: dict[tuple[str, str], dict[str, dict[str, int]]] = {}
    for index, key in enumerate(scores.points):
        of = scores.card(index).of or key.variant
        seed = key.variant.removeprefix(of)
        found.setdefault((key.system, key.point), {}).setdefault(of, {})[seed] = index
    points = {}
    for point, variants in found.items():
        if PREDICTED in variants:
            several = [set(v) for name, v in variants.items() if name.startswith(PREDICTED)]
            common = sorted(set.intersection(*several))
            points[point] = {
                name: [seeds[one] for one in common if one in seeds] or list(seeds.values())[:1]
                for name, seeds in variants.items()
            }
    return points


@dataclass(frozen=True)
class _Gap:
    """Of one metric at one point; variants: the points that each has, by seed."""

    scores: DomainScores
    metric: tuple[str, str]
    variants: Mapping[str, list[int]]
    better: str
    confidence: float

    def terms(self) -> Iterator[dict[str, Any]]:
        """The terms, and the gain of each projection."""
        predicted = self._seeds(PREDICTED)
        if MEAN in self.variants and SAMPLE in self.variants:
            together = [*self._seeds(MEAN), *self._seeds(SAMPLE), *predicted]
            for term, pair in TERMS.items():
                yield self._term(term, pair, together)
        for name in self.variants:
            if name.startswith(f"{PREDICTED}_"):
                term = f"{GAIN}{name.removeprefix(f'{PREDICTED}_')}"
                yield self._term(term, (name, PREDICTED), [*self._seeds(name), *predicted])

    def _seeds(self, variant: str) -> list[int]:
        """Of a sample, and of sets of clips, the first: the others are no partners of anything."""
        found = self.variants[variant]
        several = variant.startswith(PREDICTED) and self.scores.metrics[self.metric].sets is None
        return found if several else found[:1]

    def _term(self, term: str, pair: tuple[str, str], together: Sequence[int]) -> dict[str, Any]:
        """The first of a pair less the second, over the clips that all of `together` have."""
        quantity = self.scores.metrics[self.metric]
        chosen: Flags = np.all(np.isfinite(quantity.values[list(together)]), axis=0)
        answer: dict[str, Any] = dict.fromkeys(
            ("value", "reference_value", "difference", "low", "high", "p", "deviation"), np.nan
        )
        answer |= {"term": term, "variant": pair[0], "reference_variant": pair[1]}
        answer |= {"n_clips": int(chosen.sum()), "n_groups": 0, "note": "", "reason": ""}
        answer["n_seeds"] = max(len(self._seeds(name)) for name in pair)
        if not chosen.any():
            return answer | {"reason": "refused: no clip has a score of all that is compared"}
        if not quantity.same_set(together, chosen):
            return answer | {"reason": "refused: the values are not of the same clips"}
        first, second = (
            means(self.scores, self._seeds(name), self.metric, chosen) for name in pair
        )  # each (seeds, columns)
        sign = 1.0 if self.better == "higher" else -1.0
        each = sign * (first - second)  # a variant without seeds is the partner of every seed
        columns, found = columns_of(self.scores, chosen, self.metric[0]), each.mean(axis=0)
        count = len(each)
        if count >= _ENOUGH_SEEDS and columns.listeners is None:
            without = (each[:, 0].sum() - each[:, 0]) / (count - 1)
            columns = replace(columns, listeners=np.full(count, 1 / count))
            found = np.concatenate([found, without])
        values = (quantity.values[self._seeds(name)][:, chosen] for name in pair)
        alike = bool(np.equal(*values).all())  # no draw of clips would make them differ
        made = columns.interval(found[None], certain=alike, confidence=self.confidence)
        return answer | {
            "value": first[:, 0].mean(), "reference_value": second[:, 0].mean(),
            "difference": found[0], "low": made.low[0], "high": made.high[0],
            "note": _note(made.notes[0], columns, count), "n_groups": len(columns.groups),
            "p": float(p_two_sided(found[:1], columns.spread(found[None]))[0]),
            "deviation": float(each[:, 0].std(ddof=1)) if count > 1 else np.nan,
        }  # fmt: skip


def _note(note: str, columns: Columns, seeds: int) -> str:
    """What is said of an interval; it counts seeds as it does groups, and the fewer of both."""
    if note == FEW and len(columns.groups) >= ENOUGH:
        return f"{seeds} seeds of the generator: the interval may be too narrow"
    return note
