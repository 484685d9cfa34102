"""One clip in one worker: everything that a run wants of it, from its file to its rows.

On a CPU this is how clips are evaluated. A clip is loaded once, brought to every rate once and
prepared once for every metric, and only rows leave the process, so that no audio crosses between
processes and the cores are filled by as many workers. The work is the evaluator's own
(`rdbench.engine.evaluate`), with a pool that runs its jobs at once.

A watchdog ends the process where one point takes longer than it may, as a crash of native code
would; `rdbench.engine.spread` then finds out which point or metric it was.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO

from rdbench.engine.environment import full_precision
from rdbench.engine.evaluate import Evaluator, Settings
from rdbench.engine.ledger import Ledger, Writer
from rdbench.engine.plan import Metric, PlannedClip, StepId, System
from rdbench.engine.pool import Jobs, Loss
from rdbench.engine.progress import Progress
from rdbench.engine.unit_keys import UnitKeys
from rdbench.engine.worker import CodecRecipe, MetricChoice, codec_of

if TYPE_CHECKING:
    from rdbench.audio.load import ExcerptProtocol
    from rdbench.rate.coded import LatentCoder
    from rdbench.rate.trace import Trace
    from rdbench.spec.model import SystemSpec
    from rdbench.store.audio import Kept
    from rdbench.store.schema import Row
    from rdbench.types import CodecInfo

    UnitTrace = tuple[Row, Trace]

PATIENCE = 1.25
"""How often its time limit a point may take in a job of several, before the watchdog barks: alone,
it meets the limit of its job first, whose message says so."""


@dataclass(frozen=True)
class SystemSetup:
    """What makes a system in another process.

    info: what is known of the codec. coder: of the latent, where one was fitted.
    """

    spec: SystemSpec
    recipe: CodecRecipe
    source: tuple[str, ...]
    info: CodecInfo
    coder: LatentCoder | None

    @classmethod
    def of(cls, system: System) -> SystemSetup:
        """The set-up of a system that could be built here."""
        assert system.info is not None
        coder = getattr(system.codec, "coder", None)
        return cls(system.spec, system.recipe, system.source, system.info, coder)

    def build(self) -> System:
        """The system, its codec built once in this process."""
        from rdbench.codecs.posterior.base import PosteriorCodec

        codec = codec_of(self.recipe)
        codec.info = self.info
        if isinstance(codec, PosteriorCodec):
            codec.coder = self.coder
        return System(self.spec, self.recipe, codec, "", self.source)


@dataclass(frozen=True)
class Setup:
    """What all jobs of a run share. metrics, protocols: by domain. threads: of torch."""

    systems: tuple[SystemSetup, ...]
    metrics: Mapping[str, tuple[MetricChoice, ...]]
    protocols: Mapping[str, ExcerptProtocol]
    keys: UnitKeys
    settings: Settings
    threads: int

    @classmethod
    def of(
        cls,
        *,
        systems: Iterable[System],
        metrics: Mapping[str, Sequence[Metric]],
        protocols: Mapping[str, ExcerptProtocol],
        keys: UnitKeys,
        settings: Settings,
        threads: int,
    ) -> Setup:
        """The set-up of a run; systems that could not be built here are left out."""
        return cls(
            tuple(SystemSetup.of(system) for system in systems if system.codec is not None),
            {
                domain: tuple(MetricChoice(metric.key, metric.backend.name) for metric in chosen)
                for domain, chosen in metrics.items()
            },
            protocols,
            keys,
            settings,
            threads,
        )


@dataclass(frozen=True)
class ClipJob:
    """One clip and what is wanted of it, by step; kept: the audio of it that is kept already."""

    clip: PlannedClip
    wanted: Mapping[StepId, frozenset[str]]
    kept: Mapping[str, Kept]


def evaluate_clip(setup: bytes, job: ClipJob) -> tuple[list[Row], list[UnitTrace]]:
    """Every row and trace that a job asks for; a failure is a row too.

    setup: a pickled `Setup`, which is read once in a process.
    """
    desk, rows = _desk(setup), _Rows()
    with _watchdog(desk.limit):
        desk.evaluate([job], rows, AtOnce(), _Beat(desk.limit))
    return rows.rows, rows.traces


class Desk:
    """What a process keeps between the jobs of a run: systems on their device, and metrics."""

    def __init__(self, setup: Setup) -> None:
        import torch

        from rdbench.metrics.registry import backend, definition

        self._setup = setup
        self._systems = [system.build() for system in setup.systems]
        torch.set_num_threads(setup.threads)
        full_precision()
        for system in self._systems:
            if system.codec is not None:
                system.codec.to(setup.settings.device)
        self._metrics = {
            domain: tuple(
                Metric(definition(choice.key), backend(choice.key, choice.backend))
                for choice in choices
            )
            for domain, choices in setup.metrics.items()
        }
        self.limit = PATIENCE * setup.settings.timeout

    def evaluate(
        self, jobs: Sequence[ClipJob], writer: Writer, pool: Jobs, progress: Progress
    ) -> None:
        """Does jobs together, whose clips share batches; what they give goes to `writer`."""
        ledger = Ledger(
            writer,
            self._setup.keys,
            self._metrics,
            set(),
            Progress(),
            kept={key: kept for job in jobs for key, kept in job.kept.items()},
            keep_audio=self._setup.settings.audio is not None,
        )
        for job in jobs:
            ledger.reopen(job.clip, job.wanted)
        Evaluator(
            systems=self._systems,
            metrics=self._metrics,
            protocols=self._setup.protocols,
            ledger=ledger,
            pool=pool,
            settings=self._setup.settings,
            progress=progress,
        ).run([job.clip for job in jobs])


@lru_cache(maxsize=1)
def _desk(setup: bytes) -> Desk:
    return Desk(pickle.loads(setup))


class AtOnce:
    """Stands in for the pool inside a worker: a job is done when `submit` returns."""

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        timeout: float,
        done: Callable[[Any], None],
        lost: Callable[[Loss], None],
        tries: int = 2,
    ) -> None:
        """Runs the job; what it raises is why it is lost."""
        try:
            result = function(*arguments)
        except (Exception, SystemExit) as error:
            lost(Loss(f"{type(error).__name__}: {error}"))
            return
        done(result)

    def drain(self, *, block: bool = False) -> None:
        """Nothing waits."""

    def wait(self) -> None:
        """Nothing waits."""


class _Rows:
    """Stands in for the writers."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.traces: list[UnitTrace] = []

    def append(self, rows: Iterable[Row]) -> None:
        self.rows += rows

    def when_written(self, tell: Callable[[], None]) -> None:
        """Rows that travel are told of by the writer at their end."""

    def trace(self, row: Row, trace: Trace) -> None:
        """Takes a trace."""
        self.traces.append((row, trace))


class _Beat(Progress):
    """Gives the watchdog another term whenever a point is reached."""

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def at(self, system: str, point: str) -> None:
        _arm(self._limit)


@contextmanager
def _watchdog(limit: float) -> Iterator[None]:
    _arm(limit)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _arm(limit: float) -> None:
    faulthandler.dump_traceback_later(limit, exit=True, file=_nowhere())


@lru_cache(maxsize=1)
def _nowhere() -> TextIO:
    return open(os.devnull, "w")  # noqa: PTH123 (it lives as long as the process)
