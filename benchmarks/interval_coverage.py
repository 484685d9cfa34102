"""How often the intervals hold the truth: a simulation whose truth is known.

    python benchmarks/interval_coverage.py             writes benchmarks/interval_coverage.md

Clips in groups of equal and unequal sizes are drawn from a population, the intervals of rdbench are
taken, and it is counted how often they contain the population's value. The score of a clip is
√ρ times its group's effect plus √(1 − ρ) times its own, both of one shape and of variance 1.

The method was chosen on `DESIGNS`; `HELD_OUT` are other sizes, other shapes and other ρ; `BEYOND`
is where it no longer holds.
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


CORPORA = 16
"""Sets of clips' seconds that the samples of a design are made with."""


def heavy(groups: int, percent: float = 40) -> list[int]:
    """One group that holds so many percent of the clips, the others of one clip each."""
    return [round(percent / (100 - percent) * (groups - 1))] + [1] * (groups - 1)


SPEECH = [8, 4, 3] + [1] * 28
DESIGNS: dict[str, list[int]] = {
    "8 × 1": [1] * 8,
    "8 × 4": [4] * 8,
    "12 × 1": [1] * 12,
    "15 × 2, 10 × 1": [2] * 15 + [1] * 10,
    "50 × 2": [2] * 50,
    "200 × 1": [1] * 200,
    "8, 4, 3, 28 × 1 (speech)": SPEECH,
    "5, 2, 2, 15 × 1 (music)": [5, 2, 2] + [1] * 15,
    "40 % in one of 8": heavy(8),
    "40 % in one of 15": heavy(15),
    "40 % in one of 31": heavy(31),
    "40 % in one of 200": heavy(200),
    "20 % in one of 20": heavy(20, 20),
    "16, 8, 8, 4, 4, 2, 2, 1, 1": [16, 8, 8, 4, 4, 2, 2, 1, 1],
    "3 × 1": [1] * 3,
    "5 × 1": [1] * 5,
    "80 % in one of 20": heavy(20, 80),
}
HELD_OUT: dict[str, list[int]] = {
    "10 × 1": [1] * 10,
    "14 × 2": [2] * 14,
    "20 × 3": [3] * 20,
    "20 × 1, 20 × 2, 20 × 3": [1, 2, 3] * 20,
    "8, 4, 3, 28 × 1 (speech)": SPEECH,
    "9, 7, 5, 3, 14 × 1": [9, 7, 5, 3] + [1] * 14,
    "25 % in one of 12": heavy(12, 25),
    "35 % in one of 24": heavy(24, 35),
    "30 % in one of 80": heavy(80, 30),
    "50 % in one of 31": heavy(31, 50),
}


BEYOND: dict[str, list[int]] = {
    "8 × 4": [4] * 8,
    "10, 10, 10, 10, 8 × 1": [10] * 4 + [1] * 8,
    "20 × 2": [2] * 20,
    "8, 4, 3, 28 × 1 (speech)": SPEECH,
    "80 × 1": [1] * 80,
}


def lognormal(rng: np.random.Generator, size: tuple[int, ...], s: float = 0.6) -> np.ndarray:
    """Of skewness 2.3 and excess kurtosis 10.3; s: the deviation of the logarithms."""
    raw = rng.lognormal(0.0, s, size)
    return (raw - np.exp(s**2 / 2)) / np.sqrt((np.exp(s**2) - 1) * np.exp(s**2))


SHAPES: dict[str, Shape] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "lognormal": lognormal,
}
HELD_OUT_SHAPES: dict[str, Shape] = {
    "exponential": lambda rng, size: rng.standard_exponential(size) - 1,
    "t5": lambda rng, size: rng.standard_t(5, size) / np.sqrt(5 / 3),
    "lognormal": lognormal,
}
BEYOND_SHAPES: dict[str, Shape] = {
    "lognormal, σ = 1": lambda rng, size: lognormal(rng, size, 1.0),
    "one in ten": lambda rng, size: ((rng.random(size) < 0.1) - 0.1) / 0.3,
}


def corpora(rng: np.random.Generator, count: int, clips: int) -> np.ndarray:
    """Seconds of the clips of some corpora, (count, clips)."""
    return np.clip(5 + 1.5 * rng.standard_normal((count, clips)), 2, 10)


def clips(
    rng: np.random.Generator,
    shape: Shape,
    group: np.ndarray,
    within: float,
    seconds: np.ndarray,
) -> np.ndarray:
    """Everything that is measured: score, difference, bits, seconds, and the scores of the eleven
    points of two curves, (15, samples, clips). group: of each clip. seconds: (samples, clips).
    """
    size = seconds.shape
    groups = len(seconds), int(group.max()) + 1

    def effect() -> np.ndarray:
        own = np.sqrt(1 - within) * shape(rng, size)
        return own + np.sqrt(within) * shape(rng, groups)[:, group]

    hard, other = effect(), effect()
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
    rng, alone = np.random.default_rng(2**31), np.arange(AT_ONCE)
    total = np.zeros(15)
    for _ in range(TRUE_CLIPS // AT_ONCE):
        total += clips(rng, shape, alone, within, corpora(rng, 1, AT_ONCE)).sum(axis=(1, 2))
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
    lengths = corpora(rng, CORPORA, int(sizes.sum()))
    group = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum([0, *sizes[:-1]])
    held, given, left = np.zeros(4), np.zeros(4), samples
    while left:
        part = min(left, max(1, AT_ONCE // len(group)))
        sums = np.add.reduceat(
            clips(rng, shape, group, within, lengths[np.arange(part) % CORPORA]), starts, axis=2
        )
        for number, (low, high) in enumerate(ends(sums, sizes)):
            held[number] += ((low <= true[number]) & (true[number] <= high)).sum()
            given[number] += np.isfinite(low).sum()
        left -= part
    with np.errstate(invalid="ignore"):
        return np.where(given > 0, 100 * held / given, np.nan)


def table(
    designs: dict[str, list[int]],
    shapes: dict[str, Shape],
    common: tuple[float, ...],
    *,
    samples: int,
    seed: int,
    statistics: tuple[str, ...] = STATISTICS,
) -> tuple[list[str], list[float]]:
    """The lines of a table, and all coverages with enough groups that are given.

    common: the values of ρ; where every group is one clip, it has no meaning. statistics: the first
    ones of `STATISTICS`.
    """
    true = {(name, rho): truth(shape, rho) for name, shape in shapes.items() for rho in common}
    names = " | ".join(f"{shape}, {what}" for shape in shapes for what in statistics)
    lines = [f"| groups | ρ | {names} |", "|---|---:|" + "---:|" * len(shapes) * len(statistics)]
    enough = []
    for design, listed in designs.items():
        sizes = np.array(listed)
        for rho in common[:1] if sizes.max() == 1 else common:
            cells = []
            for name, shape in shapes.items():
                found = coverage(sizes, shape, rho, true[name, rho], samples=samples, seed=seed)
                found = found[: len(statistics)]
                cells += ["refused" if np.isnan(x) else f"{x:.1f}" for x in found]
                enough += [float(x) for x in found if len(sizes) >= ENOUGH and np.isfinite(x)]
            said = "–" if sizes.max() == 1 else f"{rho:g}"
            lines.append(f"| {design} | {said} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return lines, enough


def summary(what: str, enough: list[float]) -> str:
    """How many coverages are as they should be, and where the others lie."""
    inside = sum(LEAST <= round(x, 1) <= MOST for x in enough)
    return (
        f"{what}: with {ENOUGH} groups or more {inside} of {len(enough)} intervals that are given "
        f"hold the truth in {LEAST:g} … {MOST:g} %; all lie between {min(enough):.1f} and "
        f"{max(enough):.1f} %."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    asked = parser.parse_args()
    began = time.process_time()
    how = {"samples": asked.samples, "seed": asked.seed}
    tuned, of_tuned = table(DESIGNS, SHAPES, (0.0, 0.5, 0.9), **how)
    held_out, of_held_out = table(HELD_OUT, HELD_OUT_SHAPES, (0.3, 0.7), **how)
    # Rates would have no mean: theirs are exponentials of these.
    scores = STATISTICS[:2]
    beyond, of_beyond = table(BEYOND, BEYOND_SHAPES, (0.5, 1.0), statistics=scores, **how)
    error = 100 * np.sqrt(0.95 * 0.05 / asked.samples)
    lines = [
        "# Coverage of the 95 % intervals",
        "",
        "Made by `python benchmarks/interval_coverage.py`; do not edit.",
        "",
        f"{asked.samples:,} samples of each design, seed {asked.seed}: in how many percent the "
        "interval holds the population's value; the standard error of a coverage of 95 % is "
        f"{error:.1f}.",
        "Groups are given as their clips, ρ is the share of the variance that clips of one group "
        "have in common. A difference is that of two points on the same clips; rates and",
        "BD-rates are on the scale of logarithms. The method is that of "
        "`rdbench.analysis.stats.intervals`; a mean is over clips.",
        "",
        f"With fewer than {ENOUGH} groups an interval says that it may be too narrow. It is "
        "refused with two groups, and where groups are so unequal that no degrees of freedom",
        "hold normal scores in 93.5 … 96.5 % whatever clips of a group have in common "
        "(`rdbench.analysis.stats.freedom`).",
        "",
        "## Designs that the method was chosen on",
        "",
        "Lognormal effects have skewness 2.3 and excess kurtosis 10.3.",
        "",
        summary("Here", of_tuned),
        "",
        *tuned,
        "",
        "## Designs that it was not chosen on",
        "",
        "Other sizes, other ρ, and other shapes: exponential effects (skewness 2, excess kurtosis "
        "6) and Student's with five degrees of freedom (excess kurtosis 6).",
        "",
        summary("Here", of_held_out),
        "",
        *held_out,
        "",
        "## Where it ends",
        "",
        "Effects of skewness 6.2 and excess kurtosis 111 (lognormal, σ = 1), and of two values, "
        "the rarer in one of ten: what few groups do not show, no interval knows. Samples without",
        "any variation between groups are refused and not counted. All lie between "
        f"{min(of_beyond):.1f} and {max(of_beyond):.1f} %.",
        "",
        *beyond,
        "",
        f"Took {time.process_time() - began:.0f} CPU seconds.",
    ]
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
