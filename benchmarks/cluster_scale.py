"""How throughput grows with workers: a codec that sleeps, on 1, 2, 4 and 8 workers of a cluster.

    python benchmarks/cluster_scale.py           prints the table and writes cluster_scale.md

The codec computes nothing, so that what is seen is what it costs to hand out shards and to take
rows: 8 workers fit on two cores. Each number of workers measures the same clips twice, in a folder
of its own each time; the second time, for which codecs are built already, counts, from the first
shard to the last row. The share is that of the time that the codec slept, spread evenly. The goal
is 0.9 at every number of workers. It wants a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from rdbench.codecs.anchors import Identity
from rdbench.engine.executors.cluster.local import LocalCluster
from rdbench.engine.progress import Progress
from rdbench.engine.run import RunOptions, run_benchmark
from rdbench.spec.model import BenchmarkSpec
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


class _Clock(Progress):
    """When the measuring began, and when it ended."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0

    def start(self, total: int, done: int) -> None:
        """Starts it."""
        self.began = time.perf_counter()

    def stop(self) -> None:
        """Stops it."""
        self.ended = time.perf_counter()


def seconds_of(clips: Path, folder: Path, address: str, sleep: float) -> float:
    """How long a run of `clips` takes, from its first shard to its last row."""
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
    clock = _Clock()
    summary = run_benchmark(spec, folder, RunOptions(cluster=address, allow_code=True), clock)
    if summary.failed:
        raise SystemExit(f"{summary.failed} rows failed in {folder}")
    return clock.ended - clock.began


def measured(workers: int, clips: Path, folder: Path, sleep: float) -> float:
    """Seconds on so many workers, with codecs built beforehand."""
    cluster = LocalCluster(workers)
    try:
        for number in range(2):
            spent = seconds_of(clips, folder / f"{workers} {number}", cluster.address, sleep)
    finally:
        cluster.close()
    return spent


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--clips", type=int, default=240)
    parser.add_argument("--sleep", type=float, default=0.5, help="Seconds of a clip.")
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    load, generator, rows = os.getloadavg()[0], np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as name:
        os.environ["RDBENCH_CACHE"] = str(Path(name) / "cache")
        clips = Path(name) / "clips"
        clips.mkdir()
        for number in range(asked.clips):
            noise = 0.1 * generator.standard_normal(round(SECONDS * RATE))
            soundfile.write(clips / f"{number}.wav", noise, RATE)
        for workers in asked.workers:
            spent = measured(workers, clips, Path(name), asked.sleep)
            share = asked.clips * asked.sleep / workers / spent
            rows.append(f"| {workers} | {asked.clips / spent:.2f} | {spent:.1f} | {share:.2f} |")
    lines = [
        "# Throughput of a cluster",
        "",
        "Made by `python benchmarks/cluster_scale.py`; do not edit.",
        "",
        f"{asked.clips} clips through a codec that sleeps {asked.sleep:g} s for each, on workers "
        f"of one machine (`local:N`): {platform.machine()}, {os.cpu_count()} cores, load "
        f"{load:.1f} at the start, Python {platform.python_version()}. The goal is a share of "
        f"{GOAL:g}.",
        "",
        "| workers | clips per second | seconds | share of linear |",
        "|---:|---:|---:|---:|",
        *rows,
    ]
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
