"""Measures the figures of docs/reliability.md, and writes them there.

    python benchmarks/reliability.py --kills 500 --steps --swaps 100 --fuzz 20000 --folders 10000 \
        --units 100000 --signals 200 --environments

Every part may be run alone, and replaces its own table; a part that is not asked for keeps the
table of its last run. The work is that of tests/faults, which the tests do in small.
"""

from __future__ import annotations

import argparse
import datetime
import errno
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
FAULTS = REPOSITORY / "tests" / "faults"
sys.path[:0] = [
    str(folder)
    for folder in (
        FAULTS,
        FAULTS / "interrupted",
        FAULTS / "environments",
        FAULTS / "hostile",
        REPOSITORY / "tests" / "engine",
        REPOSITORY / "tests",
    )
]

import numpy as np  # noqa: E402
import psutil  # noqa: E402

PAGE = REPOSITORY / "docs" / "reliability.md"
REFUSALS = {"disk full": errno.ENOSPC, "input/output error": errno.EIO, "read-only": errno.EROFS}


def main() -> None:
    """Runs the parts that are asked for; exit code 1 where one found something."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=0, help="kills at random moments")
    parser.add_argument("--steps", action="store_true", help="fail at every injected step")
    parser.add_argument("--swaps", type=int, default=0, help="swaps of inputs at random moments")
    parser.add_argument("--fuzz", type=int, default=0, help="mutated files, over all formats")
    parser.add_argument("--folders", type=int, default=0, help="changed run folders of others")
    parser.add_argument("--units", type=int, default=0, help="units of the long run")
    parser.add_argument("--signals", type=int, default=0, help="signals at random moments")
    parser.add_argument("--environments", action="store_true", help="run on odd machines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    sound = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for wanted, part in (
            (options.kills, lambda: kills(folder / "kills", options.kills, options.seed)),
            (options.steps, lambda: steps(folder / "steps")),
            (options.swaps, lambda: swaps(folder / "swaps", options.swaps, options.seed)),
            (options.fuzz, lambda: fuzzing(options.fuzz, options.seed)),
            (options.folders, lambda: folders(options.folders, options.seed)),
            (options.units, lambda: units(folder / "units", options.units)),
            (options.signals, lambda: signals(folder / "s", options.signals, options.seed)),
            (options.environments, lambda: environments(folder / "e")),
        ):
            if wanted:
                sound &= report(options.page, *part())
    sys.exit(0 if sound else 1)


def report(page: Path, name: str, table: list[str], findings: Sequence[str]) -> bool:
    """Puts a part's table between its markers; returns whether there were no findings."""
    when = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [*table, "", f"Measured {when} on {machine()}."]
    lines += ["", *(f"- FOUND: {finding[:300]}" for finding in findings[:20])] if findings else []
    text = page.read_text()
    begin, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    page.write_text("\n".join([before + begin, "", *lines, "", end + after]))
    print("\n".join(lines))
    for finding in findings:
        print("FOUND:", finding)
    return not findings


def machine() -> str:
    """Processor, cores, Python, and how busy the machine was."""
    cores = len(os.sched_getaffinity(0))
    name = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    return f"{name}, {cores} cores, Python {platform.python_version()}, load {load:.1f}"


# -- kills


def _undisturbed(folder: Path, systems: Any) -> tuple[Any, Any, float, int]:
    from small_benchmark import Children, Trial, make_clips

    children = Children()
    clips = make_clips(folder / "clips")
    trial = Trial(clips, folder / "undisturbed", systems, flush_rows=5)
    reports = folder / "undisturbed.reports"
    children.finish(trial, reports)  # the first one waits for imports
    shutil.rmtree(trial.folder)
    began = time.monotonic()
    end = children.finish(replace(trial, fault={"action": "count"}), reports)
    assert end["end"] == "finished", end
    return children, trial, time.monotonic() - began, len(end["steps"])


def kills(folder: Path, count: int, seed: int) -> tuple[str, list[str], list[str]]:
    """Kills at random moments."""
    from kills import Tally, kill_at_random
    from small_benchmark import SYSTEMS

    children, trial, seconds, _ = _undisturbed(folder, SYSTEMS)
    tally = Tally()
    kill_at_random(
        children,
        replace(trial, folder=folder / "killed"),
        trial.folder,
        np.random.default_rng(seed),
        kills=count,
        seconds=seconds,
        tally=tally,
    )
    table = [
        "| kills at random moments | runs | lost units | unreadable stores | differing tables |",
        "|---|---|---|---|---|",
        f"| {tally.kills} | {tally.trials} | {len(tally.lost)} | {len(tally.unreadable)} "
        f"| {len(tally.differing)} |",
    ]
    return "kills", table, [*tally.lost, *tally.unreadable, *tally.differing]


def swaps(folder: Path, count: int, seed: int) -> tuple[str, list[str], list[str]]:
    """Swaps of a clip, of weights, and of a file that foreign code opens, at random moments."""
    from small_benchmark import Children
    from swaps import Inputs, References, swap_at_random

    children, inputs = Children(), Inputs.make(folder / "inputs", clips=3)
    references = References.measure(children, inputs, folder)
    tally = swap_at_random(
        children, inputs, folder / "run", references, np.random.default_rng(seed), swaps=count
    )
    table = [
        "| inputs swapped at random moments | runs with failed units | good rows under the hash of "
        "another input | failures for another reason | next runs that were not whole |",
        "|---|---|---|---|---|",
        f"| {tally.swaps} | {tally.noticed} | {len(tally.wrong)} | {len(tally.unexplained)} "
        f"| {len(tally.unfinished)} |",
    ]
    return "swaps", table, tally.findings


def steps(folder: Path) -> tuple[str, list[str], list[str]]:
    """One failure of each kind at every step of writing."""
    from kills import Tally, kill_at_steps
    from small_benchmark import SYSTEMS

    children, trial, _, count = _undisturbed(folder, SYSTEMS)
    faults: dict[str, dict[str, Any]] = {"killed": {"action": "kill"}}
    for name, number in REFUSALS.items():
        faults[name] = {"action": "refuse", "number": number}
    table = [
        "| at every step of writing | steps | ended with a sentence | lost units "
        "| unreadable stores | differing tables |",
        "|---|---|---|---|---|---|",
    ]
    findings: list[str] = []
    for name, fault in faults.items():
        tally = Tally()
        kill_at_steps(
            children,
            replace(trial, folder=folder / "failed"),
            trial.folder,
            list(range(1, count + 1)),
            tally=tally,
            fault=fault,
        )
        said = "–" if name == "killed" else str(tally.ends.get("refused", 0))
        table.append(
            f"| {name} | {tally.trials} | {said} | {len(tally.lost)} | {len(tally.unreadable)} "
            f"| {len(tally.differing)} |"
        )
        findings += [*tally.lost, *tally.unreadable, *tally.differing]
    return "steps", table, findings


# -- fuzzing


def fuzzing(count: int, seed: int) -> tuple[str, list[str], list[str]]:
    """Mutated files of every format, `count` over all of them."""
    from fuzz import FORMATS, fuzz

    each = -(-count // len(FORMATS))
    table = [
        "| format | files | crashes | hangs | slowest file | most memory of the process |",
        "|---|---|---|---|---|---|",
    ]
    findings: list[str] = []
    total = 0
    for name in FORMATS:
        result = fuzz(name, range(each), seed=seed)
        total += result.cases
        table.append(
            f"| {name} | {result.cases} | {len(result.crashes)} | {len(result.hangs)} "
            f"| {result.slowest:.1f} s | {result.peak_bytes / 1e6:.0f} MB "
            f"(idle {result.idle_bytes / 1e6:.0f} MB) |"
        )
        findings += [*result.crashes, *result.hangs]
        print(table[-1], flush=True)
    table.append(f"| all | {total} | {sum(1 for _ in findings)} findings | | | |")
    return "fuzz", table, findings


# -- run folders of others


def folders(count: int, seed: int) -> tuple[str, list[str], list[str]]:
    """Changed run folders, each given to every command that reads one."""
    from foreign_folders import subject
    from fuzz import fuzz

    cases = [f"{seed} {case}".encode() for case in range(count)]
    cores = min(count, len(os.sched_getaffinity(0)))
    parts = [range(count * i // cores, count * (i + 1) // cores) for i in range(cores)]
    with ThreadPoolExecutor(cores) as threads:  # each watches a process of its own
        results = list(threads.map(lambda part: fuzz(subject(), part, contents=cases), parts))
    crashes = [crash for result in results for crash in result.crashes]
    hangs = [hang for result in results for hang in result.hangs]
    most, idle = (max(getattr(r, name) for r in results) for name in ("peak_bytes", "idle_bytes"))
    table = [
        "| folders | crashes, or files changed outside | hangs | slowest, all commands "
        "| most memory of the process |",
        "|---|---|---|---|---|",
        f"| {sum(result.cases for result in results)} | {len(crashes)} | {len(hangs)} "
        f"| {max(result.slowest for result in results):.1f} s | {most / 1e6:.0f} MB "
        f"(idle {idle / 1e6:.0f} MB) |",
    ]
    return "folders", table, [*crashes, *hangs]


# -- signals and environments


def signals(folder: Path, count: int, seed: int) -> tuple[str, list[str], list[str]]:
    """SIGINT and SIGTERM at random moments of every phase of the commands."""
    from interruptions import COMMANDS, interrupt_at_random

    generator = np.random.default_rng(seed)
    tallies = interrupt_at_random(folder, COMMANDS, generator, signals=count)
    table = [
        "| phase | signals | one sentence, right code | tracebacks | slowest end "
        "| next runs | whole |",
        "|---|---|---|---|---|---|---|",
    ]
    for phase, one in tallies.items():
        table.append(
            f"| {phase} | {one.signals} | {one.well} | {one.tracebacks} | {one.slowest:.1f} s "
            f"| {one.finished} | {one.whole} |"
        )
    every = tallies.values()
    table.append(
        f"| all | {sum(one.signals for one in every)} | {sum(one.well for one in every)} "
        f"| {sum(one.tracebacks for one in every)} | {max(one.slowest for one in every):.1f} s "
        f"| {sum(one.finished for one in every)} | {sum(one.whole for one in every)} |"
    )
    return "signals", table, [finding for one in every for finding in one.findings]


def environments(folder: Path) -> tuple[str, list[str], list[str]]:
    """A small run on odd machines, in odd terminals, by odd users."""
    from environments import ENVIRONMENTS, try_all

    tally = try_all(folder, ENVIRONMENTS)
    table = [
        "| environments | ended whole | refused in one sentence | tracebacks | lost rows "
        "| differing tables |",
        "|---|---|---|---|---|---|",
        f"| {len(ENVIRONMENTS)} | {tally.well} | {tally.refused} | {tally.tracebacks} "
        f"| {tally.lost} | {tally.differing} |",
    ]
    return "environments", table, tally.findings


# -- long runs


SPEC = """
name: long
corpus: {kind: manifest, path: clips/manifest.csv}
protocol: {sample_rate: 16000, channels: mono, excerpt_seconds: 0.1}
metrics: {default: [snr, si_sdr, lsd]}
systems:
  - {codec: "fakes:Quantizer"}
costs: {enabled: false}
"""
MERGING_MB = 100  # what merging parts may take; it does not grow with the run
QUANTITIES = 10  # two points; rate, residual delay and three metrics at each


def units(folder: Path, count: int) -> tuple[str, list[str], list[str]]:
    """A run of `count` units, killed half-way and resumed, through the command line."""
    clips = -(-count // QUANTITIES)
    _long_corpus(folder, clips)
    _rdbench(folder, "--help")  # files into the page cache
    half = _long_run(folder, stop_at=0.5)
    rest = _long_run(folder)
    again = _long_run(folder)
    listed, listing = _rdbench(folder, "status", "run", "--json")
    status = json.loads(listed)
    _, checking = _rdbench(folder, "validate", "run")
    parts = list((folder / "run" / "measurements").glob("*.parquet"))
    done = status["counts"]["ok"] + status["counts"]["undefined"]
    early, late = (_memory(half, 0.1, 0.6), _memory(rest, 0.6, 1.0))
    table = [
        "| long run | |",
        "|---|---|",
        f"| units | {done:,} of {clips * QUANTITIES:,}, {status['counts']['failed']} failed |",
        f"| memory of the writing process, first half | {early[0]:.0f} to {early[1]:.0f} MB |",
        f"| … second half, after a kill | {late[0]:.0f} to {late[1]:.0f} MB |",
        f"| most part files at a time; at the end | {half['parts'] + 0}, {rest['parts']}; "
        f"{len(parts)} |",
        f"| from the command to work, new | {_seconds(half['start'])} |",
        f"| … resumed at {100 * rest['found'] / rest['total']:.0f} % | {_seconds(rest['start'])} |",
        f"| … with everything done | {_seconds(again['start'])} |",
        f"| `rdbench status` | {_seconds(listing)} |",
        f"| `rdbench validate` | {_seconds(checking)} |",
        f"| units per second | {done / (half['measured'] + rest['measured']):.0f} |",
        f"| … from 10 to 40 %; from 60 to 90 % | {_speed(half, done, 0.1, 0.4):.0f}; "
        f"{_speed(rest, done, 0.6, 0.9):.0f} |",
    ]
    findings = [
        f"memory grew from {least:.0f} to {most:.0f} MB"
        for least, most in (early, late)
        if most > least + MERGING_MB
    ]
    if done != clips * QUANTITIES:
        findings.append(f"{done} units of {clips * QUANTITIES}")
    # Seconds of CPU: on a machine that others use too, the clock measures them.
    slow = {"resuming": rest["start"], "resuming what is done": again["start"], "status": listing}
    most = 5 * max(1.0, count / 100_000)
    findings += [f"{name} took {_seconds(took)}" for name, took in slow.items() if took[1] > most]
    return "units", table, findings


def _long_corpus(folder: Path, clips: int) -> None:
    import soundfile

    (folder / "clips").mkdir(parents=True)
    generator = np.random.default_rng(0)
    soundfile.write(
        folder / "clips" / "noise.wav", 0.1 * generator.standard_normal(clips * 1600), 16000
    )
    rows = (f"noise.wav,{index * 0.1:.1f},0.1" for index in range(clips))
    (folder / "clips" / "manifest.csv").write_text("\n".join(["file,start,duration", *rows]) + "\n")
    (folder / "spec.yaml").write_text(SPEC)


def _environment() -> dict[str, str]:
    """Of processes that use this checkout, and the codecs of its tests."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests" / "engine")])
    return os.environ | {"PYTHONPATH": path}


def _rdbench(folder: Path, *arguments: str) -> tuple[str, tuple[float, float]]:
    """What the command printed, and its seconds by the clock and of CPU."""
    command = [sys.executable, "-m", "rdbench", *arguments]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, (time.monotonic() - began, cpu)


def _seconds(took: tuple[float, float]) -> str:
    return f"{took[0]:.1f} s ({took[1]:.1f} s of CPU)"


def _long_run(folder: Path, *, stop_at: float = 1.0) -> dict[str, Any]:
    """Runs until a share of the steps is reported, sampling memory and part files."""
    command = [
        sys.executable, "-c",
        "import sys\nfrom pathlib import Path\nfrom rdbench.cli.options import read_spec\n"
        "from rdbench.cli.progress import LineProgress\n"
        "import rdbench.cli.progress\nrdbench.cli.progress.SECONDS_BETWEEN_LINES = 0.5\n"
        "from rdbench.engine.run import RunOptions, run_benchmark\n"
        "spec = read_spec(Path('spec.yaml'), data=None, limit=None, options=[])\n"
        "run_benchmark(spec, Path('run'), RunOptions(device='cpu', allow_code=True),"
        " LineProgress())",
    ]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=_environment(), stderr=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = {
        "memory": [],
        "times": [],
        "parts": 0,
        "found": 0,
        "total": 1,
        "start": 0.0,
        "cpu": 0.0,
    }
    work = psutil.Process(process.pid)
    assert process.stderr is not None
    for line in process.stderr:
        now = time.monotonic() - began
        if "clip evaluations" in line:
            numbers = [int(word) for word in line.replace(",", " ").split() if word.isdigit()]
            cpu = sum(work.cpu_times()[:2])
            found |= {"total": numbers[0], "found": (numbers[1:] or [0])[0], "start": (now, cpu)}
        elif "/" in line.partition(" ")[2].partition(" ")[0]:
            done = int(line.split()[1].partition("/")[0])
            share = done / found["total"]
            found["memory"].append((share, work.memory_info().rss))
            found["times"].append((share, now))
            parts = len(list((folder / "run" / "measurements").glob("*.parquet")))
            found["parts"] = max(found["parts"], parts)
            if share >= stop_at < 1:
                process.kill()
    process.wait()
    found["measured"] = time.monotonic() - began - found["start"][0]
    return found


def _speed(run: dict[str, Any], units: int, first: float, last: float) -> float:
    """Units per second over a range of shares, of so many units in all."""
    inside = [(share, now) for share, now in run["times"] if first <= share <= last]
    if len(inside) < 2:
        return float("nan")
    (begin, began), (end, ended) = inside[0], inside[-1]
    return (end - begin) * units / (ended - began)


def _memory(run: dict[str, Any], first: float, last: float) -> tuple[float, float]:
    """Smallest and largest resident memory (MB) over a range of shares."""
    values = [rss / 1e6 for share, rss in run["memory"] if first <= share <= last]
    return (min(values), max(values)) if values else (float("nan"), float("nan"))


if __name__ == "__main__":
    main()
