"""Speed of the evaluator beside the loop that one would write with the packages' own calls.

    python benchmarks/evaluator_speed.py                  on this CPU
    python benchmarks/evaluator_speed.py --device cuda    with models and tensor metrics on a GPU
    python benchmarks/evaluator_speed.py --quick          a few clips, to see that it runs

One run measures, on the same excerpts, codecs and metrics: (a) the sequential loop; (b) rdbench;
(c) every stage alone, clip by clip in one process of one thread, whose sum of core-seconds over
the cores is what no schedule can beat (on a GPU the larger of that and its busy seconds); a second
run of what is finished; and how time and memory grow with the number of clips. The loop and the
stages take `--sample` of the clips, spread evenly: all excerpts are equally long. Each part
(`evaluator_parts.py`) has a fresh process. The results go to `evaluator_speed.json`, and
`evaluator_speed.md` is made from it: what was not measured says so. Run it on a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evaluator_parts import POOL, TENSOR, make_clips, synthetic_clips

HERE = Path(__file__).resolve().parent
SYSTEMS = [
    {"codec": "opus", "points": [6, 8, 10, 12, 16, 20, 24, 32]},
    {"codec": "mp3", "points": [8, 16, 24, 32, 40, 48, 56, 64]},
    {"codec": "vae", "name": "vae_6k", "options": {"weights": "vae_6k"}, "variants": ["sample"]},
    {"codec": "vae", "name": "vae_12k", "options": {"weights": "vae_12k"}, "variants": ["sample"]},
]
GROWTH = {"systems": [{"codec": "opus", "points": [12, 24]}, {"codec": "identity"}],
          "metrics": ["si_sdr", "stft_dac_16k", "stoi"]}  # fmt: skip
PACKAGES = ("torch", "torchaudio", "numpy", "av", "pesq", "pystoi", "visqol-python", "pebble")


# Running a part and watching it


def run_part(name: str, **options: Any) -> dict[str, Any]:
    """What a part measured, with the process's own wall time and the peak memory of its tree."""
    import psutil

    environment = dict(os.environ)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        environment.pop(variable, None)
    if name == "stages":
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        program = str(HERE / "evaluator_parts.py")
        command = [sys.executable, program, name, json.dumps(options), answer.name]
        start = time.perf_counter()
        process = psutil.Popen(command, env=environment)
        watch = Watch(process, gpu=options.get("device", "cpu") != "cpu")
        code = process.wait()
        wall = time.perf_counter() - start
        if code:
            raise SystemExit(f"the part {name!r} ended with exit code {code}")
        found = json.loads(Path(answer.name).read_text(encoding="utf-8"))
    return found | {"process_wall": wall} | watch.stop()


class Watch:
    """Samples the memory of a process and its children (PSS), and the GPU's busy share."""

    def __init__(self, process: Any, *, gpu: bool) -> None:
        self._process, self._gpu = process, gpu
        self._ended = threading.Event()
        self._peak = self._worker = 0.0
        self._busy: list[float] = []
        self._spent: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """Peaks in MB, of the tree and of one child; core-seconds; the GPU's mean busy share."""
        self._ended.set()
        self._thread.join()
        busy = sum(self._busy) / len(self._busy) if self._busy else None
        return {
            "peak_mb": self._peak,
            "child_mb": self._worker,
            "core_seconds": sum(self._spent.values()),
            "gpu_busy": busy,
        }

    def _run(self) -> None:
        while not self._ended.wait(0.3):
            tree = self._tree()
            own, *children = [pss(process) for process in tree]
            for process in tree:
                self._spent[process.pid] = max(self._spent.get(process.pid, 0.0), spent(process))
            self._peak = max(self._peak, own + sum(children))
            self._worker = max([self._worker, *children])
            if self._gpu:
                self._busy += gpu_busy()

    def _tree(self) -> list[Any]:
        import psutil

        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return [self._process]


def pss(process: Any) -> float:
    """Proportional set size in MB: shared pages are divided among those who share them."""
    import psutil

    try:
        return float(process.memory_full_info().pss) / 2**20
    except (psutil.Error, OSError, AttributeError):
        return 0.0


def spent(process: Any) -> float:
    """Core-seconds that a process has used."""
    import psutil

    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def gpu_busy() -> list[float]:
    """The busy share of the first GPU as its driver says, or nothing."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
        return [float(said.stdout.split()[0]) / 100]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return []


# The whole measurement


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    from rdbench.engine.environment import cores, hardware

    count, seconds = (4, 2.0) if arguments.quick else (arguments.clips, arguments.seconds)
    sample = min(count, 1 if arguments.quick else arguments.sample)
    growth = (4, 8) if arguments.quick else (10, 100, 1000)
    systems = SYSTEMS if not arguments.quick else [
        SYSTEMS[0] | {"points": [12]}, SYSTEMS[1] | {"points": [16]}, *SYSTEMS[2:]
    ]  # fmt: skip
    points = sum(len(system.get("points", [0])) for system in systems)
    how: dict[str, Any] = {"device": arguments.device, "workers": arguments.workers}
    result: dict[str, Any] = {
        "quick": arguments.quick,
        "clips": count,
        "seconds": seconds,
        "points": points,
        "sample": sample,
        "cores": cores(),
        "machine": {key: str(item) for key, item in hardware(arguments.device).items()},
        "load_before": os.getloadavg()[0],
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips = folder / "clips"
        clips.mkdir()
        make_clips(clips, count, seconds)
        both = {"systems": systems, "metrics": [*POOL, *TENSOR], "clips": str(clips)}
        here = both | how | {"out": str(folder / "run")}
        result["rdbench"] = say("rdbench", run_part("rdbench", **here))
        result["second"] = say("second run", run_part("rdbench", **here))
        result["stages"] = say("stages", run_part("stages", **both, **how, sample=sample))
        result["loop"] = say("loop", run_part("loop", **both, **how, sample=sample))
        only = both | how | {"metrics": TENSOR, "out": str(folder / "tensor")}
        only["systems"] = systems[2:]
        if arguments.device != "cpu":
            result["tensor_only"] = say("tensor metrics only", run_part("rdbench", **only))
        for number in growth:
            many = folder / f"many_{number}"
            many.mkdir()
            synthetic_clips(many, number)
            part = run_part(
                "rdbench", **GROWTH, **how, clips=str(many), out=str(folder / f"run_{number}")
            )
            result.setdefault("growth", {})[str(number)] = say(f"{number} clips", part)
    result["load_after"] = os.getloadavg()[0]
    return result


def say(name: str, found: dict[str, Any]) -> dict[str, Any]:
    print(f"{name}: {json.dumps(found)[:300]}", flush=True)
    return found


# The report


def numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """What the table says, in seconds and audio-seconds per second."""
    audio = result["clips"] * result["seconds"] * result["points"]
    share = result["clips"] / result["sample"]
    stages = result["stages"]["stages"]
    core = share * sum(item for name, item in stages.items() if name.startswith("core "))
    gpu = share * sum(item for name, item in stages.items() if name.startswith("gpu "))
    bound = max(gpu, core / result["cores"])
    wall = result["rdbench"]["wall"]
    loop = result["loop"]["seconds"] / result["loop"]["wall"]
    return {
        "audio": audio,
        "loop": loop,
        "ours": audio / wall,
        "ratio": audio / wall / loop,
        "core": core,
        "gpu": gpu,
        "bound": bound,
        "wall": wall,
        "overhead": wall / bound,
    }


def report(results: Mapping[str, Any]) -> str:
    """The Markdown file."""
    lines = [
        "# Speed of the evaluator",
        "",
        "Made by `python benchmarks/evaluator_speed.py` (and `--device cuda`); not to be edited.",
        "",
        "An audio-second is one second of one clip at one operating point, encoded, decoded and",
        "scored by PESQ, STOI, ViSQOL (speech), SI-SDR, mel, STFT and log-spectral distance. The",
        "loop calls the packages pesq, pystoi and visqol-python, and for other metrics rdbench's",
        "own programs, on one reconstruction after the other, with torch's default threads. The",
        "lower bound is the core-seconds of every stage alone over the cores, or the GPU's seconds",
        "where they are more. Memory is the proportional set size (PSS) of all processes together.",
        "",
    ]
    columns = [results.get("cpu"), results.get("cuda")]
    lines += ["| | CPU | GPU |", "|---|---|---|"]
    for title, cell in ROWS:
        shown = [cell(column) if column else "not measured" for column in columns]
        lines.append(f"| {title} | {' | '.join(shown)} |")
    for name, column in results.items():
        lines += details(name, column)
    return "\n".join(lines) + "\n"


ROWS: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
    ("cores", lambda r: str(r["cores"])),
    ("clips × points", lambda r: f"{r['clips']} of {r['seconds']:g} s × {r['points']}"),
    ("loop, audio-s/s", lambda r: f"{numbers(r)['loop']:.2f}"),
    ("rdbench, audio-s/s", lambda r: f"{numbers(r)['ours']:.2f}"),
    ("ratio", lambda r: f"{numbers(r)['ratio']:.2f} ×"),
    ("rdbench, wall", lambda r: f"{numbers(r)['wall']:.1f} s"),
    ("core-seconds of all stages", lambda r: f"{numbers(r)['core']:.1f} s"),
    ("GPU-seconds of all stages", lambda r: f"{numbers(r)['gpu']:.1f} s"),
    ("core-seconds that rdbench used, all told", lambda r: f"{r['rdbench']['core_seconds']:.1f} s"),
    ("lower bound", lambda r: f"{numbers(r)['bound']:.1f} s"),
    ("wall / lower bound", lambda r: f"{numbers(r)['overhead']:.2f}"),
    ("peak memory", lambda r: f"{r['rdbench']['peak_mb']:.0f} MB"),
    ("largest child process", lambda r: f"{r['rdbench']['child_mb']:.0f} MB"),
    ("second run, with start of Python", lambda r: f"{r['second']['process_wall']:.1f} s"),
    ("measurements that the second run made", lambda r: str(r["second"]["written"])),
    ("GPU busy, tensor metrics only", lambda r: busy(r.get("tensor_only"))),
    ("load of the machine before / after", lambda r: f"{r['load_before']:.1f} / "
     f"{r['load_after']:.1f}"),
]  # fmt: skip


def busy(part: Mapping[str, Any] | None) -> str:
    if part is None or part["gpu_busy"] is None:
        return "not measured"
    return f"{part['gpu_busy']:.0%}"


def details(name: str, result: Mapping[str, Any]) -> list[str]:
    share = result["clips"] / result["sample"]
    stages = sorted(result["stages"]["stages"].items(), key=lambda item: -item[1])
    machine = result["machine"]
    quick = ["", "**A quick run: it shows that the command works, and no speed.**"]
    return [
        "",
        f"## {name}",
        *(quick if result["quick"] else []),
        "",
        f"{machine['processor']}, {result['cores']} cores, {machine['platform']}"
        + (f", {machine['accelerator']}" if machine["accelerator"] else ""),
        "",
        ", ".join(f"{package} {number}" for package, number in result["versions"].items()),
        "",
        f"The loop and the stages were measured on {result['sample']} of the {result['clips']} "
        "clips; seconds of stages are for all.",
        "",
        "| stage | seconds | ms per audio-second |",
        "|---|---|---|",
        *(
            f"| {stage} | {share * spent:.1f} | "
            f"{1000 * share * spent / numbers(result)['audio']:.2f} |"
            for stage, spent in stages
        ),
        "",
        "| clips of 1 s, 3 points, 3 metrics | wall | s per clip | peak memory |",
        "|---|---|---|---|",
        *(
            f"| {count} | {part['wall']:.1f} s | {part['wall'] / int(count):.3f} | "
            f"{part['peak_mb']:.0f} MB |"
            for count, part in result["growth"].items()
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each clip")
    parser.add_argument("--sample", type=int, default=10, help="clips of the loop and the stages")
    parser.add_argument("--quick", action="store_true", help="a few clips; the numbers say nothing")
    parser.add_argument("--out", type=Path, default=HERE, help="where the results go")
    arguments = parser.parse_args()
    record = arguments.out / "evaluator_speed.json"
    results = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    results[arguments.device.partition(":")[0]] = measure(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (arguments.out / "evaluator_speed.md").write_text(report(results), encoding="utf-8")
    print(report(results))


if __name__ == "__main__":
    main()
