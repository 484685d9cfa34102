"""How throughput grows with workers: a codec that sleeps, on 1, 2, 4 and 8 workers of a cluster.

    python benchmarks/cluster_scale.py           prints the table and puts it into docs/scale.md

The codec computes nothing, so that what is seen is what it costs to hand out shards and to take
rows: 8 workers fit on two cores. Each number of workers measures the same clips twice, in a folder
of its own each time; the second time, for which codecs are built already, counts, from the first
shard to the last row. The share is that of the time that the codec slept, spread evenly. The goal
is 0.9 at every number of workers. What the scheduler and the process that writes had to do for that
is seconds of CPU per 1,000 rows. It wants a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import soundfile
from reliability import REPOSITORY, report

from rdbench.codecs.anchors import Identity
from rdbench.engine.executors.cluster.local import LocalCluster
from rdbench.engine.progress import Progress
from rdbench.engine.run import RunOptions, run_benchmark
from rdbench.spec.model import BenchmarkSpec
from rdbench.store.reader import read_rows
from rdbench.types import AudioBatch, DecoderInput

RATE, SECONDS = 8000, 0.5
WORKERS = (1, 2, 4, 8)
GOAL = 0.9


class Sleeps(Identity):
    """Gives back what it got, after a while. seconds: for each clip."""

    def __init__(
        self, *, points: Sequence[float | str] | None = None, seconds: float = 0.5
    ) -> None:
        super().__init__(points=points)
        self._seconds = seconds

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Sleeps, and gives back the waveform."""
        time.sleep(self._seconds * len(decoder_input.lengths))
        return super().decode(decoder_input)


@dataclass(frozen=True)
class Spent:
    """What a run took from its first shard to its last row; CPU of the two processes in seconds."""

    seconds: float
    scheduler: float
    writer: float
    rows: int


class _Clock(Progress):
    """What was spent while it measured."""

    def __init__(self, scheduler: psutil.Process) -> None:
        self._scheduler = scheduler
        self.spent = np.zeros(3)

    def _now(self) -> np.ndarray:
        scheduler = sum(self._scheduler.cpu_times()[:2])
        return np.array([time.perf_counter(), scheduler, time.process_time()])

    def start(self, total: int, done: int) -> None:
        """Starts it."""
        self.spent -= self._now()

    def stop(self) -> None:
        """Stops it."""
        self.spent += self._now()


def spent_on(clips: Path, folder: Path, cluster: LocalCluster, sleep: float) -> Spent:
    """What a run of `clips` takes."""
    spec = BenchmarkSpec.model_validate(
        {
            "name": "scale",
            "corpus": {"kind": "folder", "path": str(clips)},
            "protocol": {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": None},
            "metrics": {"default": ["snr"]},
            "systems": [{"codec": "cluster_scale:Sleeps", "options": {"seconds": sleep}}],
            "costs": {"enabled": False},
        }
    )
    clock = _Clock(psutil.Process(cluster.scheduler_process))
    options = RunOptions(cluster=cluster.address, allow_code=True)
    summary = run_benchmark(spec, folder, options, clock)
    if summary.failed:
        raise SystemExit(f"{summary.failed} rows failed in {folder}")
    return Spent(*clock.spent, rows=len(read_rows(folder)))


def measured(workers: int, clips: Path, folder: Path, sleep: float) -> Spent:
    """On so many workers, with codecs built beforehand."""
    cluster = LocalCluster(workers)
    try:
        for number in range(2):
            spent = spent_on(clips, folder / f"{workers} {number}", cluster, sleep)
    finally:
        cluster.close()
    return spent


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs" / "scale.md")
    parser.add_argument("--clips", type=int, default=240)
    parser.add_argument("--sleep", type=float, default=0.5, help="Seconds of a clip.")
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    before, generator = os.getloadavg()[0], np.random.default_rng(0)
    rows: list[str] = []
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        os.environ["RDBENCH_CACHE"] = str(Path(name) / "cache")
        clips = Path(name) / "clips"
        clips.mkdir()
        for number in range(asked.clips):
            noise = 0.1 * generator.standard_normal(round(SECONDS * RATE))
            soundfile.write(clips / f"{number}.wav", noise, RATE)
        for workers in asked.workers:
            spent = measured(workers, clips, Path(name), asked.sleep)
            share = asked.clips * asked.sleep / workers / spent.seconds
            load = [1000 * cpu / spent.rows for cpu in (spent.scheduler, spent.writer)]
            rows.append(
                f"| {workers} | {asked.clips / spent.seconds:.2f} | {spent.seconds:.1f} "
                f"| {share:.2f} | {load[0]:.2f} | {load[1]:.2f} |"
            )
            if share < GOAL:
                findings.append(f"{share:.2f} of linear with {workers} workers")
    table = [
        f"{asked.clips} clips through a codec that sleeps {asked.sleep:g} s for each, "
        f"{spent.rows} rows, on workers of one machine (`local:N`), whose load was {before:.1f} "
        "before and is given below as it was after:",
        "",
        "| workers | clips per second | seconds | share of linear | scheduler | writer |",
        "|---:|---:|---:|---:|---:|---:|",
        *rows,
    ]
    sys.exit(0 if report(asked.page, "cluster", table, findings) else 1)


if __name__ == "__main__":
    main()
