"""Names beside their curves, where they fit: in free space, and nearer to their own curve than to
any other. Where one of them finds no place, the figure has a legend instead.

Works on laid-out axes, in pixels: curves become points a few pixels apart, candidates are boxes
around the ends and along the line, and the boxes are taken in the order of how few a curve has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    Array = npt.NDArray[np.float64]

MOST = 8  # names; more are a legend's work
STEP = 1.5  # pixels between the points that stand for a line
GAP = 2.5  # points between a name and its curve
CLEAR = 2.2  # points between a name and everything else
OWN = 1.35  # another curve is at least this many times as far
TRIED = 40  # places that are kept per name


@dataclass(frozen=True)
class Named:
    """A curve to be named: its points in data coordinates (points, 2), and its colour."""

    text: str
    points: Array
    colour: str


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    height: float
    cost: float

    def distances(self, points: Array) -> Array:
        """From the box to each point; 0 inside."""
        across = np.maximum(
            np.maximum(self.x - points[:, 0], points[:, 0] - self.x - self.width), 0
        )
        up = np.maximum(np.maximum(self.y - points[:, 1], points[:, 1] - self.y - self.height), 0)
        result: Array = np.hypot(across, up)
        return result

    def near(self, other: _Box, gap: float) -> bool:
        return (
            self.x < other.x + other.width + gap
            and other.x < self.x + self.width + gap
            and self.y < other.y + other.height + gap
            and other.y < self.y + self.height + gap
        )


def name_directly(axes: Axes, curves: Sequence[Named], *, points: float) -> bool:
    """Writes every name beside its curve in type of `points`; False, and nothing, if one has no
    place. The layout of the figure must be final.
    """
    if not 1 < len(curves) <= MOST or any(not len(c.points) for c in curves):
        return False
    figure = axes.get_figure(root=True)
    assert figure is not None
    unit = figure.dpi / 72
    lines = [_dense(axes.transData.transform(curve.points)) for curve in curves]
    level = _levels(axes)
    sizes = [_size(axes, curve.text, points) for curve in curves]
    frame = axes.get_window_extent()
    options: dict[int, list[_Box]] = {}
    for index, size in enumerate(sizes):
        found = [
            box
            for box in _candidates(axes.transData.transform(curves[index].points), size, unit)
            if _inside(box, frame) and _free(box, index, lines, level, unit)
        ]
        options[index] = sorted(found, key=lambda box: box.cost)[:TRIED]
    chosen = _choose(options, CLEAR * unit)
    if chosen is None:
        return False
    for index, box in chosen.items():
        x, y = axes.transAxes.inverted().transform((box.x, box.y))
        axes.text(
            x, y, curves[index].text, transform=axes.transAxes, fontsize=points, va="bottom",
            ha="left", color=curves[index].colour, linespacing=1.0, zorder=6, gid="direct label",
        )  # fmt: skip
    return True


def _candidates(points: Array, size: tuple[float, float], unit: float) -> Iterator[_Box]:
    """Boxes near a curve: its ends first, then above and below along it."""
    width, height = size
    gap = (GAP + 2.0) * unit
    (x0, y0), (x1, y1) = points[0], points[-1]
    for shift in (0.0, 0.5, -0.5, 1.0, -1.0):
        yield _Box(x1 + gap, y1 - height / 2 + shift * height, width, height, abs(shift))
        yield _Box(
            x0 - gap - width, y0 - height / 2 + shift * height, width, height, 0.2 + abs(shift)
        )
    along = _dense(points, step=6 * unit)
    for x, y in along:
        for over, cost in ((gap, 1.0), (-gap - height, 1.1)):
            for side in (-0.5, 0.0, -1.0):
                away = abs(side + 0.5)
                for further in (0.0, 0.8, 1.6):
                    sign = math.copysign(1.0, over)
                    yield _Box(
                        x + side * width, y + over + sign * further * height, width, height,
                        cost + 0.3 * away + 0.5 * further,
                    )  # fmt: skip


def _free(box: _Box, own: int, lines: Sequence[Array], level: Array, unit: float) -> bool:
    mine = float(box.distances(lines[own]).min())
    if mine < GAP * unit:
        return False
    others = [float(box.distances(line).min()) for i, line in enumerate(lines) if i != own]
    if min(others) < max(CLEAR * 1.6 * unit, OWN * mine):
        return False
    crossed = (level > box.y - 1.0 * unit) & (level < box.y + box.height + 1.0 * unit)
    return not bool(crossed.any())


def _choose(options: Mapping[int, list[_Box]], gap: float) -> dict[int, _Box] | None:
    """One box each that do not touch; those with the fewest first, cheapest first."""
    order = sorted(options, key=lambda index: len(options[index]))
    budget = [4000]

    def fill(taken: dict[int, _Box], rest: Sequence[int]) -> dict[int, _Box] | None:
        if not rest:
            return taken
        for box in options[rest[0]]:
            budget[0] -= 1
            if budget[0] < 0:
                return None
            if not any(box.near(other, gap) for other in taken.values()):
                found = fill({**taken, rest[0]: box}, rest[1:])
                if found is not None:
                    return found
        return None

    return fill({}, order)


def _dense(points: Array, step: float = STEP) -> Array:
    """Points at most `step` apart along a polyline."""
    parts = [points[:1]]
    for start, end in itertools.pairwise(points):
        count = max(1, math.ceil(float(np.hypot(*(end - start))) / step))
        parts.append(start + (end - start) * np.linspace(0, 1, count + 1)[1:, None])
    return np.concatenate(parts)


def _levels(axes: Axes) -> Array:
    """Heights of anchors and ceiling."""
    found = [
        float(np.asarray(line.get_ydata(), dtype=float)[0])
        for line in axes.get_lines()
        if str(line.get_gid() or "").startswith(("anchor/", "ceiling"))
    ]
    pixels: Array = axes.transData.transform(np.array([[1.0, y] for y in found]).reshape(-1, 2))
    return pixels[:, 1]


def _size(axes: Axes, text: str, points: float) -> tuple[float, float]:
    probe: Any = axes.text(0, 0, text, fontsize=points, linespacing=1.0)
    box = probe.get_window_extent()
    probe.remove()
    return float(box.width), float(box.height)


def _inside(box: _Box, frame: Any) -> bool:
    return bool(
        box.x >= frame.x0 + 2
        and box.y >= frame.y0 + 2
        and box.x + box.width <= frame.x1 + 1
        and box.y + box.height <= frame.y1
    )
