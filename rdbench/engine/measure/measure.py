"""The one function that measures a shard, in whatever process it has come to."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from rdbench.engine.measure.evaluate import Evaluation
from rdbench.types import ChangedError, CodecError, Score, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rdbench.engine.executors.pool import Jobs
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.measure.shard import Shard, Sink
    from rdbench.engine.plan.passes import Result, SetWork
    from rdbench.engine.plan.systems import StepId
    from rdbench.store.schema import Quantity


def measure(shard: Shard, desk: Desk, jobs: Jobs, sink: Sink) -> None:
    """Measures a shard; everything that is wanted of it has been delivered at the end.

    Raises CodecError, when the rest is done, for systems that cannot be built here.
    """
    desk.jobs, desk.sink = jobs, _Checked(sink, desk)
    desk.beat()
    unbuilt = {name: why for name, why in desk.unbuilt.items() if name in shard.systems}
    if unbuilt:
        shard = shard.without(unbuilt)
    for work in shard.sets:
        _measure_set(work, desk)
    if shard.clips:
        Evaluation(desk, shard.clips).run()
    if unbuilt:
        raise CodecError("; ".join(unbuilt.values()))


class _Checked:
    """Passes results on; those whose codec or metric had its files changed meanwhile as failed."""

    def __init__(self, sink: Sink, desk: Desk) -> None:
        self._sink = sink
        self._desk = desk

    def at(self, system: str, point: str) -> None:
        """The work has come to this system and point."""
        self._sink.at(system, point)

    def say(self, message: str) -> None:
        """Something worth one line."""
        self._sink.say(message)

    def deliver(self, results: Sequence[Result]) -> None:
        """Takes results."""
        changed = cache(self._desk.changed)
        self._sink.deliver([_held(result, changed) for result in results])


def _held(result: Result, changed: Callable[[StepId | None, Quantity], Path | None]) -> Result:
    path = changed(result.step, result.quantity)
    if path is None or result.score.status is Status.FAILED:
        return result
    return replace(result, score=Score.failed(str(ChangedError.of(str(path)))), attachment=None)


def _measure_set(work: SetWork, desk: Desk) -> None:
    step = desk.step(work.step)
    desk.clips_at_once = max(1, len(work.arrays))  # a stream of all clips takes longer than one
    desk.at(step)
    try:
        found = list(desk.passes.named(work.owner).on_set(work, step, desk))
    except Exception as error:
        reason = f"{work.owner} of {step} raised {type(error).__name__}: {error}"
        found = work.failed(Score.failed(reason))
    desk.clips_at_once = 1
    desk.sink.deliver([replace(result, set_number=work.number) for result in found])
