"""The keys of units, of everything that could change their value.

Keys are built from digests of a unit's parts, so that planning a hundred thousand units takes
seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rdbench.engine.keys import digest
from rdbench.engine.plan import AUDIO, TRACES, Metric, PlannedClip, Step, StepId, System, quantities
from rdbench.store.schema import Kind
from rdbench.store.traces import AXES
from rdbench.types import RateKind


class UnitKeys:
    """Makes the keys of units; every part is hashed once.

    fingerprint: of the protocol. machine: what a cost depends on beside the codec. metrics: all
    of the run, by key.
    """

    def __init__(
        self,
        *,
        fingerprint: str,
        machine: Any,
        device_class: str,
        dtype: str,
        seed: int,
        metrics: Mapping[str, Metric],
    ) -> None:
        self._run = digest([fingerprint, device_class, dtype])
        self._machine = digest(machine)
        self._seed = seed
        self._steps: dict[StepId, str] = {}
        self._clips: dict[tuple[str, str], str] = {}
        self._quantities: dict[str, str] = {
            key: digest([key, m.definition.version, m.backend.name, m.backend.version])
            for key, m in metrics.items()
        }

    def key(self, step: Step, clip: PlannedClip, what: str) -> str:
        """The key of one unit; `what` is a metric key, RESIDUAL_DELAY, AUDIO, or "rate/…"."""
        (key,) = self.of_step(step, clip, (what,))
        return key

    def of_step(self, step: Step, clip: PlannedClip, whats: Iterable[str]) -> list[str]:
        """The keys of several quantities of one clip in one step, in their order."""
        common = hashlib.sha256(f"{self._run}|{self._step(step)}|{self._clip(clip)}|".encode())
        keys = []
        for what in whats:
            own = common.copy()
            own.update(self._quantities.get(what, what).encode())
            keys.append(own.hexdigest()[:32])
        return keys

    def reference_key(self, clip: PlannedClip) -> str:
        """The key of a clip's kept reference."""
        parts = (self._run, self._clip(clip), AUDIO)
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]

    def cost_key(self, step: Step, what: str, clips: Sequence[PlannedClip]) -> str:
        """The key of one cost of a step, on this machine and these clips."""
        parts = (
            self._run,
            self._machine,
            self._step(step),
            what,
            *(self._clip(clip) for clip in clips),
        )
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]

    def all(
        self,
        systems: Iterable[System],
        metrics: Mapping[str, Sequence[Metric]],
        clips: Sequence[PlannedClip],
    ) -> set[str]:
        """Every key that a row of a clip may have in this plan.

        All kinds of rate and trace are among them, and kept audio, whether asked for again or not.
        """
        rates = [f"{Kind.RATE}/{kind}" for kind in RateKind]
        traces = [f"{TRACES}{axis}" for axis in AXES]
        keys = {self.reference_key(clip) for clip in clips}
        for step in (step for system in systems for step in system.steps):
            asked = {
                domain: (*rates, *traces, AUDIO, *quantities(step, chosen))
                for domain, chosen in metrics.items()
                if step.system.takes(domain)
            }
            for clip in clips:
                keys.update(self.of_step(step, clip, asked.get(clip.clip.domain, ())))
        return keys

    def __getstate__(self) -> dict[str, Any]:
        # What travels to a worker must not grow with the corpus: it hashes its own clips again.
        return self.__dict__ | {"_clips": {}}

    def _step(self, step: Step) -> str:
        if step.id not in self._steps:
            system, info = step.system, step.system.info
            self._steps[step.id] = digest(
                [
                    system.name,
                    system.spec.curve,
                    system.recipe.name,
                    dict(system.spec.options),
                    info and [info.version, info.weights_sha256, *system.source],
                    step.point.name,
                    dict(step.point.settings),
                    step.variant.value,
                    self._seed if step.variant.noise is not None else None,
                    *([step.coder] if step.coder else []),
                ]
            )
        return self._steps[step.id]

    def _clip(self, planned: PlannedClip) -> str:
        clip = planned.clip
        name = (clip.name, clip.domain)
        if name not in self._clips:
            self._clips[name] = digest([planned.content, clip.name, clip.domain, clip.group])
        return self._clips[name]
