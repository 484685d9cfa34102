"""Ends a process in which one step takes longer than it may, native code or not.

The kernel's own alarm (`setitimer`, whose clock stands still while the machine sleeps) kills the
process by SIGALRM unless it is given another term in time. It needs neither Python's lock nor a
thread of ours, and whoever waits for the process knows from the signal that it ran out of time.
"""

from __future__ import annotations

import signal

LONGEST = 10.0 * 365 * 86_400
"""The longest term, in seconds: the kernel counts in nanoseconds."""


def arm(seconds: float) -> None:
    """Gives this process `seconds` until it is ended or given another term; 0 for ever."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, min(seconds, LONGEST))


def disarm() -> None:
    """Lets this process run."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)


def ran_out(exit_code: int | None) -> bool:
    """Whether a process that ended so was ended by its alarm."""
    return exit_code == -signal.SIGALRM
