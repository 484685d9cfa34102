"""How long tables and figures take: a synthetic run of 20 systems × 10 points × 10 metrics.

    python benchmarks/report_speed.py            prints the table and writes report_speed.md

The clips are 40, in 20 groups, of one domain; scores come from formulas, since only their number
matters here. Every file of a report is made: tables as Markdown, CSV, LaTeX and HTML with BD-rates
and significance, figures as PDF, SVG and PNG. The goal is 20 s.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.runs import Run
from rdbench.report.config import ReportConfig, configured
from rdbench.report.figures.write import write_figures
from rdbench.report.tables.run_tables import run_tables
from rdbench.report.tables.write import write_tables
from rdbench.store.schema import COLUMNS

HERE = Path(__file__).resolve().parent
SYSTEMS, POINTS, METRICS, CLIPS, GROUPS = 20, 10, 10, 40, 20
GOAL = 20.0  # seconds


def synthetic_run() -> Run:
    """Every system at every point on every clip by every metric, with rates and costs."""
    random = np.random.default_rng(0)
    group_of = {c: f"speaker{c % GROUPS}" for c in range(CLIPS)}
    rows: list[dict[str, Any]] = []
    for s in range(SYSTEMS):
        name = f"system_{s:02d}"
        for p in range(POINTS):
            kbps = 2.0 * 1.5**p * (1 + 0.03 * s)
            place = {"unit_key": "", "system": name, "curve": name, "point": f"{kbps:.3g}",
                     "variant": "codes"}  # fmt: skip
            for c in range(CLIPS):
                clip = {
                    **place, "clip": f"clip{c:02d}", "domain": "speech", "group": group_of[c],
                    "seconds": 5.0, "status": "ok", "reason": "",
                }  # fmt: skip
                bits = 5000 * kbps * (1 + 0.05 * random.standard_normal())
                rows.append({**clip, "kind": "rate", "key": "payload", "value": bits,
                             "unit": "bit", "backend": ""})  # fmt: skip
                for m in range(METRICS):
                    share = kbps / (kbps + 8 * (1 + 0.05 * s))
                    value = 1 + 3.6 * share + 0.2 * random.standard_normal()
                    rows.append({**clip, "kind": "metric", "key": f"metric_{m}", "value": value,
                                 "unit": "MOS", "backend": "reference"})  # fmt: skip
            for key in ("encode_rtf", "decode_rtf"):
                rows.append({**place, "clip": "", "domain": "", "group": "", "seconds": 0.0,
                             "kind": "cost", "key": key, "value": 0.01 * (s + 1), "unit": "s/s",
                             "backend": "", "status": "ok", "reason": ""})  # fmt: skip
    manifest = {
        "systems": {
            f"system_{s:02d}": {"curve": f"system_{s:02d}", "headline": "payload"}
            for s in range(SYSTEMS)
        },
        "metrics": {
            f"metric_{m}": {
                "key": f"metric_{m}", "name": f"Metric {m}", "unit": "MOS", "version": 1,
                "direction": "higher", "lower": 1.0, "upper": 5.0, "identity": 4.6,
                "definition": "by a formula",
            }
            for m in range(METRICS)
        },
        "corpus": {"name": "synthetic"},
        "protocol": {"sample_rate": {"default": 16000}},
    }  # fmt: skip
    return Run("synthetic", pd.DataFrame(rows, columns=list(COLUMNS)), manifest)


def measure(config: ReportConfig) -> dict[str, tuple[float, float]]:
    """Seconds per step, by the clock and of the processor."""
    seconds: dict[str, tuple[float, float]] = {}

    @contextmanager
    def clock(step: str) -> Iterator[None]:
        start, used = time.perf_counter(), time.process_time()
        yield
        seconds[step] = time.perf_counter() - start, time.process_time() - used

    run = synthetic_run()
    with tempfile.TemporaryDirectory() as name:
        with clock("aggregates and intervals"):
            shown = configured(run, config)
            points = run_points(shown)
        with clock("tables, BD-rates, significance"):
            write_tables(Path(name), run_tables(points, shown.manifest, run=shown))
        with clock("figures"):
            write_figures(Path(name), points=points, manifest=shown.manifest, config=config)
    wall, cpu = (math.fsum(values) for values in zip(*seconds.values(), strict=True))
    seconds["all"] = wall, cpu
    return seconds


def table(seconds: dict[str, tuple[float, float]], load: float) -> str:
    """The page."""
    lines = [
        "# Speed of reports",
        "",
        "Made by `python benchmarks/report_speed.py`; do not edit.",
        "",
        f"{SYSTEMS} systems × {POINTS} points × {METRICS} metrics on {CLIPS} clips in {GROUPS} "
        "groups, every kind of table, figures as PDF, SVG and PNG; one process.",
        f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f} before the start.",
        f"Goal: {GOAL:g} s.",
        "",
        "| step | seconds | of them on the processor |",
        "|---|---:|---:|",
        *(f"| {step} | {wall:.1f} | {cpu:.1f} |" for step, (wall, cpu) in seconds.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.parse_args()
    load = os.getloadavg()[0]
    text = table(measure(ReportConfig()), load)
    (HERE / "report_speed.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
