"""What an executor is, and the one ladder for what is lost.

An executor measures shards, wherever its processes are; every one of them ends in
`rdbench.engine.measure.measure.measure`. Results come as they are made. Where a process is lost
with a shard, the ladder says what is tried next: the clips one by one, then the steps of a clip,
then the quantities of a step; what is lost alone, twice, has failed, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rdbench.engine.measure.shard import Shard
    from rdbench.engine.measure.work import Result

TRIES = 2
"""How often a process may be lost with the smallest shard before that has failed."""


@dataclass(frozen=True)
class Loss:
    """Why a shard was lost. timed_out: whether it ran past its time limit. final: whether there is
    no process that it could be tried in. tries: how often the smallest shard may be lost so.
    """

    reason: str
    timed_out: bool = False
    final: bool = False
    tries: int = TRIES


Provenance = tuple[str, Mapping[str, Any]]
"""With what something was measured (`rdbench.engine.environment.provenance`)."""


class Intake(Protocol):
    """Who takes what an executor's processes make: the run that writes it."""

    def take(self, results: Sequence[Result], *, provenance: Provenance | None = None) -> None:
        """Takes results; provenance: where they were not measured with what this process has."""

    def rest(self, shard: Shard) -> Shard | None:
        """What is still open of a shard; None where nothing is."""

    def give_up(self, shard: Shard, loss: Loss) -> None:
        """Takes everything open of a shard as failed."""

    def at(self, system: str, point: str) -> None:
        """Some process has come to this system and point."""

    def at_work(self, workers: int, shards: int) -> None:
        """How many workers of a cluster there are, and how many shards they have in hand."""

    def say(self, message: str) -> None:
        """Something worth one line."""

    def flush(self) -> None:
        """Called now and then, also while nothing comes."""


class Executor(Protocol):
    """Measures shards. Processes are started when the first shard comes, and stay until `close`."""

    def run(self, shards: Iterable[Shard], intake: Intake, *, at_once: int | None = None) -> None:
        """Measures `shards`, in any order, taking each when there is a place for it.

        at_once: no more than so many at the same time.
        """

    def close(self) -> None:
        """Ends every process at once; what they were doing is lost to them, not to the store."""


def after_loss(shard: Shard, loss: Loss, intake: Intake) -> list[Shard]:
    """What to try after a process was lost with `shard`; what is not worth a try has failed."""
    rest = intake.rest(shard)
    if rest is None:
        return []
    smaller = rest.smaller()
    step_alone = len(rest.clips) == 1 and rest.clips[0].steps == 1
    if loss.timed_out and step_alone:
        smaller = []  # each quantity would wait for the same time limit
    if smaller and not loss.final:
        return smaller
    losses = rest.losses + 1
    if losses < loss.tries and not loss.final and not loss.timed_out:
        return [replace(rest, losses=losses)]
    intake.give_up(rest, loss)
    return []
