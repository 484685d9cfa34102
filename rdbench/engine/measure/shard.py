"""A shard, and the one function that measures it, in whatever process it has come to.

A shard is a few clips of one domain with what is wanted of each, or a set of clips with the arrays
that its values are made of. It names clips, systems and passes; what it needs beside that is the
run's `Setup`, which a process reads once and makes a `Desk` of: codecs on their device, passes,
protocols. `Desk.measure` gives results to a sink as they come.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from rdbench.engine.environment import full_precision
from rdbench.engine.passes.base import Pass, Passes, Result, SetWork
from rdbench.engine.plan.systems import CodecRecipe, Step, StepId, System
from rdbench.types import Score

if TYPE_CHECKING:
    from rdbench.audio.load import ExcerptProtocol
    from rdbench.engine.executors.pool import Jobs
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.rate.coded import LatentCoder
    from rdbench.spec.model import SystemSpec
    from rdbench.store.audio import Kept
    from rdbench.store.schema import Quantity
    from rdbench.types import CodecInfo


@dataclass(frozen=True)
class ClipWork:
    """One clip and what is wanted of it, by step (None: of its reference).

    kept: the audio of it that is kept already, by step. audio_names: of the files to keep.
    """

    clip: PlannedClip
    wanted: Mapping[StepId | None, frozenset[Quantity]]
    kept: Mapping[StepId, Kept] = field(default_factory=dict)
    audio_names: Mapping[StepId | None, str] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """How many steps it is wanted in."""
        return len(self.wanted)


@dataclass(frozen=True)
class Shard:
    """Work for one process. losses: how many processes it has ended so far."""

    clips: tuple[ClipWork, ...] = ()
    sets: tuple[SetWork, ...] = ()
    losses: int = 0

    def smaller(self) -> list[Shard]:
        """The next rung: clip by clip, step by step, quantity by quantity; none below that."""
        if len(self.clips) + len(self.sets) > 1:
            alone = [Shard(clips=(clip,)) for clip in self.clips]
            return [*alone, *(Shard(sets=(one,)) for one in self.sets)]
        if self.sets:
            return []
        (work,) = self.clips
        if work.steps > 1:
            parts: list[dict[StepId | None, frozenset[Quantity]]] = [
                {step: asked} for step, asked in work.wanted.items()
            ]
        else:
            ((step, quantities),) = work.wanted.items()
            if len(quantities) == 1:
                return []
            parts = [{step: frozenset({quantity})} for quantity in sorted(quantities)]
        return [Shard(clips=(replace(work, wanted=part),)) for part in parts]


class Sink(Protocol):
    """Where a shard's results go."""

    def deliver(self, results: Sequence[Result]) -> None:
        """Takes results."""

    def at(self, system: str, point: str) -> None:
        """The work has come to this system and point."""

    def say(self, message: str) -> None:
        """Something worth one line."""


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
        """The system with a codec of its own."""
        from rdbench.codecs.posterior.base import PosteriorCodec

        codec = self.recipe.build()
        codec.info = self.info
        if isinstance(codec, PosteriorCodec):
            codec.coder = self.coder
        return System(self.spec, self.recipe, codec, "", self.source)


@dataclass(frozen=True)
class Setup:
    """What all shards of a run share.

    protocols: by domain. threads: of torch. timeout: seconds that one clip may take in one step.
    batch_seconds: audio that goes through a model together, 0 for one clip at a time. align:
    whether reconstructions are scored after removing their residual delay.
    """

    systems: tuple[SystemSetup, ...]
    passes: tuple[Pass, ...]
    protocols: Mapping[str, ExcerptProtocol]
    threads: int
    timeout: float
    batch_seconds: float
    align: bool

    def packed(self) -> bytes:
        """As it travels."""
        return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)


class Desk:
    """What a process keeps between the shards of a run.

    device: where models and tensor metrics run. rest: called whenever a step is reached, with the
    seconds until which the next one must be; a watchdog takes it.
    """

    sink: Sink
    jobs: Jobs

    def __init__(
        self, setup: Setup, device: str = "cpu", rest: Callable[[float], None] | None = None
    ) -> None:
        import torch

        torch.set_num_threads(setup.threads)
        full_precision()
        self.device = device
        self.packed = setup.packed()
        self.passes = Passes(setup.passes)
        self.protocols = setup.protocols
        self.timeout = setup.timeout
        self.align = setup.align
        self.batch_seconds = setup.batch_seconds
        self.audio_names: dict[tuple[StepId | None, str], str] = {}
        self.clips_at_once = 1
        self._rest = rest
        self._setups = {one.spec.name: one for one in setup.systems}
        self._systems: dict[str, System] = {}
        self._steps: dict[StepId, Step] = {}

    def build(self) -> None:
        """Builds every codec and metric, so that no clip is charged for it."""
        for name in self._setups:
            self.system(name)

    def system(self, name: str) -> System:
        """A system, its codec built once and on its device."""
        if name not in self._systems:
            built = self._setups[name].build()
            assert built.codec is not None
            built.codec.to(self.device)
            self._systems[name] = built
            self._steps |= {step.id: step for step in built.steps}
        return self._systems[name]

    def step(self, step: StepId) -> Step:
        """A step of a system of this run."""
        self.system(step[0])
        return self._steps[step]

    @property
    def system_names(self) -> tuple[str, ...]:
        """The systems in the order of the spec."""
        return tuple(self._setups)

    def at(self, step: Step) -> None:
        """Tells which step is reached."""
        self.beat()
        self.sink.at(step.system.name, step.point.name)

    def beat(self) -> None:
        """Gives what runs now another term."""
        if self._rest:
            self._rest(self.timeout * self.clips_at_once)

    def measure(self, shard: Shard, jobs: Jobs, sink: Sink) -> None:
        """Measures a shard; everything that is wanted of it has been delivered at the end."""
        from rdbench.engine.measure.evaluate import Evaluation

        self.jobs, self.sink = jobs, sink
        self.beat()
        for work in shard.sets:
            self._measure_set(work)
        if shard.clips:
            Evaluation(self, shard.clips).run()

    def _measure_set(self, work: SetWork) -> None:
        step = self.step(work.step)
        self.at(step)
        try:
            found = list(self.passes.named(work.owner).on_set(work, step, self))
        except Exception as error:
            reason = f"{work.owner} of {step} raised {type(error).__name__}: {error}"
            found = work.failed(Score.failed(reason))
        self.sink.deliver([replace(result, set_number=work.number) for result in found])


@lru_cache(maxsize=1)
def desk_of(setup: bytes) -> Desk:
    """The desk of a packed set-up on the CPU, made once in a process."""
    return Desk(pickle.loads(setup))
