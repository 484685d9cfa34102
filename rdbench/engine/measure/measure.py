"""The one function that measures a shard, in whatever process it has come to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rdbench.engine.measure.evaluate import Evaluation
from rdbench.types import CodecError, Score

if TYPE_CHECKING:
    from rdbench.engine.executors.pool import Jobs
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.measure.shard import Shard, Sink
    from rdbench.engine.plan.passes import SetWork


def measure(shard: Shard, desk: Desk, jobs: Jobs, sink: Sink) -> None:
    """Measures a shard; everything that is wanted of it has been delivered at the end.

    Raises CodecError, when the rest is done, for systems that cannot be built here.
    """
    desk.jobs, desk.sink = jobs, sink
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


def _measure_set(work: SetWork, desk: Desk) -> None:
    step = desk.step(work.step)
    desk.clips_at_once = max(1, len(work.arrays))  # a stream of all clips takes longer than one
    desk.at(step)
    try:
        found = list(desk.passes.named(work.owner).on_set(work, step, desk))
    except Exception as error:  # a set's fault is its row, with the reason
        reason = f"{work.owner} of {step} raised {type(error).__name__}: {error}"
        found = work.failed(Score.failed(reason))
    desk.clips_at_once = 1
    desk.sink.deliver([replace(result, set_number=work.number) for result in found])
