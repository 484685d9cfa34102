"""The caller's own process: for codecs that live in it, such as a model that is being trained.

One shard after the other, and nothing beside them. What ends the process ends the caller; what
takes too long is not ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rdbench.engine.executors.base import Intake, Loss, after_loss
from rdbench.engine.executors.pool import AtOnce
from rdbench.engine.measure.measure import measure
from rdbench.engine.measure.workshop import Workshop
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    from rdbench.engine.measure.shard import Setup, Shard
    from rdbench.engine.measure.work import Result
    from rdbench.engine.plan.systems import System


class Here:
    """The executor of this process. systems: those of which the codec is here already."""

    def __init__(self, setup: Setup, device: str, systems: Sequence[System]) -> None:
        self._workshop = Workshop(setup.packed(), device)
        for system in systems:
            self._workshop.adopt(system)

    def run(self, shards: Iterable[Shard], intake: Intake, *, at_once: int | None = None) -> None:
        """Measures `shards` (`rdbench.engine.executors.base.Executor`)."""
        with AtOnce() as jobs:
            for shard in shards:
                parts = deque([shard])
                while parts:
                    part = parts.popleft()
                    loss = self._measured(part, jobs, intake)
                    parts.extendleft(reversed(after_loss(part, loss, intake) if loss else []))
                    intake.flush()

    def _measured(self, shard: Shard, jobs: AtOnce, intake: Intake) -> Loss | None:
        try:
            measure(shard, self._workshop, jobs, _Sink(intake))
        except RdbenchError as error:
            return Loss(str(error))
        except Exception as error:  # someone else's model; the next shard is tried all the same
            return Loss(f"{type(error).__name__}: {error}")
        return None

    def close(self) -> None:
        """Nothing was started."""


class _Sink:
    """Hands results to the intake as they come."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def deliver(self, results: Sequence[Result]) -> None:
        """Takes results."""
        self._intake.take(results)

    def at(self, system: str, point: str) -> None:
        """The work has come to this system and point."""
        self._intake.at(system, point)

    def say(self, message: str) -> None:
        """Something worth one line."""
        self._intake.say(message)
