"""Tables of the statistics of latents: whole, by channel and place, and as spectra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.latent.decoded import LATENT
from rdbench.analysis.runs import merge, named_apart, read_run
from rdbench.latent import statistics
from rdbench.latent.places import PLACES
from rdbench.latent.stored import StoredFrames, StoredSums, read_frames, read_sums
from rdbench.latent.summary import ALL, COPIES, copy_in
from rdbench.store.schema import Kind

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from rdbench.analysis.runs import Run

EVERYWHERE = "all"
CLIPS = 2
"""Of how many clips of each domain single frames are shown: the first by name."""
CHANNEL_COLUMNS = [
    *LATENT, "place", "channel", "frames", "mean", "spread", "noise", "total", "kl", "correlation",
    "wasserstein", "kolmogorov_smirnov", "outlier_rate", "flatness",
]  # fmt: skip
SPECTRUM_COLUMNS = [*LATENT, "along", "frequency", "power"]
NORM_COLUMNS = [*LATENT, "place", "norm_low", "norm_high", "frames"]


def read_latents(
    folders: Sequence[Path],
) -> tuple[Run, list[StoredSums], list[StoredFrames]]:
    """One run of several, and what they keep of latents under the names that systems have in it.

    Raises StoreError for a folder that is no run, and NotComparableError.
    """
    runs = [read_run(folder) for folder in folders]
    run = merge(runs)
    sums, frames = [], []
    for one, folder in zip(named_apart(runs), folders, strict=True):
        for stored in read_sums(folder):
            prefix = "" if stored.system in run.systems else f"{one.name}:"
            names = {name: prefix + getattr(stored, name) for name in ("system", "curve")}
            sums.append(replace(stored, **names))
        for clip in read_frames(folder, clips=CLIPS):
            prefix = "" if clip.system in run.systems else f"{one.name}:"
            frames.append(replace(clip, system=prefix + clip.system))
    return run, sums, frames


def statistic_table(points: pd.DataFrame) -> pd.DataFrame:
    """The statistics of all clips, one row for each latent and a column for each statistic.

    points: of `rdbench.analysis.aggregate.run_points`. NaN where one is undefined.
    """
    return _by_key(points[points["backend"] == ALL], LATENT)


def copy_table(points: pd.DataFrame) -> pd.DataFrame:
    """As `statistic_table`, of degraded copies of the clips, which the column `copy` names.

    copy: "" for the clips themselves. Empty without copies.
    """
    backend = points["backend"].astype(str)
    found = points[(backend == ALL) | backend.str.startswith(ALL + COPIES)]
    table = _by_key(found.assign(copy=found["backend"].astype(str).map(copy_in)), [*LATENT, "copy"])
    return table if (table["copy"] != "").any() else table.iloc[:0]


def _by_key(rows: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    table = rows[rows["kind"] == Kind.LATENT.value].pivot_table(
        index=index, columns="key", values="value", aggfunc="last", sort=False, dropna=False,
        observed=True,
    )  # fmt: skip
    return table.dropna(how="all").reset_index()


def channel_table(stored: Sequence[StoredSums]) -> pd.DataFrame:
    """One row for each latent, place and channel; columns `CHANNEL_COLUMNS`.

    place: one of `PLACES`, or "all", which alone has what follows from all frames together.
    """
    import pandas as pd

    rows = [row for one in stored for row in _channels(one)]
    return pd.DataFrame(rows, columns=CHANNEL_COLUMNS)


def spectrum_table(stored: Sequence[StoredSums]) -> pd.DataFrame:
    """Power of μ along "time" (mean over channels) and "channels"; columns `SPECTRUM_COLUMNS`.

    frequency: in cycles per frame or per channel.
    """
    import pandas as pd

    rows = []
    for one in stored:
        along = {
            "time": statistics.time_spectrum(one.sums).mean(axis=0),
            "channels": statistics.channel_spectrum(one.sums),
        }
        sizes = {"time": statistics.SEGMENT, "channels": one.sums.channels}
        for axis, power in along.items():
            for step, value in enumerate(power):
                place = {"along": axis, "frequency": step / sizes[axis], "power": value}
                rows.append(_place(one) | place)
    return pd.DataFrame(rows, columns=SPECTRUM_COLUMNS)


def norm_table(stored: Sequence[StoredSums]) -> pd.DataFrame:
    """Histograms of ‖z‖²/D by place; columns `NORM_COLUMNS`.

    frames: between norm_low and norm_high; the outer bins have what lies beyond.
    """
    import pandas as pd

    edges = statistics.NORM_EDGES
    rows = [
        _place(one)
        | {"place": place, "norm_low": edges[i], "norm_high": edges[i + 1], "frames": frames}
        for one in stored
        for place, counts in zip(PLACES, one.sums.norms, strict=True)
        for i, frames in enumerate(counts)
    ]
    return pd.DataFrame(rows, columns=NORM_COLUMNS)


def _channels(one: StoredSums) -> Iterator[dict[str, Any]]:
    wasserstein, smirnov = statistics.distances(one.sums)
    whole = {
        "wasserstein": wasserstein,
        "kolmogorov_smirnov": smirnov,
        "outlier_rate": statistics.outlier_rate(one.sums),
        "flatness": statistics.flatness(one.sums),
    }
    none = np.full(one.sums.channels, np.nan)
    for number, place in [(None, EVERYWHERE), *enumerate(PLACES)]:
        found = statistics.by_place(one.sums, number)
        names = ("mean", "spread", "noise", "total", "kl", "correlation")
        columns = {name: getattr(found, name) for name in names}
        columns |= {name: none if number is not None else part for name, part in whole.items()}
        for channel in range(one.sums.channels):
            yield (
                _place(one)
                | {"place": place, "channel": channel, "frames": found.frames}
                | {name: part[channel] for name, part in columns.items()}
            )


def _place(one: StoredSums) -> dict[str, Any]:
    return {name: getattr(one, name) for name in LATENT}
