"""Small runs whose truth is known, for the tests of comparisons."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from rdbench.analysis.runs import Run
from rdbench.store.schema import COLUMNS, SCHEMA_VERSION

SECONDS = 4.0
METRICS = {
    "quality": {"name": "quality", "unit": "MOS", "direction": "higher", "version": 1},
    "distance": {"name": "distance", "unit": "dB", "direction": "lower", "version": 1},
}
CURVES: dict[str, tuple[str, dict[str, float], float]] = {
    # headline, kbps by point, the rate that gives half the quality
    "old": ("payload", {"6": 6.0, "9": 9.0, "12": 12.0, "18": 18.0, "30": 30.0}, 9.0),
    "new": ("payload", {"5": 5.0, "8": 8.0, "12": 12.0, "20": 20.0}, 6.0),
}


def score(kbps: float, half: float) -> float:
    """Quality from 1 to 5."""
    return 1 + 4 * kbps / (kbps + half)


def clips(count: int = 12) -> list[tuple[str, str]]:
    groups = max(8, count // 2)
    return [(f"folder/c{i:02d}.wav", f"g{i % groups}") for i in range(count)]


def row(**given: Any) -> dict[str, Any]:
    plain = dict.fromkeys(COLUMNS, "") | {"seconds": SECONDS, "status": "ok", "domain": "speech"}
    return plain | given


def make_run(
    curves: dict[str, tuple[str, dict[str, float], float]] | None = None,
    *,
    name: str = "run",
    count: int = 12,
    noise: float = 0.1,
    seed: int = 0,
    shift: Callable[[str, str], float] = lambda system, point: 0.0,
) -> Run:
    """shift: added to the quality of a point, taken from its distance."""
    rng = np.random.default_rng(seed)
    rows = []
    used = curves or CURVES
    for system, (kind, points, half) in used.items():
        for point, kbps in points.items():
            for clip, group in clips(count):
                hard = 1 + 0.3 * np.sin(1 + int(clip[-6:-4]))
                variant = "sample" if kind == "kl" else "codes"
                where = {"system": system, "curve": system, "point": point, "clip": clip,
                         "group": group, "variant": variant}  # fmt: skip
                bits = 1000 * kbps * SECONDS
                rows.append(row(**where, kind="rate", key=kind, value=bits, unit="bit"))
                good = score(kbps, half * hard) + noise * rng.standard_normal()
                good += shift(system, point)
                for key, value, unit in (("quality", good, "MOS"), ("distance", 20 - good, "dB")):
                    rows.append(row(**where, kind="metric", key=key, value=value, unit=unit,
                                    backend="reference"))  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float})
    frame["unit_key"] = [f"{name}{i}" for i in range(len(frame))]
    manifest = {
        "name": name,
        "schema_version": SCHEMA_VERSION,
        "protocol": {"fingerprint": "abc", "sample_rate": 16000},
        "corpus": {"clips": [
            {"name": c, "domain": "speech", "group": g, "content": f"hash of {c}"}
            for c, g in clips(count)
        ]},
        "metrics": copy.deepcopy(METRICS),
        "systems": {
            system: {"label": system.title(), "curve": system, "headline": kind}
            for system, (kind, _, _) in used.items()
        },
    }  # fmt: skip
    return Run(name, frame, manifest)


def changed(run: Run, where: pd.Series, **values: Any) -> Run:
    """The run with some cells replaced."""
    rows = run.rows.copy()
    for column, value in values.items():
        rows.loc[where, column] = value
    return replace(run, rows=rows)


def scores_of(run: Run, system: str, point: str | None = None) -> pd.Series:
    rows = run.rows
    found = (rows["system"] == system) & (rows["kind"] == "metric")
    return found if point is None else found & (rows["point"] == point)
