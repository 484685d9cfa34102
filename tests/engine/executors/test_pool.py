"""Jobs beside a device have their time by a clock that neither jumps nor counts sleep."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from counting_jobs import ends_well, waits

from rdbench.engine.executors.pool import worker_pool


def outcome(job: Any, *arguments: Any, timeout: float) -> Any:
    found: list[Any] = []
    with worker_pool(1) as jobs:
        jobs.submit(job, *arguments, timeout=timeout, done=found.append, lost=found.append)
        jobs.wait()
    (one,) = found
    return one


def test_a_jump_of_the_time_of_day_ends_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    real, began = time.time, time.monotonic()

    def jumping() -> float:
        return real() + (7200.0 if time.monotonic() - began > 1.0 else 0.0)

    monkeypatch.setattr(time, "time", jumping)
    assert outcome(waits, 3.0, timeout=600.0) == "waited"


def test_a_job_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()
    reason = outcome(waits, 600.0, timeout=1.0)
    assert "no answer within 1 s (timeouts.unit_seconds)" in reason
    assert time.monotonic() - began < 300.0


def test_a_worker_that_leaves_in_silence_is_one_that_does_not_answer() -> None:
    """An exit with code 0 in the middle of a job says nothing to the pool."""
    assert "no answer within 2 s" in outcome(ends_well, timeout=2.0)


def test_a_limit_of_any_length_is_no_overflow() -> None:
    assert outcome(os.getpid, timeout=1e30) != os.getpid()
