"""What a process keeps between the shards of a run: codecs on their device, passes, protocols."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from rdbench.engine.environment import full_precision
from rdbench.engine.measure.shard import Setup
from rdbench.engine.plan.passes import Passes
from rdbench.engine.plan.systems import Step, StepId, System

if TYPE_CHECKING:
    from rdbench.engine.executors.pool import Jobs
    from rdbench.engine.measure.shard import Sink


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


@lru_cache(maxsize=1)
def desk_of(setup: bytes) -> Desk:
    """The desk of a worker beside a device, made once in a process: on the CPU, one thread."""
    return Desk(replace(pickle.loads(setup), threads=1))
