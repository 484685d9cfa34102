"""Nominal rates counted again: frames × Σ log2(codebook size), from what a manifest states.

A clip of s seconds has at least ⌊s · frame rate⌋ − 1 frames (a codec may drop the last one), and
each has the bits of the codebooks that its point has. A row with fewer is no nominal rate. A row
with more is not refused: side information and a second channel come on top.

Manifests of earlier versions do not state codebooks; there the bits of a frame are those of the
point's target rate, which of a codec with tokens is its nominal rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.store.schema import Kind
from rdbench.types import RateKind, Status

if TYPE_CHECKING:
    import pandas as pd

SLACK = 1e-6  # of rounding


def wrong_rates(rows: pd.DataFrame, manifest: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each point whose nominal rates are too low for its frames and codebooks."""
    for (system, point), part in _nominal(rows):
        card = manifest["systems"].get(system) or {}
        rate, bits = _number(card.get("frame_rate_hz")), bits_per_frame(card, point)
        if not rate > 0 or not bits > 0:
            continue
        frames = np.floor(part["seconds"].to_numpy(float) * rate * (1 + SLACK)) - 1
        short = part["value"].to_numpy(float) < frames * bits * (1 - SLACK)
        if short.any():
            clip = part["clip"].to_numpy()[short][0]
            yield (
                f"{int(short.sum())} of {len(part)} nominal rates of {system} {point} are below "
                f"frames × Σ log2(codebook size) = {rate:g} × {bits:g} bits per second (first at "
                f"{clip}); submit the rates as they were measured"
            )


def uncounted(rows: pd.DataFrame, manifest: Mapping[str, Any]) -> list[str]:
    """The systems with nominal rates of which nothing says what they are counted from."""
    found: dict[str, None] = {}
    for (system, point), _ in _nominal(rows):
        card = manifest["systems"].get(system) or {}
        if not _number(card.get("frame_rate_hz")) * bits_per_frame(card, point) > 0:
            found[system] = None
    return list(found)


def bits_per_frame(card: Mapping[str, Any], point: str) -> float:
    """Bits of a frame of a system at a point, NaN where its card does not state them.

    >>> card = {"codebook_sizes": {"8": [1024] * 8}, "frame_rate_hz": 100.0}
    >>> bits_per_frame(card, "8")
    80.0
    >>> bits_per_frame({"target_kbps": {"6": 6.0}, "frame_rate_hz": 50.0}, "6")
    120.0
    """
    sizes = _entry(card, "codebook_sizes", point)
    if isinstance(sizes, Sequence) and sizes:
        return math.fsum(math.log2(size) if (size := _number(one)) > 0 else math.nan
                         for one in sizes)  # fmt: skip
    rate = _number(card.get("frame_rate_hz"))
    return 1000 * _number(_entry(card, "target_kbps", point)) / rate if rate > 0 else math.nan


def _nominal(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    chosen = rows[
        (rows["kind"] == Kind.RATE.value)
        & (rows["key"] == RateKind.NOMINAL.value)
        & (rows["status"] == Status.OK.value)
    ]
    for (system, point), part in chosen.groupby(["system", "point"], sort=False):
        yield (str(system), str(point)), part


def _entry(card: Mapping[str, Any], key: str, point: str) -> Any:
    found = card.get(key)
    return found.get(point) if isinstance(found, Mapping) else None


def _number(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number else math.nan
