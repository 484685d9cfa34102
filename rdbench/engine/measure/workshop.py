"""What a process keeps between the shards of a run: codecs on their device, passes, protocols."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from rdbench.codecs.precision import turn_off_tf32
from rdbench.engine.measure.desk import Desk
from rdbench.engine.measure.passes import Passes
from rdbench.engine.measure.shard import Setup
from rdbench.engine.plan.systems import Step, StepId, System
from rdbench.identity import Watch
from rdbench.types import ChangedError, RdbenchError
from rdbench.weights.published import with_downloads

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.store.schema import Quantity


class Workshop(Desk):
    """A desk, with what a process keeps between the shards of a run: codecs and passes."""

    def __init__(
        self, packed: bytes, device: str = "cpu", rest: Callable[[float], None] | None = None
    ) -> None:
        import torch

        setup: Setup = pickle.loads(packed)
        super().__init__(device, setup.protocols, setup.timeout, rest=rest)
        torch.set_num_threads(setup.threads)
        turn_off_tf32()
        self.packed = packed
        self.passes = Passes(setup.passes)
        self.batch_seconds = setup.batch_seconds
        self._fetching = _unsaid if setup.allow_download else None
        self.unbuilt: dict[str, str] = {}
        self._setups = {one.spec.name: one for one in setup.systems}
        self._watches = {name: Watch(one.files) for name, one in self._setups.items()}
        self._watched_keys = {
            (one.name, key): Watch(files)
            for one in self.passes.all
            for key, files in one.files().items()
        }
        for watch in self._watched_keys.values():
            watch.changed()  # from now on, what is written is noticed
        self._systems: dict[str, System] = {}
        self._steps: dict[StepId, Step] = {}

    def build(
        self,
        *,
        alone: bool,
        unbuilt: Mapping[str, str],
        tell: Callable[[str], None],
    ) -> None:
        """Builds every codec, so that no clip is charged for it; `unbuilt` tells which cannot be.

        alone: whether metrics of packages run in this process too. unbuilt: why systems are left
        out. tell: called with each system before it is built, and with "" after the last. Raises
        what the device's library does where the device cannot be used.
        """
        import torch

        torch.zeros(1, device=self.device).sum().item()
        self.unbuilt = dict(unbuilt)
        for name in self._setups:
            if name in unbuilt:
                continue
            tell(name)
            try:
                self.system(name)
            except Exception as error:  # no room on the device, say: the other systems go on
                where = f"{name} cannot be built on {self.device}"
                said = isinstance(error, RdbenchError)
                self.unbuilt[name] = (
                    f"{where}: {'' if said else f'{type(error).__name__}: '}{error}"
                )
        tell("")
        if alone:
            for one in self.passes.all:
                with_downloads(one.warm_up, self._fetching)

    def system(self, name: str) -> System:
        """A system, its codec built once and on its device."""
        if name not in self._systems:
            if path := self._watches[name].changed():
                raise ChangedError.of(str(path))
            built = self._setups[name].build(self._fetching)
            assert built.codec is not None
            built.codec.to(self.device)
            self.adopt(built)
        return self._systems[name]

    def adopt(self, system: System) -> None:
        """Takes a system with the codec that it has, on the device where that is."""
        self._systems[system.name] = system
        self._steps |= {step.id: step for step in system.steps}

    def changed(self, step: StepId | None, quantity: Quantity) -> Path | None:
        """A file behind the codec or the metric of a result that was changed since it was planned.

        Code that is not rdbench's own may open its files whenever it likes, so that this is asked
        after it has worked, too.
        """
        watches = [
            self._watches.get(step[0] if step else ""),
            self._watched_keys.get((self.passes.owner(quantity).name, quantity.key)),
        ]
        return next((path for watch in watches if watch and (path := watch.changed())), None)

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


def _unsaid(_: str) -> None:
    """What is fetched on the machine of a worker is not told."""


@lru_cache(maxsize=1)
def workshop_of(setup: bytes) -> Workshop:
    """The workshop of a worker beside a device, made once in a process: on the CPU, one thread."""
    import torch

    workshop = Workshop(setup)
    torch.set_num_threads(1)
    return workshop
