"""The ways of a run: which processes do what on which devices.

One CPU: clips over worker processes (`spread`). One device: batches here and packet codecs beside
it (`evaluate`). Several devices: one process each (`lanes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.engine.evaluate import Evaluator, Settings
from rdbench.engine.lanes import Lanes
from rdbench.engine.local import Setup
from rdbench.engine.pool import worker_pool
from rdbench.engine.spread import Spread
from rdbench.store.audio import open_audio

if TYPE_CHECKING:
    from rdbench.audio.load import ExcerptProtocol
    from rdbench.engine.ledger import Ledger
    from rdbench.engine.plan import Metric, PlannedClip, System
    from rdbench.engine.progress import Progress
    from rdbench.engine.unit_keys import UnitKeys
    from rdbench.spec.model import BenchmarkSpec


@dataclass(frozen=True)
class Execution:
    """Where and how the open steps of a ledger are measured.

    protocols: by domain. devices: of `rdbench.engine.devices.resolve_devices`. audio: the run's
    folder where audio is kept, else None.
    """

    spec: BenchmarkSpec
    protocols: Mapping[str, ExcerptProtocol]
    devices: Sequence[str]
    workers: int
    batch_seconds: float
    audio: Path | None
    progress: Progress

    def run(
        self,
        systems: Sequence[System],
        metrics: Mapping[str, Sequence[Metric]],
        keys: UnitKeys,
        ledger: Ledger,
        clips: Sequence[PlannedClip],
    ) -> None:
        """Measures what is open of `clips`; metrics: by domain."""
        spread = tuple(self.devices) == ("cpu",)
        settings = self._settings(alone=spread)
        threads = self.spec.protocol.threads
        setup = Setup.of(
            systems=systems,
            metrics=metrics,
            protocols=self.protocols,
            keys=keys,
            settings=settings,
            threads=threads,
        )
        if len(self.devices) > 1:
            lanes = Lanes(self.devices, setup, systems, ledger, self.progress, workers=self.workers)
            lanes.run(clips)
            return
        with worker_pool(self.workers) as pool:
            if spread:
                Spread(setup, systems, ledger, pool, self.progress).run(clips)
                return
            move(systems, self.devices[0])
            Evaluator(
                systems=systems,
                metrics=metrics,
                protocols=self.protocols,
                ledger=ledger,
                pool=pool,
                settings=settings,
                progress=self.progress,
            ).run(clips)
            move(systems, "cpu")

    def _settings(self, *, alone: bool) -> Settings:
        return Settings(
            device=self.devices[0],
            batch_seconds=self.batch_seconds,
            timeout=self.spec.timeouts.unit_seconds,
            align=self.spec.protocol.alignment == "residual",
            audio=open_audio(self.audio) if self.audio else None,
            alone=alone,
        )


def move(systems: Sequence[System], device: str) -> None:
    """Moves the model codecs to a device."""
    for system in systems:
        if system.codec:
            system.codec.to(device)
