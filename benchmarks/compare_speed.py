"""How long comparisons take: 20 systems × 10 metrics × 500 clips under 2,000 resamples.

    python benchmarks/compare_speed.py           prints the table and writes compare_speed.md

Four curves of five systems, 500 clips in 250 groups; scores come from formulas, since only their
number matters here. `compare` is BD-rates, BD-quality and paired differences against one curve;
`check` is the command, start of Python included. The goals are 10 s and 5 s on two cores.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rdbench.analysis.curves.bd_rate import bd_table
from rdbench.analysis.paired import paired_table
from rdbench.analysis.runs import read_run
from rdbench.analysis.stats.leave_one_out import Sampling
from rdbench.store.schema import Kind, Row
from rdbench.store.writer import RunWriter
from rdbench.types import Status

CURVES, POINTS, METRICS, CLIPS, GROUPS, RESAMPLES = 4, 5, 10, 500, 250, 2000
GOALS = {"compare": 10.0, "check": 5.0}  # seconds


def write_run(folder: Path, seed: int) -> None:
    """A run folder; `seed` draws what differs between two measurements."""
    random, hard = np.random.default_rng(seed), np.random.default_rng(0).standard_normal(CLIPS)
    clips = [(f"clip{c:03d}", f"speaker{c % GROUPS:03d}") for c in range(CLIPS)]
    systems: dict[str, Any] = {}
    with RunWriter(folder) as writer:
        for curve in range(CURVES):
            for point in range(POINTS):
                kbps, name = 2.0 * 1.8**point * (1 + 0.1 * curve), f"c{curve}p{point}"
                systems[name] = {"curve": f"curve{curve}", "headline": "payload"}
                writer.append(
                    _rows(name, f"curve{curve}", kbps, clips=clips, hard=hard, random=random)
                )
        writer.write_manifest(
            {
                "name": "synthetic",
                "protocol": {"fingerprint": "synthetic", "sample_rate": {"default": 16000}},
                "corpus": {"name": "synthetic", "clips": [
                    {"name": c, "domain": "speech", "group": g, "content": c} for c, g in clips
                ]},
                "metrics": {f"metric_{m}": {
                    "key": f"metric_{m}", "name": f"Metric {m}", "unit": "MOS", "version": 1,
                    "direction": "higher", "lower": 1.0, "upper": 5.0, "identity": 4.6,
                    "backend": "reference", "definition": "by a formula",
                } for m in range(METRICS)},
                "systems": systems,
            }
        )  # fmt: skip


def _rows(
    name: str,
    curve: str,
    kbps: float,
    *,
    clips: list[tuple[str, str]],
    hard: np.ndarray,
    random: np.random.Generator,
) -> list[Row]:
    def row(number: int, kind: Kind, key: str, value: float, unit: str) -> Row:
        clip, group = clips[number]
        return Row(
            unit_key=f"{name}/{clip}/{key}", system=name, curve=curve, point=f"{kbps:.3g}",
            variant="codes", clip=clip, domain="speech", group=group, seconds=5.0, kind=kind,
            key=key, value=value, unit=unit, backend="reference" if kind is Kind.METRIC else "",
            status=Status.OK, reason="",
        )  # fmt: skip

    rows = []
    for number in range(len(clips)):
        bits = 5000 * kbps * (1 + 0.05 * random.standard_normal())
        rows.append(row(number, Kind.RATE, "payload", bits, "bit"))
        for metric in range(METRICS):
            share = kbps / (kbps + 8 * math.exp(0.3 * hard[number]))
            value = 1 + 3.6 * share + 0.1 * random.standard_normal()
            rows.append(row(number, Kind.METRIC, f"metric_{metric}", value, "MOS"))
    return rows


def compare(folder: Path) -> None:
    """All that `rdbench compare` computes against one curve."""
    run, sampling = read_run(folder), Sampling(resamples=RESAMPLES)
    bd_table(run, reference="curve0", sampling=sampling)
    paired_table(run, reference="curve0")


def check(folder: Path, baseline: Path, *options: str) -> None:
    """`rdbench check`; raises where it could not compare."""
    command = [sys.executable, "-m", "rdbench", "check", str(folder), "--baseline", str(baseline)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)


def timed(work: Callable[[], None]) -> float:
    """Seconds by the clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for run in ("before", "after"):
            write_run(folder / run, seed=len(run))
        check(folder / "before", folder / "baseline.json", "--update")
        seconds = {
            "compare": timed(lambda: compare(folder / "after")),
            "check": timed(lambda: check(folder / "after", folder / "baseline.json")),
        }
    lines = [
        "# Time of comparisons",
        "",
        "Made by `python benchmarks/compare_speed.py`; do not edit.",
        "",
        f"{CURVES * POINTS} systems on {CURVES} curves × {METRICS} metrics × {CLIPS} clips in "
        f"{GROUPS} groups, {RESAMPLES:,} resamples. {platform.machine()}, {os.cpu_count()} cores, "
        f"load {load:.1f} at the start, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, pandas {pd.__version__}.",
        "",
        "| what | seconds | goal |",
        "|---|---:|---:|",
        *(f"| {what} | {spent:.1f} | {GOALS[what]:g} |" for what, spent in seconds.items()),
    ]
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
