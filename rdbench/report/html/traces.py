"""Rate over time, coarse enough to look at and to send.

Bits accumulate over a clip; between the beginnings of frames they accumulate evenly. The rate of a
stretch is the difference at its ends over its length, so that stretches need not be whole frames,
and the mean over all stretches is the rate of the frames, side information apart.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from rdbench.report.html.content import Content

    Array = npt.NDArray[np.float64]

Traces = dict[int, dict[int, dict[str, Any]]]
STRETCHES = 80
LEVELS = 65535
UNIT = ["system", "point", "variant", "clip"]


def read_binned(content: Content) -> Traces:
    """By clip and point: what `packed` makes of the rate of each stretch, and its kind.

    Of the kinds that a codec has traces of, the point's headline kind, or else the first. Empty for
    a run without traces; raises StoreError where they are damaged.
    """
    frames = _frames(content.folder)
    found: Traces = {}
    if frames.empty:
        return found
    wanted = _headline_kinds(content)
    numbers = content.numbers
    for (system, point, variant, clip), part in frames.groupby(UNIT, sort=False):
        decoded = numbers.point_named(str(system), str(point), str(variant))
        if decoded is None:
            continue  # a system that the configuration hides
        kinds = list(dict.fromkeys(part["kind"]))
        kind = wanted.get(decoded) if wanted.get(decoded) in kinds else kinds[0]
        chosen = part[part["kind"] == kind]
        step, kbps = binned(chosen["seconds"].to_numpy(float), chosen["bits"].to_numpy(float))
        shown = {"kind": kind, **packed(step, kbps)}
        for number in numbers.clips_named(str(clip)):
            found.setdefault(number, {})[decoded] = shown
    return found


def binned(begins: Array, bits: Array, *, stretches: int = STRETCHES) -> tuple[float, Array]:
    """Length of a stretch in seconds, and the rate of each in kbps.

    begins: where each frame begins; the last is as long as most. Frames of several streams that
    begin together count as one. At most one stretch per frame.

    >>> step, kbps = binned(np.array([0.0, 0.5, 1.0, 1.5]), np.array([100.0, 300.0, 100.0, 300.0]))
    >>> step, kbps.tolist()
    (0.5, [0.2, 0.6, 0.2, 0.6])
    """
    starts, frame = np.unique(begins, return_inverse=True)
    together = np.bincount(frame, weights=bits)
    length = float(np.median(np.diff(starts))) if len(starts) > 1 else 1.0
    ends = np.append(starts, starts[-1] + length)
    total = np.concatenate([[0.0], np.cumsum(together)])
    edges = np.linspace(ends[0], ends[-1], min(stretches, len(starts)) + 1)
    step = float(edges[1] - edges[0])
    kbps: Array = np.diff(np.interp(edges, ends, total)) / step / 1000
    return step, kbps


def packed(step: float, kbps: Array) -> dict[str, Any]:
    """As the page reads it: step (seconds of a stretch), top (highest rate in kbps), and levels.

    levels: shares of `top` in 16 bits, little-endian, in base64; half the size of numbers as text.
    """
    top = float(kbps.max(initial=0.0))
    shares = np.rint(kbps / (top or 1.0) * LEVELS).astype("<u2")
    levels = base64.b64encode(shares.tobytes()).decode("ascii")
    return {"step": round(step, 6), "top": float(f"{top:.6g}"), "levels": levels}


def _frames(run: Path) -> pd.DataFrame:
    from rdbench.store.traces import read_traces

    traces = read_traces(run)
    known = (traces["axis"] == "frame") & (traces["index"] >= 0) & traces["seconds"].notna()
    return traces[known]


def _headline_kinds(content: Content) -> dict[int, str]:
    headline = content.rates[content.axes[0]]
    columns = ["system", "point", "variant", "rate_kind"]
    found = {}
    for system, point, variant, kind in headline[columns].itertuples(index=False, name=None):
        decoded = content.numbers.point_named(system, point, variant)
        if decoded is not None:
            found[decoded] = str(kind)
    return found
