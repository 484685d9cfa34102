"""Everything that a GPU machine has to tell, in pieces of under nine minutes that go on.

    make gpu                                  all of it; again, what is left
    python benchmarks/gpu.py --minutes 9      as many pieces as nine minutes hold, and no more
    python benchmarks/gpu.py --device cpu     a trial without a GPU, in which `cuda` tests skip

The tests marked `cuda`; the speed tables; every tensor metric and codec beside the CPU; a training
of a few steps. Tables are written where the others are (`benchmarks/*.json`, `*.md`). A piece that
is done is not done again by the same code; `--again` forgets what was done.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
EMBEDDED = ROOT / "rdbench" / "audio" / "embedded"
STATE = ROOT / "runs" / "gpu" / "state.json"
PIECE_SECONDS = 520.0
TENSOR_METRICS = ("stoi", "estoi", "visqol_audio", "visqol_speech", "visqol_speech_exponential")


def pieces(device: str, quick: bool) -> Iterator[tuple[str, list[str]]]:
    """The name and the command of each, in the order of what one wants to know first."""
    python = sys.executable
    yield "tests", [python, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider"]
    # What a trial measures is no result.
    place = STATE.parent / "trial" if quick or device == "cpu" else HERE
    place.mkdir(parents=True, exist_ok=True)
    results = ["--out", str(place)]
    few = ["--limit", "2"] if quick else []
    parity = ["--device", device, *results, *few]
    yield "parity", [python, str(HERE / "device_parity.py"), *parity]
    recipe = str(HERE / "recipes" / "speech_16k.yaml")
    out = str(ROOT / "runs" / "gpu" / "training")
    # Any clips will do to see that it trains.
    data = [] if os.environ.get("RDBENCH_SHARED") else ["--data", str(EMBEDDED)]
    yield (
        "training",
        [
            python, "-m", "rdbench", "train", recipe, "--out", out, "--only", "base",
            "--accelerator", device, "--max-minutes", "0.1" if quick else "2",
            *data,
        ],
    )  # fmt: skip
    for metric in TENSOR_METRICS[: 1 if quick else None]:
        few = ["--clips", "2"] if quick else ["--clips", "20"]
        yield (
            f"speed of {metric}",
            [
                python, str(HERE / "metric_speed.py"), "--device", device, "--seconds", "5",
                "--metrics", metric, *results, *few,
            ],
        )  # fmt: skip
    few = ["--quick"] if quick else []
    speed = ["--device", device, *results, *few]
    yield "speed of a run", [python, str(HERE / "evaluator_speed.py"), *speed]


def code() -> str:
    """The commit, and whether anything was changed since."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude", "*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip()


def run(command: list[str], seconds: float) -> int | None:
    """The exit code of a piece; None where its time was over, and all that it started was ended."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def main() -> None:
    """Runs what is left; exit code 1 where a piece failed, 3 where some are left."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="for all of them")
    parser.add_argument("--quick", action="store_true", help="to see that it runs")
    parser.add_argument("--again", action="store_true", help="forget what was done")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    done = {} if arguments.again or not STATE.is_file() else json.loads(STATE.read_text())
    failed, left = [], []
    # Tables that a piece writes change the state of the checkout, and not what it measures.
    version = f"{code().removesuffix('-dirty')} on {arguments.device}"
    for name, command in pieces(arguments.device, arguments.quick):
        if done.get(name) == version:
            continue
        seconds = min(PIECE_SECONDS, end - time.monotonic())
        if seconds < 30:
            left.append(name)
            continue
        print(f"== {name}", flush=True)
        start = time.monotonic()
        status = run(command, seconds)
        if status is None:
            left.append(name)
            continue
        print(f"== {name}: exit code {status}, {time.monotonic() - start:.0f} s", flush=True)
        # 5: pytest found no test; 1: a training whose time was over, with its state saved.
        fine = {
            0,
            *([5] if arguments.device == "cpu" else []),
            *([1] if name == "training" else []),
        }
        if status not in fine:
            failed.append(name)
            continue
        done[name] = version
        STATE.parent.mkdir(parents=True, exist_ok=True)
        STATE.write_text(json.dumps(done, indent=1))
    for what, names in (("failed", failed), ("left", left)):
        if names:
            print(f"{what}: {', '.join(names)}", flush=True)
    sys.exit(1 if failed else 3 if left else 0)


if __name__ == "__main__":
    main()
