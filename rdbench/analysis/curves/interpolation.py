"""Piecewise cubic curves through a few points, many curves at once.

A curve is a cubic Hermite spline through points (x_i, y_i), x strictly increasing, with slopes d_i
at the points. On x_i … x_{i+1}, with h = x_{i+1} − x_i, m = (y_{i+1} − y_i) / h and t = x − x_i,

    y(t) = y_i + d_i t + (3m − 2d_i − d_{i+1}) t²/h + (d_i + d_{i+1} − 2m) t³/h²

PCHIP (Fritsch and Butland, SIAM J. Sci. Stat. Comput. 5, 1984) takes the weighted harmonic mean of
the neighbouring m as slope, 0 where they differ in sign, and one-sided slopes that keep the shape
at the ends (Moler, Numerical Computing with MATLAB, 2004). It never leaves the range of its
points. Akima (J. ACM 17, 1970) weights the neighbouring m by how much those beyond them differ.

Both are written here, and not taken from SciPy, because every resample of a bootstrap has its own
x: SciPy fits many y on one x alone. The tests hold these against SciPy's.

Arrays are (points, curves): points come first, so that work on neighbours is on whole rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

Interpolation = Literal["pchip", "akima"]
# Akima's weights below this share of the largest one are rounding: the slope is then the mean.
NO_WEIGHT = 1e-9


@dataclass(frozen=True)
class Spline:
    """Curves of one number of points; x, y, slopes: float64 (points, curves)."""

    x: Array
    y: Array
    slopes: Array

    def __call__(self, at: Array) -> Array:
        """Values at `at` (points, curves), which must lie within each curve's x."""
        segment = np.zeros(at.shape, dtype=np.intp)
        for knot in self.x[1:-1]:
            segment += at >= knot
        x0, x1 = self._at(self.x, segment), self._at(self.x, segment + 1)
        y0, y1 = self._at(self.y, segment), self._at(self.y, segment + 1)
        d0, d1 = self._at(self.slopes, segment), self._at(self.slopes, segment + 1)
        step, t = x1 - x0, at - x0
        chord = (y1 - y0) / step
        bend = (3 * chord - 2 * d0 - d1) / step
        twist = (d0 + d1 - 2 * chord) / step**2
        result: Array = y0 + t * (d0 + t * (bend + t * twist))
        return result

    def integrate(self, low: Array, high: Array) -> Array:
        """The integral from `low` to `high` (curves,), both within each curve's x."""
        step = self.x[1:] - self.x[:-1]
        chord = (self.y[1:] - self.y[:-1]) / step
        d0, d1 = self.slopes[:-1], self.slopes[1:]
        bend = (3 * chord - 2 * d0 - d1) / step
        twist = (d0 + d1 - 2 * chord) / step**2
        below = np.clip(low - self.x[:-1], 0, step)
        above = np.clip(high - self.x[:-1], 0, step)
        parts = _antiderivative(self.y[:-1], d0, bend, twist, above)
        parts -= _antiderivative(self.y[:-1], d0, bend, twist, below)
        result: Array = parts.sum(axis=0)
        return result

    @staticmethod
    def _at(values: Array, segment: npt.NDArray[np.intp]) -> Array:
        return np.take_along_axis(values, segment, axis=0)


def spline(x: Array, y: Array, method: Interpolation) -> Spline:
    """Curves through the points x, y (points, curves), x strictly increasing along the points.

    Two points give a straight line. Raises ValueError for fewer, and for an unknown method.
    """
    if len(x) < 2:
        raise ValueError("a curve needs at least two points")
    if method not in ("pchip", "akima"):
        raise ValueError(f"the interpolation {method!r} is neither 'pchip' nor 'akima'")
    step = x[1:] - x[:-1]
    chord = (y[1:] - y[:-1]) / step
    if len(x) == 2:
        slopes = np.repeat(chord, 2, axis=0)
    elif method == "pchip":
        slopes = _pchip_slopes(step, chord)
    else:
        slopes = _akima_slopes(chord)
    return Spline(x, y, slopes)


def _pchip_slopes(step: Array, chord: Array) -> Array:
    slopes = np.empty((len(step) + 1, *step.shape[1:]))
    before, after = chord[:-1], chord[1:]
    first = 2 * step[1:] + step[:-1]
    second = step[1:] + 2 * step[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        harmonic = (first + second) / (first / before + second / after)
    slopes[1:-1] = np.where(before * after > 0, harmonic, 0.0)
    slopes[0] = _end_slope(step[0], step[1], chord[0], chord[1])
    slopes[-1] = _end_slope(step[-1], step[-2], chord[-1], chord[-2])
    return slopes


def _end_slope(step: Array, next_step: Array, chord: Array, next_chord: Array) -> Array:
    """The slope of the parabola through three points, held back where it would turn the curve."""
    slope = ((2 * step + next_step) * chord - step * next_chord) / (step + next_step)
    turns = (np.sign(chord) != np.sign(next_chord)) & (np.abs(slope) > 3 * np.abs(chord))
    held = np.where(turns, 3 * chord, slope)
    result: Array = np.where(np.sign(slope) != np.sign(chord), 0.0, held)
    return result


def _akima_slopes(chord: Array) -> Array:
    beyond = np.empty((len(chord) + 4, *chord.shape[1:]))
    beyond[2:-2] = chord
    beyond[1] = 2 * beyond[2] - beyond[3]
    beyond[0] = 2 * beyond[1] - beyond[2]
    beyond[-2] = 2 * beyond[-3] - beyond[-4]
    beyond[-1] = 2 * beyond[-2] - beyond[-3]
    change = np.abs(beyond[1:] - beyond[:-1])
    left, right = change[2:], change[:-2]
    weight = left + right
    mean = (beyond[3:] + beyond[:-3]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        weighted = beyond[1:-2] + right / weight * (beyond[2:-1] - beyond[1:-2])
    result: Array = np.where(weight > NO_WEIGHT * weight.max(axis=0), weighted, mean)
    return result


def _antiderivative(y: Array, slope: Array, bend: Array, twist: Array, t: Array) -> Array:
    return t * (y + t * (slope / 2 + t * (bend / 3 + t * twist / 4)))
