"""False alarms and power of the gate's tests.

    python benchmarks/gate_power.py [--run RUN]        writes benchmarks/gate_power.md

False alarms: nothing has changed, and it is counted how often any test of a check rejects. Scores
of one system with two seeds are simulated (a clip's own level plus the seed's noise, of several
shapes, alike or not, correlated between tests or not, 8 to 40 clips, each a group of its own, or
groups as those of the speech corpus, half of whose variance clips of one group have in common); a
loss may also be skewed itself, as where a few clips break or, the worst case, a few gain what all
others lose; with --run, the paired differences between
neighbouring points of a real run are taken with random signs, one sign per group of clips. Power:
one test of many has a true fall, the others have none.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from rdbench.analysis.gate.losses import losses, moderated
from rdbench.analysis.paired import holm
from rdbench.analysis.stats.intervals import p_above

CLIPS, ALPHA = 40, 0.05
FALLS, DEVIATIONS, TESTS = (0.02, 0.05, 0.1, 0.2), (0.08, 0.16, 0.32), (1, 10, 50, 200)
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

COUNTS = (3, 9, 10, 50)
GROUPS = {
    "8 × 1": np.arange(8),
    "12 × 1": np.arange(12),
    f"{CLIPS} × 1": np.arange(CLIPS),
    "8, 4, 3, 28 × 1": np.repeat(np.arange(31), [8, 4, 3] + [1] * 28),
}
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "heavy-tailed (Student, 3 df)": lambda rng, size: rng.standard_t(3, size) / np.sqrt(3),
    "skewed (exponential)": lambda rng, size: rng.exponential(1, size) - 1,
}


def p_values(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """One-sided p of every test, as the gate takes them; values (tests, clips)."""
    found = losses(values, groups)
    return p_above(found.mean, moderated(found.spread))


def two_seeds(
    rng: np.random.Generator,
    shape: Draw,
    tests: int,
    groups: np.ndarray,
    *,
    alike: bool,
    correlated: bool,
) -> np.ndarray:
    """Losses between two decodes of one system, (tests, clips)."""
    clips, count = len(groups), int(groups.max()) + 1
    spread = 0.1 if alike else 0.1 * np.exp(0.7 * rng.standard_normal((tests, 1)))
    # Some clips vary more with the seed than others.
    spread = spread * np.exp(0.5 * rng.standard_normal(clips))

    def noise(rows: int) -> np.ndarray:
        own = shape(rng, (rows, clips))
        if count == clips:
            return own
        return np.sqrt(0.5) * own + np.sqrt(0.5) * shape(rng, (rows, count))[:, groups]

    def decode() -> np.ndarray:
        own = noise(tests)
        return np.sqrt(0.7) * noise(1) + np.sqrt(0.3) * own if correlated else own

    return spread * (decode() - decode())


def skewed(rng: np.random.Generator, tests: int, groups: np.ndarray, *, gains: bool) -> np.ndarray:
    """Losses of mean 0 and skewness 2, to either side or (`gains`) −2, (tests, clips)."""
    sign = np.where(np.arange(tests) % 2, 1.0, -1.0)[:, None]
    return (-1.0 if gains else sign) * SHAPES["skewed (exponential)"](rng, (tests, len(groups)))


def simulated_alarms(repetitions: int, seed: int) -> Iterator[str]:
    """Rows of the table of false alarms."""

    def share(draw: Callable[[], np.ndarray], groups: np.ndarray) -> str:
        alarms = sum((holm(p_values(draw(), groups)) <= ALPHA).any() for _ in range(repetitions))
        return f"{100 * alarms / repetitions:.1f}"

    for design, groups in GROUPS.items():
        for name, shape in SHAPES.items():
            for alike, correlated, tests in itertools.product((True, False), (False, True), COUNTS):
                rng = np.random.default_rng([seed, tests, alike, correlated])
                draw = partial(
                    two_seeds, rng, shape, tests, groups, alike=alike, correlated=correlated
                )
                yield (
                    f"| two seeds, {name} | {design} | {'alike' if alike else 'unlike'} | "
                    f"{'yes' if correlated else 'no'} | {tests} | {share(draw, groups)} |"
                )
        for gains, tests in itertools.product((False, True), COUNTS):
            rng = np.random.default_rng([seed, tests])
            draw = partial(skewed, rng, tests, groups, gains=gains)
            name = f"skewed losses, {'large gains on few clips' if gains else 'to either side'}"
            yield f"| {name} | {design} | alike | no | {tests} | {share(draw, groups)} |"


def real_alarms(folder: Path, repetitions: int, seed: int) -> Iterator[str]:
    """The same with the differences of a real run, signs drawn per group."""
    from rdbench.analysis.arrays import RESIDUAL_DELAY, by_domain
    from rdbench.analysis.runs import read_run

    run = read_run(folder)
    for scores in by_domain(run):
        blocks = []
        for (key, _), quantity in scores.metrics.items():
            if key == RESIDUAL_DELAY:
                continue
            neighbours = [
                (i, j) for i, j in pairwise(range(len(scores.points)))
                if scores.points[i].curve == scores.points[j].curve
            ]  # fmt: skip
            change = np.stack([quantity.values[i] - quantity.values[j] for i, j in neighbours])
            blocks.append(change[np.isfinite(change).any(axis=1)])
        rng = np.random.default_rng(seed)
        alarms = 0
        for _ in range(repetitions):
            signs = rng.choice([-1.0, 1.0], int(scores.groups.max()) + 1)[scores.groups]
            p = np.concatenate([p_values(signs * block, scores.groups) for block in blocks])
            alarms += bool((holm(p) <= ALPHA).any())
        tests = sum(map(len, blocks))
        yield (
            f"| signs flipped, {run.name}, {scores.domain} | its own | real | yes | {tests} | "
            f"{100 * alarms / repetitions:.1f} |"
        )


def power(tests: int, repetitions: int, seed: int) -> dict[tuple[float, float], float]:
    """How often a fall in one of `tests` is found, by (fall, deviation)."""
    rng = np.random.default_rng([seed, tests, 99])
    found = {(fall, sd): 0 for fall in FALLS for sd in DEVIATIONS}
    groups = np.arange(CLIPS)
    for _ in range(repetitions):
        made = losses(rng.standard_normal((tests, CLIPS)), groups)
        spread = moderated(made.spread)
        for fall, sd in found:
            mean = made.mean.copy()
            mean[0] += fall / sd
            p = p_above(mean, spread)
            found[fall, sd] += bool(holm(p)[0] <= ALPHA)
    return {place: count / repetitions for place, count in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--power-repetitions", type=int, default=5000)
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    asked = parser.parse_args()
    began = time.process_time()
    alarms = list(simulated_alarms(asked.repetitions, asked.seed))
    for folder in asked.run:
        alarms += real_alarms(folder, asked.repetitions, asked.seed)
    rows = []
    for tests in TESTS:
        found = power(tests, asked.power_repetitions, asked.seed)
        for sd in DEVIATIONS:
            cells = " | ".join(f"{100 * found[fall, sd]:.1f}" for fall in FALLS)
            rows.append(f"| {tests} | {sd:g} | {cells} |")
    errors = [100 * np.sqrt(0.05 * 0.95 / asked.repetitions), 50 / asked.power_repetitions**0.5]
    falls = " | ".join(f"{fall:g}" for fall in FALLS)
    lines = [
        "# False alarms and power of `rdbench check`",
        "",
        "Made by `python benchmarks/gate_power.py`; do not edit. One-sided tests on clips in the "
        f"groups that are named (for power {CLIPS} clips, each a group),",
        f"corrected together by Holm's method at {100 * ALPHA:g} %; seed {asked.seed}.",
        "",
        "## False alarms: any test rejects though nothing changed, %",
        "",
        f"{asked.repetitions:,} repetitions, standard error {errors[0]:.1f} at a rate of 5 %.",
        "",
        "| differences | groups | spread of the tests | correlated | tests | family-wise rate |",
        "|---|---|---|---|---:|---:|",
        *alarms,
        "",
        "## Power: the one test with a true fall is found, %",
        "",
        f"{asked.power_repetitions:,} repetitions, standard errors of at most {errors[1]:.1f}; "
        "the other tests have no fall.",
        "",
        f"| tests | paired standard deviation | fall {falls.replace('| ', '| fall ')} |",
        "|---:|---:|" + "---:|" * len(FALLS),
        *rows,
        "",
        f"Took {time.process_time() - began:.0f} CPU seconds.",
    ]
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
