"""Time is charged to one side at a time, and none of it is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbench.stopwatch import Side, Stopwatch, charged_to

SIDES = st.sampled_from(list(Side))


class Clock:
    """Stands still until it is told to go on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(clock: Clock) -> None:
    with charged_to(Side.ENCODER):
        clock.now += 8
        raise ValueError("it fails")


def test_what_is_charged_inside_is_not_charged_around_it() -> None:
    clock = Clock()
    watch = Stopwatch(clock=clock)
    with watch.running():
        clock.now += 1
        with charged_to(Side.DECODER):
            clock.now += 2
            with charged_to(Side.NOBODY):
                clock.now += 4
            with pytest.raises(ValueError, match="fails"):
                fail(clock)
            clock.now += 16
    clock.now += 32
    assert watch.seconds == {Side.ENCODER: 8, Side.DECODER: 18, Side.NOBODY: 5}


def test_nothing_is_charged_where_nothing_is_timed() -> None:
    clock = Clock()
    watch = Stopwatch(clock=clock)
    with watch.running():
        pass
    with charged_to(Side.ENCODER):
        clock.now += 1
    assert not any(watch.seconds.values())


def test_the_device_has_done_its_work_whenever_the_clock_is_read() -> None:
    """Work that is handed over takes its time when it is waited for."""
    clock, waiting = Clock(), [0.0]

    def synchronize() -> None:
        clock.now += waiting.pop() if waiting else 0.0

    watch = Stopwatch(synchronize, clock)
    with watch.running():
        with charged_to(Side.ENCODER):
            waiting.append(3.0)
        with charged_to(Side.DECODER):
            waiting.append(5.0)
    assert watch.seconds == {Side.ENCODER: 3, Side.DECODER: 5, Side.NOBODY: 0}


@given(st.lists(st.tuples(SIDES, st.integers(0, 1000)), min_size=1, max_size=8))
def test_all_time_is_charged_to_the_innermost_side(pieces: list[tuple[Side, int]]) -> None:
    """Each piece is inside of the one before, and as much time passes before and after it."""
    clock = Clock()
    watch = Stopwatch(clock=clock)

    def nest(rest: list[tuple[Side, int]]) -> None:
        if rest:
            side, seconds = rest[0]
            with charged_to(side):
                clock.now += seconds
                nest(rest[1:])
                clock.now += seconds

    with watch.running():
        nest(pieces)
    wanted = {side: sum(2 * s for other, s in pieces if other is side) for side in Side}
    assert watch.seconds == pytest.approx(wanted)
