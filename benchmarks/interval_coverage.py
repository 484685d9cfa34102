"""How often the intervals hold the truth: a simulation whose truth is known.

    python benchmarks/interval_coverage.py             writes benchmarks/interval_coverage.md

Clips in groups of equal and unequal sizes are drawn from a population, the intervals of rdbench are
taken, and it is counted how often they contain the population's value. The score of a clip is
√ρ times its group's effect plus √(1 − ρ) times its own, both of one shape and of variance 1.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rdbench.analysis.aggregate import ratio_intervals
from rdbench.analysis.curves.delta import curve, delta
from rdbench.analysis.stats.intervals import ENOUGH, intervals, spread

Shape = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

STATISTICS = ("mean", "difference", "rate", "BD-rate")
ANCHOR_KBPS = np.array([6.0, 8.0, 12.0, 16.0, 24.0, 32.0])
TEST_KBPS = np.array([3.0, 6.0, 9.0, 14.0, 20.0])
TRUE_CLIPS, AT_ONCE = 4_000_000, 400_000
LEAST, MOST = 93.0, 97.0


def heavy(groups: int) -> list[int]:
    """One group that holds 40 % of the clips, the others of one clip each."""
    return [round(0.4 / 0.6 * (groups - 1))] + [1] * (groups - 1)


DESIGNS: dict[str, list[int]] = {
    "8 × 1": [1] * 8,
    "8 × 4": [4] * 8,
    "12 × 1": [1] * 12,
    "15 × 2, 10 × 1": [2] * 15 + [1] * 10,
    "50 × 2": [2] * 50,
    "200 × 1": [1] * 200,
    "8, 4, 3, 28 × 1 (speech)": [8, 4, 3] + [1] * 28,
    "5, 2, 2, 15 × 1 (music)": [5, 2, 2] + [1] * 15,
    "40 % in one of 8": heavy(8),
    "40 % in one of 15": heavy(15),
    "40 % in one of 31": heavy(31),
    "40 % in one of 200": heavy(200),
    "3 × 1": [1] * 3,
    "5 × 1": [1] * 5,
    "80 % in one of 20": [76] + [1] * 19,
}


def lognormal(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Of skewness 2.3 and excess kurtosis 10.3."""
    s = 0.6
    raw = rng.lognormal(0.0, s, size)
    return (raw - np.exp(s**2 / 2)) / np.sqrt((np.exp(s**2) - 1) * np.exp(s**2))


SHAPES: dict[str, Shape] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "lognormal": lognormal,
}


def clips(
    rng: np.random.Generator, shape: Shape, group: np.ndarray, within: float, samples: int
) -> np.ndarray:
    """Everything that is measured: score, difference, bits, seconds, and the scores of the eleven
    points of two curves, (15, samples, clips). group: of each clip.
    """
    size = samples, len(group)
    groups = samples, int(group.max()) + 1

    def effect() -> np.ndarray:
        own = np.sqrt(1 - within) * shape(rng, size)
        return own + np.sqrt(within) * shape(rng, groups)[:, group]

    hard, other = effect(), effect()
    seconds = np.clip(5 + 1.5 * rng.standard_normal(size), 2, 10)
    points = []
    for kbps, half in ((ANCHOR_KBPS, 8.0), (TEST_KBPS, 6.0)):
        level = half * np.exp(0.3 * hard) * np.exp(0.08 * other)
        points += [1 + 3.6 / (1 + (level / rate) ** 1.3) + 0.1 * shape(rng, size) for rate in kbps]
    return np.stack([hard, 0.16 * other, seconds * 12 * np.exp(0.12 * effect()), seconds, *points])


def bd_rate(scores: np.ndarray) -> np.ndarray:
    """Mean scores at the points of both curves (11, columns) to differences of log10 rates."""
    columns = scores.shape[1]
    anchor, test = (
        curve(np.repeat(kbps[:, None], columns, 1), part)
        for kbps, part in ((ANCHOR_KBPS, scores[:6]), (TEST_KBPS, scores[6:]))
    )
    return delta(anchor, test, "pchip", "quality").value


def truth(shape: Shape, within: float) -> np.ndarray:
    """The population's values, from very many clips, each a group of its own."""
    rng = np.random.default_rng(2**31)
    total = np.zeros(15)
    for _ in range(TRUE_CLIPS // AT_ONCE):
        total += clips(rng, shape, np.arange(AT_ONCE), within, 1).sum(axis=(1, 2))
    mean = total / (TRUE_CLIPS // AT_ONCE * AT_ONCE)
    return np.array([0.0, 0.0, mean[2] / mean[3], bd_rate(mean[4:, None])[0]])


def ends(sums: np.ndarray, sizes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Low and high (samples,) of the four statistics; sums: (15, samples, groups)."""
    _, samples, groups = sums.shape
    total = sums.sum(axis=2, keepdims=True)
    counts = np.concatenate([[sizes.sum()], sizes.sum() - sizes])
    means = np.concatenate([total, total - sums], axis=2) / counts
    share = sizes / sizes.sum()

    def of(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made = intervals(found[:, 0], spread(found[:, 0], found[:, 1:], share))
        return made.low, made.high

    yield of(means[0])
    yield of(means[1])
    rate = ratio_intervals(sums[2], sums[3], logarithmic=np.ones(samples, dtype=bool))
    yield rate["low"], rate["high"]
    yield of(bd_rate(means[4:].reshape(11, -1)).reshape(samples, 1 + groups))


def coverage(
    sizes: np.ndarray, shape: Shape, within: float, true: np.ndarray, *, samples: int, seed: int
) -> np.ndarray:
    """In percent, how often each statistic's interval holds the truth, NaN where it is refused."""
    rng = np.random.default_rng([seed, len(sizes), int(sizes.sum()), round(10 * within)])
    group = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum([0, *sizes[:-1]])
    held, given, left = np.zeros(4), np.zeros(4), samples
    while left:
        part = min(left, max(1, AT_ONCE // len(group)))
        sums = np.add.reduceat(clips(rng, shape, group, within, part), starts, axis=2)
        for number, (low, high) in enumerate(ends(sums, sizes)):
            held[number] += ((low <= true[number]) & (true[number] <= high)).sum()
            given[number] += np.isfinite(low).sum()
        left -= part
    with np.errstate(invalid="ignore"):
        return np.where(given > 0, 100 * held / given, np.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    asked = parser.parse_args()
    began = time.process_time()
    true = {
        (name, within): truth(shape, within)
        for name, shape in SHAPES.items()
        for within in (0.0, 0.5, 0.9)
    }
    rows, enough = [], []
    for design, listed in DESIGNS.items():
        sizes = np.array(listed)
        # Where every group is one clip, ρ has no meaning.
        for within in (0.0,) if sizes.max() == 1 else (0.0, 0.5, 0.9):
            cells = []
            for name, shape in SHAPES.items():
                found = coverage(
                    sizes, shape, within, true[name, within], samples=asked.samples, seed=asked.seed
                )
                cells += ["refused" if np.isnan(x) else f"{x:.1f}" for x in found]
                enough += [float(x) for x in found if len(sizes) >= ENOUGH and np.isfinite(x)]
            rho = "–" if sizes.max() == 1 else f"{within:g}"
            rows.append(f"| {design} | {rho} | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    error = 100 * np.sqrt(0.95 * 0.05 / asked.samples)
    inside = sum(LEAST <= x <= MOST for x in enough)
    names = " | ".join(f"{shape}, {what}" for shape in SHAPES for what in STATISTICS)
    lines = [
        "# Coverage of the 95 % intervals",
        "",
        "Made by `python benchmarks/interval_coverage.py`; do not edit.",
        "",
        f"{asked.samples:,} samples of each design, seed {asked.seed}: in how many percent the "
        "interval holds the population's value; the standard error",
        f"of a coverage of 95 % is {error:.1f}. Groups are given as their clips, ρ is the share of "
        "the variance that clips of one group have in common. Lognormal",
        "effects have skewness 2.3 and excess kurtosis 10.3. A difference is that of two points on "
        "the same clips; rates and BD-rates are on the scale of logarithms.",
        "The method is that of `rdbench.analysis.stats.intervals`; a mean is over clips.",
        "",
        f"With {ENOUGH} groups or more {inside} of {len(enough)} intervals that are given hold the "
        f"truth in {LEAST:g} … {MOST:g} %; the others lie between {min(enough):.1f} and "
        f"{max(enough):.1f} %.",
        "With fewer the interval says that it may be too narrow, and with less than two degrees of "
        "freedom it is refused.",
        "",
        f"| groups | ρ | {names} |",
        "|---|---:|" + "---:|" * (len(SHAPES) * len(STATISTICS)),
        *rows,
        "",
        f"Took {time.process_time() - began:.0f} CPU seconds.",
    ]
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
