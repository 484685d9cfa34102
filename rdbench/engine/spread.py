"""Spreads clips over worker processes, one job for each, and takes in their rows.

The way of a run on a CPU, where a core is a core: models, packet codecs and every metric run in
the workers (`rdbench.engine.local`), each with the protocol's threads, and this process hands out
clips and writes rows. What a clip gives does not depend on how many workers there are, or on which
clips came before it.

A job that is lost, because its worker died or ran past a time limit, is done again point by
point; a point whose worker dies alone, quantity by quantity. What is lost then has failed.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rdbench.engine.local import ClipJob, Setup, evaluate_clip
from rdbench.engine.plan import PlannedClip, StepId, System, batches_of

if TYPE_CHECKING:
    from rdbench.engine.ledger import Ledger
    from rdbench.engine.local import UnitTrace
    from rdbench.engine.pool import Loss, WorkerPool
    from rdbench.engine.progress import Progress
    from rdbench.store.schema import Row

Wanted = Mapping[StepId, frozenset[str]]


class Spread:
    """Measures every open step of the ledger, clips in parallel."""

    def __init__(
        self,
        setup: Setup,
        systems: Sequence[System],
        ledger: Ledger,
        pool: WorkerPool,
        progress: Progress,
    ) -> None:
        self._systems = systems
        self._protocols = setup.protocols
        self._ledger = ledger
        self._pool = pool
        self._timeout = setup.settings.timeout
        self._progress = progress
        self._steps = {step.id: step for system in systems for step in system.steps}
        self._setup = pickle.dumps(setup, pickle.HIGHEST_PROTOCOL)

    def run(self, clips: Sequence[PlannedClip]) -> None:
        """Evaluates `clips`, long ones first, so that no worker is left with one at the end."""
        longest = {name: protocol.excerpt_seconds for name, protocol in self._protocols.items()}
        batches = batches_of(clips, seconds=0.0, longest=longest)
        for clip in (clip for batch in batches for clip in batch):
            fail_unbuilt(self._systems, clip, self._ledger)
            wanted = self._ledger.wanted(self._steps.values(), clip)
            if wanted or self._ledger.wants_reference(clip):
                self._submit(clip, wanted)
        self._pool.wait()
        self._ledger.close(self._steps.values(), clips)

    def _submit(self, clip: PlannedClip, wanted: Wanted, *, tries: int = 1) -> None:
        steps = [self._steps[step] for step in wanted]
        self._pool.submit(
            evaluate_clip,
            self._setup,
            ClipJob(clip, wanted, self._ledger.kept_of(clip, steps)),
            timeout=self._timeout * max(1, len(wanted)),
            done=self._take,
            lost=partial(self._lost, clip, wanted),
            tries=tries,
        )

    def _take(self, answer: tuple[Sequence[Row], Sequence[UnitTrace]]) -> None:
        rows, traces = answer
        self._ledger.take(rows)
        for unit in traces:
            self._ledger.take_trace(*unit)
        if rows:
            self._progress.at(rows[-1].system, rows[-1].point)

    def _lost(self, clip: PlannedClip, wanted: Wanted, reason: Loss) -> None:
        parts: list[Wanted] = [{step: asked} for step, asked in wanted.items()]
        if len(parts) == 1 and not reason.timed_out:
            ((step, asked),) = wanted.items()
            parts = [{step: frozenset({what})} for what in sorted(asked)]
        if len(parts) > 1:
            for part in parts:
                self._submit(clip, part)
            return
        for step, asked in wanted.items():
            failed = self._steps[step]
            self._ledger.fail_step(failed, clip, f"{failed}: {reason}", only=asked)


def fail_unbuilt(systems: Sequence[System], clip: PlannedClip, ledger: Ledger) -> None:
    """Writes why a clip has nothing of the systems that could not be built."""
    for system in systems:
        if system.codec is None and system.takes(clip.clip.domain):
            for step in system.steps:
                ledger.fail_step(step, clip, system.failure)
