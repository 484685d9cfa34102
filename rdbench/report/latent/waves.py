"""Clips frame by frame: the waveform, and below it what the latents hold of each moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rdbench.latent.places import PLACES, places
from rdbench.report.figures.style import COLOURS, DASHES
from rdbench.report.latent.content import LatentContent
from rdbench.report.latent.pictures import plain_logarithm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rdbench.latent.frames import LatentFrames

SHADES = {"silence": "#DDE3EA", "transient": "#F7D9B8"}
"""The colours of places; steady frames have none."""
_LEAST_NATS = 0.1
"""What has less is drawn there."""


def draw_waves(content: LatentContent, domain: str, clip: str, *, width: float) -> Figure | None:
    """One clip: its waveform, and below it the KL of each latent per frame, in nats.

    Places are shaded, those of the latent with the most frames. None where no latent has a KL.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    found = {
        content.name(latent): frames
        for latent, frames in content.frames_of(domain, clip).items()
        if np.isfinite(frames.kl).all()
    }
    if not found:
        return None
    finest = max(found.values(), key=lambda frames: len(frames.kl))
    figure = Figure(layout="constrained")
    figure.set_size_inches(width, 3.1)
    wave, nats = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    for panel in (wave, nats):
        _shade(panel, finest)
        panel.grid(visible=False, axis="x")
    _draw_wave(wave, finest)
    _draw_nats(nats, found)
    handles, labels = nats.get_legend_handles_labels()
    handles += [Patch(color=colour) for colour in SHADES.values()]
    figure.legend(handles, [*labels, *SHADES], loc="outside upper center", ncols=4)
    return figure


def _draw_wave(panel: Axes, frames: LatentFrames) -> None:
    edges = np.append(frames.begin, frames.begin[-1] + _step(frames))
    parts = np.interp(
        np.arange(frames.low.size + 1) / len(frames.low), np.arange(len(edges)), edges
    )
    low, high = frames.low.T.ravel(), frames.high.T.ravel()
    panel.fill_between(
        parts, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color="#3A4048",
        linewidth=0.3,
    )  # fmt: skip
    top = max(float(np.abs([low, high]).max()), 1e-3)
    panel.set_ylim(-1.05 * top, 1.05 * top)
    panel.set_xlim(0.0, float(edges[-1]))
    panel.set_ylabel("waveform")


def _draw_nats(panel: Axes, found: Mapping[str, LatentFrames]) -> None:
    shown: list[float] = []
    for number, (name, frames) in enumerate(found.items()):
        values = np.maximum(frames.kl, _LEAST_NATS)
        shown += [values.min(), values.max()]
        panel.plot(
            frames.begin + 0.5 * _step(frames), values, color=COLOURS[number % len(COLOURS)],
            linestyle=DASHES[number % len(DASHES)], linewidth=0.9, label=name,
        )  # fmt: skip
    panel.set_yscale("log")
    panel.set_ylim(0.8 * min(shown), 1.25 * max(shown))
    plain_logarithm(panel.yaxis, *panel.get_ylim())
    panel.set_ylabel("KL (nats per frame)")
    panel.set_xlabel("time (s)")


def _shade(panel: Axes, frames: LatentFrames) -> None:
    where, step = places(frames.level), _step(frames)
    for place, colour in SHADES.items():
        for first, last in _stretches(where == PLACES.index(place)):
            begin, end = frames.begin[first], frames.begin[last] + step
            panel.axvspan(begin, end, color=colour, linewidth=0, zorder=0)


def _stretches(flags: np.ndarray) -> Sequence[tuple[int, int]]:
    """First and last frame of each stretch of them."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _step(frames: LatentFrames) -> float:
    """Seconds of a frame; of a clip of one frame a second."""
    return float(frames.begin[1]) if len(frames.begin) > 1 else 1.0
