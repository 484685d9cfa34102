"""A benchmark that takes a fraction of a second, and children that run it and may be killed.

Children are forked from a server that has imported everything, so that a trial costs what the run
costs and not the start of Python.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing.forkserver import _forkserver, ensure_running
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
for place in (HERE, HERE.parent / "engine"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

RATE = 16000
IMPORTED = ("torch", "pandas", "pyarrow.parquet", "pyarrow.compute", "soundfile", "pebble")


def preload() -> None:
    """Imports what a run needs; called where children are forked from."""
    import importlib

    for name in (
        *IMPORTED, "rdbench.engine.run", "rdbench.engine.measure.evaluate", "rdbench.audio.load",
        "rdbench.metrics.signal.snr", "rdbench.metrics.signal.spectral", "rdbench.store.writer",
        "rdbench.spec.load", "fakes",
    ):  # fmt: skip
        importlib.import_module(name)


if multiprocessing.current_process().name != "MainProcess" or os.environ.get("RDBENCH_PRELOAD"):
    preload()


@dataclass(frozen=True)
class Trial:
    """One run of the small benchmark in a child.

    fault: fields of `injection.Injector` beside the folder; None injects nothing. flush_rows,
    many_parts: small, so that a short run has many parts and merges them. swap: of an input
    (`swaps.AtOpening`).
    """

    clips: Path
    folder: Path
    systems: tuple[Mapping[str, Any], ...]
    metrics: tuple[str, ...] = ("snr", "si_sdr")
    workers: int = 1
    fault: Mapping[str, Any] | None = None
    swap: Any = None
    flush_rows: int = 9
    many_parts: int = 4
    batch_seconds: float = 1.0
    extra: Mapping[str, Any] = field(default_factory=dict)


def quantizer(name: str = "Quantizer", **more: Any) -> dict[str, Any]:
    return {"codec": f"fakes:{name}", "name": name, **more}


SYSTEMS = ({"codec": "identity"}, quantizer())
WITH_WORKERS = ({"codec": "identity"}, quantizer("InPool"))


def make_clips(folder: Path, count: int = 4, seconds: float = 0.5) -> Path:
    """Deterministic noisy tones."""
    import numpy as np
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        generator = np.random.default_rng(index)
        time = np.arange(round(seconds * RATE)) / RATE
        tone = 0.2 * np.sin(2 * np.pi * generator.uniform(100, 300) * time)
        soundfile.write(
            folder / f"clip_{index}.wav", tone + 0.02 * generator.standard_normal(len(time)), RATE
        )
    return folder


def run_here(trial: Trial, reports: Path | None = None) -> dict[str, Any]:
    """Runs the trial in this process; returns how it ended."""
    from injection import Injector, injected

    import rdbench.store.parts
    import rdbench.store.writer
    from rdbench.engine.progress import Progress
    from rdbench.engine.run import RunOptions, run_benchmark
    from rdbench.spec.model import BenchmarkSpec
    from rdbench.types import RdbenchError

    if trial.swap:
        trial.swap.install()
    rdbench.store.writer.FLUSH_ROWS = trial.flush_rows
    rdbench.store.parts.MANY_PARTS = trial.many_parts
    spec = BenchmarkSpec.model_validate(
        {
            "name": "small",
            "corpus": {"kind": "folder", "path": str(trial.clips)},
            "protocol": {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": 0.5},
            "metrics": {"default": list(trial.metrics)},
            "systems": [dict(system) for system in trial.systems],
            "costs": {"enabled": False},
            "traces": True,
            **trial.extra,
        }
    )
    options = RunOptions(
        device="cpu", workers=trial.workers, allow_code=True, batch_seconds=trial.batch_seconds
    )
    descriptor = os.open(reports, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if reports else -1

    class Reports(Progress):
        """Notes what the user was told, in a file that outlives the process."""

        def start(self, total: int, done: int) -> None:
            if descriptor >= 0:
                os.write(descriptor, b"." * done + b"|")

        def advance(self, steps: int = 1) -> None:
            if descriptor >= 0:
                os.write(descriptor, b"." * steps)

    injector = Injector(trial.folder, **(trial.fault or {}))
    end: dict[str, Any] = {"end": "finished"}
    with injected(injector) if trial.fault else nullcontext():
        try:
            summary = run_benchmark(spec, trial.folder, options, Reports())
            end |= {"written": summary.written, "failed": summary.failed}
        except RdbenchError as error:
            end = {"end": "refused", "sentence": str(error)}
    return end | {"steps": injector.steps}


def _child(trial: Trial, reports: Path, server: str, pipe: Any) -> None:
    _share_server(server)
    pipe.send("began")
    pipe.send(run_here(trial, reports))


def _share_server(address: str) -> None:
    """Lets the run of this child fork its workers from the server that it came from itself.

    Another server of its own would import everything again for each trial.
    """
    from rdbench.engine.executors import servers

    _forkserver._forkserver_address = address
    _forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    servers.ensure_running = lambda: None


class Children:
    """Starts trials in children that are forked from a server with everything imported."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["small_benchmark"])
        os.environ["RDBENCH_PRELOAD"] = "1"
        path = os.pathsep.join([str(HERE), str(HERE.parent / "engine")])
        os.environ["PYTHONPATH"] = path + os.pathsep + os.environ.get("PYTHONPATH", "")

    def start(self, trial: Trial, reports: Path) -> tuple[Any, Any]:
        """A child at work and the pipe on which it says "began", and how it ended."""
        ours, theirs = self._context.Pipe(duplex=False)
        ensure_running()
        server = _forkserver._forkserver_address
        child = self._context.Process(target=_child, args=(trial, reports, server, theirs))
        child.start()
        theirs.close()
        return child, ours

    def finish(self, trial: Trial, reports: Path, limit: float = 120.0) -> dict[str, Any]:
        """Runs the trial to its end, which may be {"end": "killed"}."""
        child, pipe = self.start(trial, reports)
        result: dict[str, Any] = {"end": "killed"}
        try:
            while pipe.poll(limit):
                message = pipe.recv()
                if isinstance(message, dict):
                    result = message
            result = {"end": "hung"}
        except EOFError:
            pass
        if result["end"] == "hung":
            child.kill()
        child.join()
        return result
