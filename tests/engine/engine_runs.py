"""Runs of small benchmarks: tones of a second, one worker, fake codecs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from rdbench.engine.progress import Progress
from rdbench.engine.run import RunOptions, RunSummary, run_benchmark
from rdbench.spec.model import BenchmarkSpec
from rdbench.store.features import Feature, read_features
from rdbench.store.manifest import read_manifest
from rdbench.store.parts import RETIRED, read_all
from rdbench.store.reader import read_rows
from rdbench.store.schema import Kind, Quantity

RATE = 8000
PLACE = ["system", "point", "variant", "clip", "kind", "key", "backend"]
"""What tells one row of a run from another."""


def make_clips(folder: Path, names: Sequence[str], seconds: float = 1.0) -> Path:
    """A folder of tones in noise, each of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        generator = np.random.default_rng(list(name.encode()))
        time = np.arange(round(seconds * RATE)) / RATE
        wave = 0.3 * np.sin(2 * np.pi * generator.uniform(200, 900) * time)
        wave *= 1 + 0.3 * np.sin(2 * np.pi * 3 * time)
        noise = 0.02 * generator.standard_normal(len(time))
        soundfile.write(folder / f"{name}.wav", wave + noise, RATE, subtype="PCM_16")
    return folder


def write_manifest(folder: Path, groups: Mapping[str, str]) -> Path:
    """A manifest that lists clips of `folder` with their groups."""
    path = folder / "clips.csv"
    lines = [f"{name}.wav,{group},audio" for name, group in groups.items()]
    path.write_text("\n".join(["file,group,domain", *lines]) + "\n")
    return path


class Listener(Progress):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def fake(codec: str, **more: Any) -> dict[str, Any]:
    """A system of `fakes`, called as its class where no name is given."""
    return {"codec": f"fakes:{codec}", "name": codec, **more}


def run(
    corpus: Path,
    folder: Path,
    *systems: dict[str, Any],
    metrics: Sequence[str] = ("snr",),
    unit_seconds: float = 120.0,
    progress: Progress | None = None,
    spec: Mapping[str, Any] | None = None,
    **options: Any,
) -> RunSummary:
    """Runs `systems` on a folder of clips or a manifest; spec: more of its sections."""
    kind = "folder" if corpus.is_dir() else "manifest"
    content = {
        "name": "small",
        "corpus": {"kind": kind, "path": str(corpus)},
        "protocol": {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": None},
        "metrics": {"default": list(metrics)},
        "systems": list(systems),
        "costs": {"enabled": False},
        "timeouts": {"unit_seconds": unit_seconds},
    }
    how = RunOptions(allow_code=True, **{"device": "cpu", "workers": 1, **options})
    return run_benchmark(
        BenchmarkSpec.model_validate(content | dict(spec or {})), folder, how, progress
    )


def rows(folder: Path, **where: str) -> pd.DataFrame:
    """The rows of a run, those alone in which columns have some values."""
    found = read_rows(folder)
    for column, value in where.items():
        found = found[found[column] == value]
    return found.reset_index(drop=True)


def clip_features(folder: Path, metric: str) -> list[Feature]:
    """What each clip added to the value of a metric of sets."""
    key, model = read_manifest(folder)["metrics"][metric]["feature"]
    return read_features(folder, Quantity(Kind.FEATURE, key, model))


def everything(folder: Path) -> pd.DataFrame:
    """All rows, those too that stand for what lies beside the measurements, by unit key."""
    found: pd.DataFrame = read_all(folder / "measurements").to_pandas()
    return found.set_index("unit_key").sort_index()


def retired(folder: Path) -> int:
    """How many rows lie aside."""
    return len(read_all(folder / RETIRED, ("unit_key",)))
