"""Speed of every metric of clips, and deviation of tensor versions from the reference packages.

    python benchmarks/metric_speed.py                  speed on this CPU, and deviation
    python benchmarks/metric_speed.py --metrics plcmos distill_mos            of these alone
    python benchmarks/metric_speed.py --device cuda    the same with the tensor versions on a GPU
    python benchmarks/metric_speed.py --full           deviation over every clip × degradation

Speed: clips × 8 operating points of Opus. The packages run in one process per core, the tensor
versions in one process with as many threads; what the references share is prepared once, models
are loaded and kernels compiled before the clock starts. A metric of one backend has a row of its
speed alone. Each run adds what it measured to
`metric_speed.json` and writes `metric_speed.md` from it: what was not measured says so.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from degradations import (
    SHARED,
    clip_files,
    degradations,
    load,
    noise,
    on_signal,
    spread,
    stack,
    through,
)

from rdbench.audio.corpus import embedded_corpus
from rdbench.metrics.base import MODEL_FILE, Backend, DeviceBackend, PoolBackend, Scope
from rdbench.metrics.channels import signals_under
from rdbench.metrics.registry import backend, backend_names, definition, keys
from rdbench.types import AudioBatch, RdbenchError, RunsOn, Score, Status

HERE = Path(__file__).resolve().parent
RATES = {
    "stoi": 16000,
    "estoi": 16000,
    "visqol_audio": 48000,
    "visqol_speech": 16000,
    "visqol_speech_exponential": 16000,
}
# Metrics of clips that have one backend, and need no model file: their speed is measured alone.
SINGLE = tuple(
    key
    for key in keys()
    if key not in RATES
    and definition(key).scope is not Scope.SET
    and MODEL_FILE not in definition(key).options
)
SPEECH_ONLY = tuple(key for key in keys() if definition(key).domains == ("speech",))
MUSIC_RATE = 48000  # of a metric that is defined at the protocol's rate
# Deviations allowed: of nearly all pairs (99 %), and of every pair.
BOUNDS = {
    "stoi": (1e-6, 1e-6),
    "stoi float32": (1e-4, 1e-4),
    "estoi": (1e-6, 1e-6),
    "estoi float32": (1e-4, 1e-4),
    "visqol_audio": (2e-3, 0.02),
    "visqol_speech": (5e-3, 0.03),
    "visqol_speech_exponential": (5e-3, 0.03),
}
POINTS = (6, 9, 12, 16, 24, 32, 48, 64)  # kbps


def tensor_backend(name: str) -> DeviceBackend:
    """The tensor version under a name of `BOUNDS`, or of a metric of one backend."""
    key, _, precision = name.partition(" ")
    found = backend(key, "torch_float32" if precision else "torch" if key in RATES else "auto")
    assert isinstance(found, DeviceBackend)
    return found


def package_of(key: str) -> Backend:
    """The reference package, or the one backend there is."""
    return backend(key, "reference" if "reference" in backend_names(key) else "auto")


def rate_of(key: str) -> int:
    """The rate in hertz at which a metric is measured."""
    return RATES.get(key) or definition(key).sample_rate or MUSIC_RATE


def prepared(metric: Backend, key: str, reference: Any, *rate: int) -> Any:
    """What a backend makes of a reference, None of a metric that has none."""
    assert isinstance(metric, PoolBackend | DeviceBackend)
    alone = definition(key).scope is Scope.CLIP_ALONE
    return None if alone else metric.prepare(reference, *rate)


# Both sides


def by_package(key: str, clip: AudioBatch, degraded: Sequence[AudioBatch]) -> list[Score]:
    """The reference package's scores of one clip's reconstructions."""
    package = package_of(key)
    assert isinstance(package, PoolBackend)
    shared = prepared(package, key, signal_of(key, clip), clip.sample_rate)
    return [
        package.score(shared, reconstruction=signal_of(key, item), sample_rate=item.sample_rate)
        for item in degraded
    ]


def signal_of(key: str, clip: AudioBatch) -> Any:
    """A mono clip as the packages of a metric take it: a channel, or all of them together."""
    (signal,) = signals_under(definition(key).channels, clip.samples[0].numpy())
    return signal


def start_worker(keys: Sequence[str]) -> None:
    torch.set_num_threads(1)
    for key in keys:
        package = package_of(key)
        if not isinstance(package, PoolBackend):
            continue
        package.warm_up()
        clip = load(embedded_corpus().clips[0].path, rate_of(key), 1.5)
        by_package(key, clip, [on_signal(partial(noise, 20), clip)])


def workers(keys: Sequence[str], count: int) -> ProcessPoolExecutor:
    """Processes of one thread each, with the packages warm."""
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, start_worker, (tuple(keys),))
    barrier = [pool.submit(time.sleep, 1.0) for _ in range(2 * count)]
    for task in barrier:
        task.result()
    return pool


def timed_package(
    key: str, pool: ProcessPoolExecutor, clips: Sequence[AudioBatch], coded: list[list[AudioBatch]]
) -> tuple[float, list[list[Score]]]:
    start = time.perf_counter()
    tasks = [pool.submit(by_package, key, *pair) for pair in zip(clips, coded, strict=True)]
    scores = [task.result() for task in tasks]
    return time.perf_counter() - start, scores


def timed_tensors(
    name: str,
    device: str,
    clips: Sequence[AudioBatch],
    coded: list[list[AudioBatch]],
    size: int,
) -> tuple[float, list[list[Score]]]:
    metric, key = tensor_backend(name), name.partition(" ")[0]
    warm = clips[0].to(device)
    metric.score(prepared(metric, key, warm), reconstruction=coded[0][0].to(device))
    batches = [range(i, min(i + size, len(clips))) for i in range(0, len(clips), size)]
    points = range(len(coded[0]))
    scores: dict[tuple[int, int], Score] = {}
    elapsed = 0.0
    for members in batches:
        reference = stack([clips[i] for i in members]).to(device)
        reconstructions = [stack([coded[i][p] for i in members]).to(device) for p in points]
        start = time.perf_counter()
        shared = prepared(metric, key, reference)
        for point, reconstruction in zip(points, reconstructions, strict=True):
            found = metric.score(shared, reconstruction=reconstruction)
            scores |= {(i, point): score for i, score in zip(members, found, strict=True)}
        elapsed += time.perf_counter() - start
    return elapsed, [[scores[i, p] for p in points] for i in range(len(clips))]


def deviation(pairs: Sequence[tuple[Score, Score]], name: str) -> dict[str, Any]:
    """How far the second of each pair lies from the first."""
    both = [pair for pair in pairs if all(score.status is Status.OK for score in pair)]
    gaps = np.array([abs(first.value - second.value) for first, second in both] or [np.nan])
    usual, largest = BOUNDS[name]
    return {
        "pairs": len(pairs),
        "scored": len(both),
        "outcomes that differ": sum(a.status is not b.status for a, b in pairs),
        "median": float(np.median(gaps)),
        "p99": float(np.quantile(gaps, 0.99)),
        "max": float(gaps.max()),
        "within": f"{np.mean(gaps <= usual):.2%} ≤ {usual:g}, {np.mean(gaps <= largest):.2%} ≤ "
        f"{largest:g}",
    }


# The runs


def measure_speed(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    torch.set_num_threads(arguments.threads)
    with workers(arguments.metrics, arguments.threads) as pool:
        for key in arguments.metrics:
            clips, coded = audio_of(key, arguments)
            measure = measure_both if key in RATES else measure_single
            measure(key, pool, clips, coded, arguments=arguments, results=results)
    if any(key in RATES for key in arguments.metrics):
        results.setdefault("machines", {})[arguments.device] = machine(arguments)


def audio_of(
    key: str, arguments: argparse.Namespace
) -> tuple[list[AudioBatch], list[list[AudioBatch]]]:
    """Clips that a metric is for, and what Opus made of each at every point."""
    files = clip_files(SHARED)
    suited = [f for domain, f in files if key not in SPEECH_ONLY or domain == "speech"]
    chosen = spread(suited, arguments.clips)
    clips = [load(path, rate_of(key), arguments.seconds) for path in chosen]
    clips = sorted(clips, key=lambda clip: int(clip.lengths[0]))
    coded = [[through("opus", kbps, clip) for kbps in POINTS] for clip in clips]
    if key.startswith("stereo_"):
        return [widened(clip) for clip in clips], [[widened(x) for x in one] for one in coded]
    return clips, coded


def widened(clip: AudioBatch) -> AudioBatch:
    """Two channels of one, the second softer and later."""
    second = 0.5 * clip.samples.roll(20, dims=-1)
    return AudioBatch(torch.cat([clip.samples, second], 1), clip.lengths, clip.sample_rate)


def measure_both(
    key: str,
    pool: ProcessPoolExecutor,
    clips: Sequence[AudioBatch],
    coded: list[list[AudioBatch]],
    *,
    arguments: argparse.Namespace,
    results: dict[str, Any],
) -> None:
    """A reference package and its tensor versions."""
    seconds = seconds_of(clips)
    spent, theirs = timed_package(key, pool, clips, coded)
    entry = results.setdefault("speed", {}).setdefault(key, {})
    entry[f"reference beside {arguments.device}"] = {"seconds": seconds, "wall": spent}
    print(f"{key}: package {seconds / spent:.1f} × real time", flush=True)
    for name in (item for item in BOUNDS if item.split()[0] == key):
        spent, ours = timed_tensors(name, arguments.device, clips, coded, arguments.batch)
        pairs = [pair for a, b in zip(theirs, ours, strict=True) for pair in zip(a, b, strict=True)]
        found = deviation(pairs, name)
        entry[f"{name} on {arguments.device}"] = {
            "seconds": seconds, "wall": spent, "deviation": found
        }  # fmt: skip
        print(f"{name}: {seconds / spent:.1f} × real time, {found}", flush=True)


def measure_single(
    key: str,
    pool: ProcessPoolExecutor,
    clips: Sequence[AudioBatch],
    coded: list[list[AudioBatch]],
    *,
    arguments: argparse.Namespace,
    results: dict[str, Any],
) -> None:
    """The one backend of a metric; where it runs on the CPU alone, a run on a GPU has nothing."""
    metric = package_of(key)
    if isinstance(metric, DeviceBackend):
        spent, scores = timed_tensors(key, arguments.device, clips, coded, arguments.batch)
    elif arguments.device == "cpu":
        spent, scores = timed_package(key, pool, clips, coded)
    else:
        return
    outcomes = [score.status is Status.OK for one in scores for score in one]
    entry = results.setdefault("single", {}).setdefault(key, {})
    entry[arguments.device] = {
        "seconds": seconds_of(clips), "wall": spent, "scored": sum(outcomes),
        "pairs": len(outcomes), "on": machine(arguments),
    }  # fmt: skip
    print(f"{key}: {seconds_of(clips) / spent:.1f} × real time", flush=True)


def seconds_of(clips: Sequence[AudioBatch]) -> float:
    """Of all reconstructions."""
    return sum(float(clip.seconds[0]) for clip in clips) * len(POINTS)


def compare_clip(path: str, domain: str, keys: Sequence[str], seconds: float) -> list[Any]:
    """(name, degradation, value and status of both) of one clip under every degradation."""
    found = []
    for rate in sorted({RATES[key] for key in keys}):
        clip = load(Path(path), rate, seconds)
        degraded = {name: change(clip) for name, change in degradations(rate).items()}
        for key in keys:
            if RATES[key] != rate or (key in SPEECH_ONLY and domain != "speech"):
                continue
            theirs = by_package(key, clip, list(degraded.values()))
            for name in (item for item in BOUNDS if item.split()[0] == key):
                metric = tensor_backend(name)
                shared = metric.prepare(clip)
                for label, item, other in zip(degraded, degraded.values(), theirs, strict=True):
                    (score,) = metric.score(shared, reconstruction=item)
                    both = [(one.value, one.status.value) for one in (other, score)]
                    found.append((name, label, *both))
    return found


def measure_everything(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    """Every clip × degradation; a clip that an earlier run compared is not compared again."""
    files = spread(clip_files(SHARED), arguments.limit)
    store = arguments.out / f"deviation_{arguments.seconds:g}s"
    store.mkdir(parents=True, exist_ok=True)
    found = {path: store / f"{path.stem}.json" for _, path in files}
    missing = [(domain, path) for domain, path in files if not found[path].is_file()]
    if missing:
        with workers(arguments.metrics, arguments.threads) as pool:
            tasks = {
                pool.submit(
                    compare_clip, str(path), domain, arguments.metrics, arguments.seconds
                ): path
                for domain, path in missing
            }
            for count, task in enumerate(as_completed(tasks), 1):
                target = found[tasks[task]]
                part = target.with_suffix(".part")
                part.write_text(json.dumps(task.result()), encoding="utf-8")
                part.rename(target)
                print(f"{count} of {len(missing)} clips", flush=True)

    pairs: dict[str, list[tuple[Score, Score]]] = defaultdict(list)
    worst: dict[str, tuple[float, str]] = defaultdict(lambda: (-1.0, ""))
    labels = set()
    for path, file in found.items():
        for name, label, *scores in json.loads(file.read_text(encoding="utf-8")):
            theirs, ours = (Score(value, Status(status)) for value, status in scores)
            labels.add(label)
            pairs[name].append((theirs, ours))
            gap = abs(theirs.value - ours.value)
            if gap > worst[name][0]:
                worst[name] = (gap, f"{path.name}, {label}")
    results["deviation"] = {
        name: deviation(both, name)
        | {
            "clips": len(files),
            "degradations": len(labels),
            "excerpt": arguments.seconds,
            "worst": worst[name][1],
        }
        for name, both in pairs.items()
    }


def machine(arguments: argparse.Namespace) -> str:
    """What it ran on."""
    if arguments.device == "cuda":
        name = torch.cuda.get_device_name()
    else:
        models = Path("/proc/cpuinfo")
        lines = models.read_text(encoding="utf-8").splitlines() if models.is_file() else []
        named = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
        name = next(named, platform.processor())
    return (
        f"{name}, {arguments.threads} threads, torch {torch.__version__}, "
        f"{arguments.clips} clips of up to {arguments.seconds:g} s × {len(POINTS)} points of Opus"
    )


# The table


def table(results: Mapping[str, Any]) -> Iterator[str]:
    speed, full = results.get("speed", {}), results.get("deviation", {})
    machines = results.get("machines", {})
    yield "# What metrics cost, and tensor metrics beside the reference packages"
    yield ""
    yield "Written by `benchmarks/metric_speed.py`, from `metric_speed.json`; not by hand."
    yield ""
    for device in ("cpu", "cuda"):
        yield f"- {device}: {machines.get(device, 'not measured')}"
    yield ""
    yield (
        "Seconds of audio per second; the packages use every core of the machine. Deviation: "
        "absolute, of the CPU run, median / 99 % / largest; and over every clip × degradation."
        + "".join(
            f" ({one['clips']} clips of up to {one['excerpt']:g} s, {one['degradations']} "
            "degradations.)"
            for one in list(full.values())[:1]
        )
    )
    yield ""
    yield (
        "| metric | package | torch, CPU | ratio | torch, CUDA | deviation in this run | "
        "pairs | largest deviation of all | share within bounds |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in BOUNDS:
        entry = speed.get(name.split()[0], {})
        here, there = entry.get(f"{name} on cpu"), entry.get(f"{name} on cuda")
        package = entry.get("reference beside cpu")
        found, whole = (here or there or {}).get("deviation"), full.get(name)
        cells = [
            name,
            pace(package),
            pace(here),
            f"{package['wall'] / here['wall']:.1f} ×" if package and here else "not measured",
            pace(there),
            " / ".join(f"{found[k]:.1e}" for k in ("median", "p99", "max"))
            if found
            else "not measured",
            f"{whole['scored']} of {whole['pairs']}" if whole else "not measured",
            f"{whole['max']:.1e} ({whole['worst']})" if whole else "not measured",
            whole["within"] if whole else "not measured",
        ]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield "## Metrics of one backend"
    yield ""
    yield (
        "Seconds of audio per second, each by itself. Those that run in worker processes use every "
        "core, one process on each; the others one process with as many threads, or the GPU. "
        "`dnsmos_*` are one call, and so are the three of WORLD: together they cost what one does."
    )
    yield ""
    measured = results.get("single", {})
    for device in ("cpu", "cuda"):
        found = {entry[device]["on"] for entry in measured.values() if device in entry}
        yield f"- {device}: {'; '.join(sorted(found)) or 'not measured'}"
    yield ""
    yield "| metric | runs in | CPU | CUDA | scored |"
    yield "|---|---|---|---|---|"
    for key in SINGLE:
        entry = measured.get(key, {})
        one, there = entry.get("cpu"), entry.get("cuda")
        pooled = package_of(key).runs_on is RunsOn.POOL
        cells = [
            key,
            "workers" if pooled else "batches",
            pace(one),
            "–" if pooled else pace(there),
            f"{one['scored']} of {one['pairs']}" if one else "not measured",
        ]
        yield "| " + " | ".join(cells) + " |"


def pace(entry: Mapping[str, float] | None) -> str:
    return f"{entry['seconds'] / entry['wall']:.1f}" if entry else "not measured"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--full", action="store_true", help="deviation over every clip")
    every = [*RATES, *SINGLE]
    parser.add_argument("--metrics", nargs="+", choices=every, default=every, metavar="KEY")
    parser.add_argument("--clips", type=int, default=40, help="clips of the speed run")
    parser.add_argument("--limit", type=int, default=1_000_000, help="clips of the full run")
    parser.add_argument("--seconds", type=float, default=10.0, help="longest excerpt")
    parser.add_argument("--batch", type=int, default=8, help="clips at a time")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    arguments = parser.parse_args()
    if arguments.full:
        arguments.metrics = [key for key in arguments.metrics if key in RATES]
    record = arguments.out / "metric_speed.json"
    results = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    try:
        (measure_everything if arguments.full else measure_speed)(arguments, results)
    except RdbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = "\n".join(table(results)) + "\n"
    (arguments.out / "metric_speed.md").write_text(lines, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
