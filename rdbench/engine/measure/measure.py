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

    from rdbench.engine.measure.desk import Jobs, Sink
    from rdbench.engine.measure.shard import Shard
    from rdbench.engine.measure.work import Result, SetWork
    from rdbench.engine.measure.workshop import Workshop
    from rdbench.engine.plan.systems import StepId
    from rdbench.store.schema import Quantity


def measure(shard: Shard, workshop: Workshop, jobs: Jobs, sink: Sink) -> None:
    """Measures a shard; everything that is wanted of it has been delivered at the end.

    Raises CodecError, when the rest is done, for systems that cannot be built here.
    """
    workshop.jobs, workshop.sink = jobs, _Checked(sink, workshop)
    workshop.beat()
    unbuilt = {name: why for name, why in workshop.unbuilt.items() if name in shard.systems}
    if unbuilt:
        shard = shard.without(unbuilt)
    for work in shard.sets:
        _measure_set(work, workshop)
    if shard.clips:
        Evaluation(workshop, shard.clips).run()
    if unbuilt:
        raise CodecError("; ".join(unbuilt.values()))


class _Checked:
    """Passes results on; those whose codec or metric had its files changed meanwhile as failed."""

    def __init__(self, sink: Sink, workshop: Workshop) -> None:
        self._sink = sink
        self._workshop = workshop

    def at(self, system: str, point: str) -> None:
        """The work has come to this system and point."""
        self._sink.at(system, point)

    def say(self, message: str) -> None:
        """Something worth one line."""
        self._sink.say(message)

    def deliver(self, results: Sequence[Result]) -> None:
        """Takes results."""
        changed = cache(self._workshop.changed)
        self._sink.deliver([_held(result, changed) for result in results])


def _held(result: Result, changed: Callable[[StepId | None, Quantity], Path | None]) -> Result:
    path = changed(result.step, result.quantity)
    if path is None or result.score.status is Status.FAILED:
        return result
    return replace(result, score=Score.failed(str(ChangedError.of(str(path)))), attachment=None)


def _measure_set(work: SetWork, workshop: Workshop) -> None:
    step = workshop.step(work.step)
    workshop.clips_at_once = max(1, len(work.arrays))  # a stream of all clips takes longer than one
    workshop.at(step)
    try:
        found = list(workshop.passes.named(work.owner).on_set(work, step, workshop))
    except Exception as error:  # a set's fault is its row, with the reason
        reason = f"{work.owner} of {step} raised {type(error).__name__}: {error}"
        found = work.failed(Score.failed(reason))
    workshop.clips_at_once = 1
    workshop.sink.deliver([replace(result, set_number=work.number) for result in found])
