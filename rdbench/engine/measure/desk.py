"""What a pass finds in its process while it measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rdbench.audio.load import ExcerptProtocol
    from rdbench.engine.measure.work import Result
    from rdbench.engine.plan.systems import StepId


class Sink(Protocol):
    """Where a shard's results go."""

    def deliver(self, results: Sequence[Result]) -> None:
        """Takes results."""

    def at(self, system: str, point: str) -> None:
        """The work has come to this system and point."""

    def say(self, message: str) -> None:
        """Something worth one line."""


class Jobs(Protocol):
    """What jobs are given to: the pool, or a worker's own stand-in for it.

    here: whether they run in this process.
    """

    here: bool

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        timeout: float,
        done: Callable[[Any], None],
        lost: Callable[[str], None],
        tries: int = 2,
    ) -> None:
        """Queues a job; see `WorkerPool.submit`."""

    def drain(self, *, block: bool = False) -> None:
        """Runs the callbacks of finished jobs."""

    def wait(self) -> None:
        """Runs callbacks until no job is outstanding."""


class Desk:
    """What a pass finds in its process while it measures.

    device: where models and tensor metrics run. protocols: by domain. timeout: seconds that one
    clip may take in one step. rest: called whenever a step is reached, with the seconds until which
    the next one must be; a watchdog takes it.
    """

    sink: Sink
    jobs: Jobs

    def __init__(
        self,
        device: str,
        protocols: Mapping[str, ExcerptProtocol],
        timeout: float,
        *,
        rest: Callable[[float], None] | None = None,
    ) -> None:
        self.device = device
        self.protocols = protocols
        self.timeout = timeout
        self.audio_names: dict[tuple[StepId | None, str], str] = {}
        self.clips_at_once = 1
        self._rest = rest

    def beat(self) -> None:
        """Gives what runs now another term."""
        if self._rest:
            self._rest(self.timeout * self.clips_at_once)
