"""Trellis-coded quantization: points of a line chosen so that errors in many dimensions are round.

A uniform quantizer of step Δ has errors that fill a cube. In n dimensions a ball of the same volume
has a smaller second moment, and what is lost by cubes is ½ log2(2πe/12) = 0.2546 bit per dimension
of a Gaussian channel. A trellis (Marcellin & Fischer 1990; Ungerboeck's codes of 1982) comes near
the ball: integer points i are divided by i mod 4 into four subsets, a state machine allows two of
them at each time, all even or all odd points, and which of the two was used leads to the next
state. Viterbi's search finds the nearest of all allowed sequences. Since the allowed points at a
time lie two apart, an index costs as much as one of a uniform quantizer of step 2.

With N the mean square error, in steps of 2, of a source that is uniform over many steps, what is
lost is ½ log2(2πe N): 0.2546 bit with one state (the uniform quantizer), 0.033 with 256.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from rdbench.rate.coded.base import Flags, Floats, Indices


@dataclass(frozen=True)
class Trellis:
    """A code of 2^memory states by its parity-check polynomials, and its N (`moment`)."""

    memory: int
    checks: tuple[int, int]
    moment: float

    @cached_property
    def following(self) -> Any:
        """The next state by state and half, int32 (states, 2): half 1 is i mod 4 of 2 or 3.

        Ungerboeck's systematic encoder with feedback: the last bit of the state says whether points
        are odd.
        """
        states = np.arange(1 << self.memory)
        if self.memory == 0:
            return np.zeros((1, 2), np.int32)
        odd = states >> (self.memory - 1)
        mask = (1 << self.memory) - 1
        halves = [((states << 1) & mask) ^ (odd * (self.checks[0] & mask)) ^ (h * self.checks[1])
                  for h in (0, 1)]  # fmt: skip
        return np.stack(halves, axis=1).astype(np.int32)

    def parity(self, states: Indices) -> Indices:
        """1 where the points allowed in these states are odd."""
        if self.memory == 0:
            return np.zeros_like(states)
        return states >> (self.memory - 1)

    def quantize(self, values: Floats, used: Flags) -> tuple[Indices, Indices]:
        """The nearest allowed sequence of each row, and the parities of its points.

        values: (rows, times), of which those are taken that are `used`. Every row begins in state
        0 and ends in any. Both results are int64 (rows, times), 0 where not used.
        """
        points = np.zeros(values.shape, np.int64)
        parities = np.zeros(values.shape, np.int64)
        before = np.argsort(self.following.ravel(), kind="stable").reshape(-1, 2)
        for row, here in enumerate(used):
            points[row, here], parities[row, here] = _search(values[row, here], before, self.memory)
        return points, parities


UNIFORM = Trellis(0, (0, 0), 1.0 / 12.0)
"""The uniform quantizer: a trellis of one state."""
STATES_256 = Trellis(8, (0o515, 0o362), 0.061284)
"""256 states (Ungerboeck 1987, table I: amplitude modulation in one dimension)."""

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _search(values, before, memory):  # type: ignore[no-untyped-def]  # pragma: no cover
    """before: (states, 2), state and half of the two ways into a state, as 2 × state + half."""
    states, times = len(before), len(values)
    cost, ahead = np.full(states, np.inf), np.empty(states)
    cost[0] = 0.0
    ways = np.empty((times, states), np.uint8)
    near, points = np.empty(4), np.empty((times, 4), np.int64)
    for t in range(times):
        for subset in range(4):
            point = 4 * math.floor((values[t] - subset) / 4.0 + 0.5) + subset
            points[t, subset] = point
            near[subset] = (values[t] - point) ** 2
        for state in range(states):
            first, second = before[state, 0], before[state, 1]
            a = cost[first >> 1] + near[_subset(first, memory)]
            b = cost[second >> 1] + near[_subset(second, memory)]
            ways[t, state] = b < a
            ahead[state] = min(a, b)
        cost, ahead = ahead, cost
    state = int(np.argmin(cost))
    found, parities = np.empty(times, np.int64), np.empty(times, np.int64)
    for t in range(times - 1, -1, -1):
        way = before[state, ways[t, state]]
        subset = _subset(way, memory)
        found[t], parities[t] = points[t, subset], subset & 1
        state = way >> 1
    return found, parities


@_compiled
def _subset(way, memory):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The subset i mod 4 of a way, 2 × state + half."""
    odd = way >> memory if memory > 0 else 0
    return 2 * (way & 1) + odd
