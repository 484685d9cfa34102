"""The alarm that ends a process takes terms of any length."""

from __future__ import annotations

import signal

import pytest

from rdbench.engine.executors import watch


@pytest.mark.parametrize(("seconds", "left"), [(60.0, 60.0), (1e30, watch.LONGEST)])
def test_a_term_is_what_was_given_or_the_longest(seconds: float, left: float) -> None:
    before = signal.getsignal(signal.SIGALRM)
    try:
        watch.arm(seconds)
        assert signal.getitimer(signal.ITIMER_REAL)[0] == pytest.approx(left, abs=30.0)
        watch.disarm()
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0
    finally:
        watch.disarm()
        signal.signal(signal.SIGALRM, before)
