"""Real clips at a metric's rate, and a reconstruction of each that is worse in a known way."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from rdbench.metrics.base import PoolBackend, Scope
from rdbench.metrics.channels import average_channels, signals_under
from rdbench.metrics.registry import backend, definition
from rdbench.types import Score

Channels = npt.NDArray[np.float32]  # (channels, time)
Reader = Callable[..., Channels]


@pytest.fixture(scope="session")
def clip_files(shared_data: Path) -> dict[str, list[str]]:
    """Every shared clip by domain."""
    files: dict[str, list[str]] = {}
    with (shared_data / "clips" / "manifest.csv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            files.setdefault(row["domain"], []).append(row["file"])
    return files


@pytest.fixture(scope="session")
def read_clip(shared_data: Path) -> Reader:
    """Reads a shared clip, resampled to `rate` hertz and cut to `seconds` (None: whole)."""
    import soundfile
    from scipy.signal import resample_poly

    def read(file: str, *, rate: int, seconds: float | None = 3.0) -> Channels:
        samples, native = soundfile.read(
            shared_data / "clips" / file, dtype="float32", always_2d=True
        )
        if seconds is not None:
            samples = samples[: int(seconds * native)]
        common = math.gcd(rate, native)
        resampled = resample_poly(samples.T, rate // common, native // common, axis=1)
        return np.ascontiguousarray(resampled, dtype=np.float32)

    return read


@pytest.fixture(scope="session")
def degrade() -> Callable[..., Channels]:
    """Noise at `level`, a soft clip and a gain: each touches waveform, spectrum and envelope."""

    def worse(samples: Channels, *, level: float = 0.003) -> Channels:
        noise = np.random.default_rng(7).standard_normal(samples.shape)
        return (0.9 * np.tanh(1.2 * samples + level * noise)).astype(np.float32)

    return worse


@pytest.fixture(scope="session")
def score_by() -> Callable[..., Score]:
    """Scores one clip, two arrays (channels, time) or (time,), by the default backend of a key."""

    def score(key: str, reference: Channels, reconstruction: Channels, rate: int) -> Score:
        import torch

        from rdbench.types import AudioBatch

        metric, meant = backend(key), definition(key)
        sides = [np.atleast_2d(np.asarray(one, np.float32)) for one in (reference, reconstruction)]
        alone = meant.scope is Scope.CLIP_ALONE
        if isinstance(metric, PoolBackend):
            pairs = zip(*(signals_under(meant.channels, side) for side in sides), strict=True)
            return average_channels(
                [
                    metric.score(
                        None if alone else metric.prepare(x, rate),
                        reconstruction=y,
                        sample_rate=rate,
                    )
                    for x, y in pairs
                ]
            )
        first, second = (
            AudioBatch(torch.from_numpy(side.copy())[None], torch.tensor([side.shape[-1]]), rate)
            for side in sides
        )
        prepared = None if alone else metric.prepare(first)
        return metric.score(prepared, reconstruction=second)[0]

    return score
