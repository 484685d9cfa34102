"""How often the intervals hold the truth: a simulation whose truth is known.

    python benchmarks/interval_coverage.py             writes benchmarks/interval_coverage.md

40 clips in 25 groups are drawn from a population, the intervals of rdbench are taken, and it is
counted how often they contain the population's value. The scores of a clip are a group's effect
plus its own, of equal variance; the shapes are given with their skewness and excess kurtosis.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rdbench.analysis.curves.delta import Curve, curve, delta
from rdbench.analysis.stats.intervals import Factor, influences, intervals
from rdbench.resampling import resample_weights

GROUPS, SIZES = 25, np.array([2] * 15 + [1] * 10)
METHODS = ("studentised", "bca", "percentile")
STATISTICS = ("mean score", "paired difference", "rate", "BD-rate", "BD-quality")
ANCHOR_KBPS = np.array([6.0, 8.0, 12.0, 16.0, 24.0, 32.0])
TEST_KBPS = np.array([3.0, 6.0, 9.0, 14.0, 20.0])


def exponential(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.exponential(1.0, size) - 1.0


def student(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.standard_t(5, size) / np.sqrt(5 / 3)


def lognormal(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    s = 0.6
    raw = rng.lognormal(0.0, s, size)
    return (raw - np.exp(s**2 / 2)) / np.sqrt((np.exp(s**2) - 1) * np.exp(s**2))


SHAPES: dict[str, tuple[Callable[[np.random.Generator, tuple[int, ...]], np.ndarray], str]] = {
    "normal": (lambda rng, size: rng.standard_normal(size), "0, 0"),
    "skewed (exponential)": (exponential, "2, 6"),
    "heavy-tailed (Student, 5 df)": (student, "0, 6"),
    "skewed and heavy-tailed (lognormal, σ 0.6)": (lognormal, "2.3, 10.3"),
}


def draw(
    rng: np.random.Generator, shape: Callable[..., np.ndarray], groups: int, sizes: np.ndarray
) -> dict[str, np.ndarray]:
    """Sums per group of everything that is measured, (…, groups)."""
    where = np.repeat(np.arange(groups), sizes)
    clips = len(where)

    def effect(share: float = 0.5) -> np.ndarray:
        mixed = np.sqrt(share) * shape(rng, (groups,))[where]
        return mixed + np.sqrt(1 - share) * shape(rng, (clips,))

    hard, other = effect(), effect()
    seconds = np.clip(5 + 1.5 * rng.standard_normal(clips), 2, 10)
    bits = seconds * 12 * np.exp(0.12 * effect())
    points = []
    for kbps, half in ((ANCHOR_KBPS, 8.0), (TEST_KBPS, 6.0)):
        level = half * np.exp(0.3 * hard) * np.exp(0.08 * other)
        points.append(1 + 3.6 / (1 + (level / kbps[:, None]) ** 1.3))
    scores = np.concatenate(points) + 0.1 * shape(rng, (11, clips))
    everything = np.concatenate([np.stack([hard, 0.16 * other, bits, seconds]), scores])
    sums = np.zeros((len(everything), groups))
    np.add.at(sums.T, where, everything.T)
    return {"sums": sums, "sizes": sizes.astype(float)}


def statistics(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The five statistics from weighted sums (quantities, resamples); (statistics, resamples)."""
    mean = sums / counts
    anchor: Curve = curve(np.repeat(ANCHOR_KBPS[:, None], mean.shape[1], 1), mean[4:10])
    test: Curve = curve(np.repeat(TEST_KBPS[:, None], mean.shape[1], 1), mean[10:15])
    return np.stack([
        mean[0], mean[1], np.log10(sums[2] / sums[3]),
        delta(anchor, test, "pchip", "quality").value,
        delta(anchor, test, "pchip", "rate").value,
    ])  # fmt: skip


def truth(shape: Callable[..., np.ndarray], groups: int = 2_000_000) -> np.ndarray:
    """The population's values, from a very large sample drawn in the proportion of the small."""
    rng = np.random.default_rng(2**31)
    total, count = np.zeros(15), 0.0
    for _ in range(groups // 50_000):
        sizes = np.tile(SIZES, 50_000 // GROUPS)
        part = draw(rng, shape, len(sizes), sizes)
        total, count = total + part["sums"].sum(axis=1), count + sizes.sum()
    total[:2] = 0.0  # known exactly
    return statistics(total[:, None], np.array([count]))[:, 0]


def coverage(
    name: str, *, repetitions: int, resamples: int, seed: int
) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Per statistic and method: share that contains the truth, and misses below and above it."""
    shape = SHAPES[name][0]
    true = truth(shape)
    rng = np.random.default_rng([seed, len(name)])
    misses = np.zeros((len(METHODS), len(STATISTICS), 2))
    for repetition in range(repetitions):
        sample = draw(rng, shape, GROUPS, SIZES)
        sums, sizes = sample["sums"], sample["sizes"]
        weights = resample_weights(GROUPS, resamples=resamples, seed=[seed, repetition])
        everyone = np.vstack([np.ones(GROUPS), 1 - np.eye(GROUPS), weights])
        found = statistics(sums @ everyone.T, sizes @ everyone.T)
        value, left_out, drawn = np.split(found, [1, GROUPS + 1], axis=1)
        factor = Factor(weights, influences(left_out))
        for row, method in enumerate(METHODS):
            ends = intervals(value[:, 0], drawn, [factor], method=method)
            misses[row, :, 0] += true < ends.low
            misses[row, :, 1] += true > ends.high
    share = misses / repetitions
    return {
        (statistic, method): (1 - share[m, s].sum(), share[m, s, 0], share[m, s, 1])
        for m, method in enumerate(METHODS)
        for s, statistic in enumerate(STATISTICS)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    asked = parser.parse_args()
    began = time.process_time()
    rows = []
    for name in SHAPES:
        found = coverage(
            name, repetitions=asked.repetitions, resamples=asked.resamples, seed=asked.seed
        )
        for statistic in STATISTICS:
            cells = [found[statistic, method] for method in METHODS]
            text = " | ".join(f"{100 * c:.1f} ({100 * a:.1f} / {100 * b:.1f})" for c, a, b in cells)
            rows.append(f"| {name} | {SHAPES[name][1]} | {statistic} | {text} |")
            print(rows[-1], flush=True)
    error = 100 * np.sqrt(0.95 * 0.05 / asked.repetitions)
    lines = [
        "# Coverage of the 95 % intervals",
        "",
        "Made by `python benchmarks/interval_coverage.py`; do not edit.",
        "",
        f"{asked.repetitions:,} samples of 40 clips in 25 groups per shape, {asked.resamples:,} "
        f"resamples each, seed {asked.seed}. In percent: how often the interval holds the truth",
        "(how often the truth lies below / above it). Standard error of a coverage of 95 %: "
        f"{error:.1f}.",
        "rdbench compares with the studentised interval; the others are shown for reference.",
        "Rates, like BD-rates, are taken on the scale of logarithms.",
        "",
        f"| shape of the scores | skewness, excess kurtosis | statistic | {' | '.join(METHODS)} |",
        "|---|---|---|" + "---|" * len(METHODS),
        *rows,
        "",
        f"Took {time.process_time() - began:.0f} CPU seconds.",
    ]
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
