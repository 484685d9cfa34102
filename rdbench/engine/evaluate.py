"""Runs the units of a plan: device and worker processes at the same time.

Batches of equally long references go through the systems one after the other. Model codecs and
tensor metrics run here, on the device; packet codecs and the metrics of reference packages run in
the pool, whose results are taken in between. Every result goes to the ledger as soon as it is
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from rdbench.audio.load import load_excerpt
from rdbench.engine.batch import Batch, as_array
from rdbench.engine.keep import FROM_KEPT, Keeper, load_kept
from rdbench.engine.plan import Metric, PlannedClip, Step, StepId, System, batches_of
from rdbench.engine.reconstruct import Reconstruction, reconstruct
from rdbench.engine.scoring import Scoring
from rdbench.engine.worker import ClipResult, run_codec
from rdbench.types import AudioBatch, RdbenchError, RunsOn

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.audio.load import Excerpt, ExcerptProtocol
    from rdbench.engine.ledger import Ledger
    from rdbench.engine.pool import Jobs
    from rdbench.engine.progress import Progress

Loaded = tuple[PlannedClip, "Excerpt | str"]


@dataclass(frozen=True)
class Settings:
    """How to run; none of it changes a value beyond the bounds that the protocol states.

    device: "cpu", "cuda", "cuda:1". batch_seconds: audio in one batch. timeout: seconds that a
    pool job may take for each point. align: shift reconstructions by their residual delay.
    audio: the folder where the ledger's audio is kept; None where it asks for none. alone: packet
    codecs run in this process too, which is a worker itself.
    """

    device: str
    batch_seconds: float
    timeout: float
    align: bool = False
    audio: Path | None = None
    alone: bool = False


@dataclass
class _Collected:
    """Reconstructions of one pool system on one batch, until every clip has come back."""

    waiting: int
    found: dict[str, tuple[Step, dict[int, ClipResult]]] = field(default_factory=dict)

    def add(self, step: Step, index: int, result: ClipResult) -> None:
        self.found.setdefault(repr(step.id), (step, {}))[1][index] = result


class Evaluator:
    """Measures every open step of the ledger.

    metrics, protocols: by domain.
    """

    def __init__(
        self,
        *,
        systems: Sequence[System],
        metrics: Mapping[str, Sequence[Metric]],
        protocols: Mapping[str, ExcerptProtocol],
        ledger: Ledger,
        pool: Jobs,
        settings: Settings,
        progress: Progress,
    ) -> None:
        self._systems = systems
        self._metrics = metrics
        self._protocols = protocols
        self._ledger = ledger
        self._pool = pool
        self._settings = settings
        self._progress = progress
        self._largest: dict[str, int] = {}
        self._taken: set[tuple[StepId, str]] = set()
        self._keeper = Keeper(settings.audio, ledger, pool, settings.timeout, progress)

    def run(self, clips: Sequence[PlannedClip]) -> None:
        """Evaluates `clips`; those with nothing open are not even loaded."""
        self._fail_unbuilt(clips)
        clips = [clip for clip in clips if self._is_open(clip)]
        longest = {name: protocol.excerpt_seconds for name, protocol in self._protocols.items()}
        batches = batches_of(clips, seconds=self._settings.batch_seconds, longest=longest)
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as loader:
            ahead = loader.submit(self._load, batches[0]) if batches else None
            for index in range(len(batches)):
                assert ahead is not None
                loaded = ahead.result()
                if index + 1 < len(batches):
                    ahead = loader.submit(self._load, batches[index + 1])
                for batch in self._group(loaded):
                    self._evaluate(batch)
        self._pool.wait()
        steps = [step for system in self._systems for step in system.steps]
        self._ledger.close(steps, clips)

    # -- loading

    def _load(self, clips: Sequence[PlannedClip]) -> list[Loaded]:
        return [(planned, self._excerpt(planned)) for planned in clips]

    def _excerpt(self, planned: PlannedClip) -> Excerpt | str:
        if planned.failure:
            return planned.failure
        try:
            return load_excerpt(planned.clip, self._protocols[planned.clip.domain])
        except RdbenchError as error:
            return str(error)
        except Exception as error:  # a file that vanishes, memory that runs out
            return f"{planned.clip.name} cannot be read: {type(error).__name__}: {error}"

    def _group(self, loaded: Sequence[Loaded]) -> list[Batch]:
        groups: dict[tuple[int, ...], list[tuple[PlannedClip, Excerpt]]] = {}
        for planned, excerpt in loaded:
            if isinstance(excerpt, str):
                self._fail_clip(planned, excerpt)
            else:
                groups.setdefault(tuple(excerpt.samples.shape), []).append((planned, excerpt))
        return [
            Batch(
                [planned for planned, _ in members],
                [excerpt for _, excerpt in members],
                self._metrics[members[0][0].clip.domain],
                self._settings.device,
            )
            for members in groups.values()
        ]

    # -- systems

    def _evaluate(self, batch: Batch) -> None:
        systems = [s for s in self._systems if s.info and s.takes(batch.domain)]
        self._keeper.keep_references(batch)
        self._taken.clear()
        for system in systems:
            self._score_kept(system, batch)
        pooled = [s for s in systems if self._in_pool(s)]
        for system in pooled:
            self._submit_codec(system, batch)
        for system in systems:
            if system not in pooled:
                self._run_on_device(system, batch, range(len(batch.clips)))
                self._pool.drain()

    def _in_pool(self, system: System) -> bool:
        assert system.info is not None
        return system.info.runs_on is RunsOn.POOL and not self._settings.alone

    def _score_kept(self, system: System, batch: Batch) -> None:
        """Scores, without decoding, the steps of which audio was kept and only scores are open."""
        by_step: dict[StepId, tuple[Step, dict[int, AudioBatch]]] = {}
        for index, clip in enumerate(batch.clips):
            for step in self._open_steps(system, clip):
                kept = self._ledger.kept(step, clip)
                found = kept and load_kept(kept, batch)
                if found:
                    by_step.setdefault(step.id, (step, {}))[1][index] = found
        for step, clips in by_step.values():
            self._progress.at(system.name, step.point.name)
            samples = torch.cat([audio.samples for audio in clips.values()])
            lengths = torch.cat([audio.lengths for audio in clips.values()])
            audio = AudioBatch(samples, lengths, batch.reference.sample_rate)
            self._taken |= {(step.id, batch.clips[index].clip.name) for index in clips}
            self._score(step, batch, list(clips), audio, note=FROM_KEPT)

    def _open_steps(self, system: System, clip: PlannedClip) -> list[Step]:
        if not system.takes(clip.clip.domain):
            return []
        return [
            step
            for step in system.steps
            if self._ledger.wants(step, clip) and (step.id, clip.clip.name) not in self._taken
        ]

    def _submit_codec(self, system: System, batch: Batch) -> None:
        steps = {i: self._open_steps(system, clip) for i, clip in enumerate(batch.clips)}
        steps = {i: wanted for i, wanted in steps.items() if wanted}
        collected = _Collected(len(steps))
        for index, wanted in steps.items():
            self._submit_clip(batch, index, wanted, collected)

    def _submit_clip(
        self,
        batch: Batch,
        index: int,
        wanted: Sequence[Step],
        collected: _Collected,
        *,
        again: bool = False,
    ) -> None:
        system = wanted[0].system

        def done(results: list[ClipResult]) -> None:
            for step, result in zip(wanted, results, strict=True):
                collected.add(step, index, result)
            self._collect(batch, collected)

        def lost(reason: str) -> None:
            if len(wanted) > 1:  # one bad point must not cost the others
                collected.waiting += len(wanted) - 1
                for step in wanted:
                    self._submit_clip(batch, index, [step], collected, again=True)
                return
            step = wanted[0]
            failure = f"{step}: {reason}"
            collected.add(
                step, index, ClipResult(step.point.name, step.variant.value, None, {}, failure)
            )
            self._collect(batch, collected)

        self._pool.submit(
            run_codec,
            system.recipe,
            (as_array(batch.reference, index), batch.reference.sample_rate),
            [(step.point.name, step.variant.value) for step in wanted],
            batch.clips[index].seed,
            self._ledger.axes(wanted, [batch.clips[index]]),
            timeout=self._settings.timeout * len(wanted),
            done=done,
            lost=lost,
            tries=1 if again or len(wanted) > 1 else 2,
        )

    def _collect(self, batch: Batch, collected: _Collected) -> None:
        collected.waiting -= 1
        if collected.waiting:
            return
        for step, results in collected.found.values():
            self._progress.at(step.system.name, step.point.name)
            whole: dict[int, ClipResult] = {}
            for index, result in sorted(results.items()):
                if result.samples is None:
                    self._record(step, batch, [index], _join(step, [result], batch))
                else:
                    whole[index] = result
            if whole:
                joined = _join(step, list(whole.values()), batch)
                self._record(step, batch, list(whole), joined)

    def _run_on_device(self, system: System, batch: Batch, indices: Sequence[int]) -> None:
        largest = self._largest.get(system.name, len(indices))
        if len(indices) > largest:
            for start in range(0, len(indices), largest):
                self._run_on_device(system, batch, indices[start : start + largest])
            return
        wanted = {
            step.id: step for i in indices for step in self._open_steps(system, batch.clips[i])
        }
        if not wanted:
            return
        try:
            failed = self._reconstruct_and_record(system, batch, indices, list(wanted.values()))
        except torch.cuda.OutOfMemoryError as error:
            reason = f"{system.name}: out of device memory with a single clip ({error})"
        else:
            if failed:  # one bad clip must not cost the others of its batch
                for index in indices:
                    self._run_on_device(system, batch, [index])
            return
        # Outside of the handler, whose traceback would keep the failed attempt's tensors.
        torch.cuda.empty_cache()
        self._halve(system, batch, indices, reason)

    def _reconstruct_and_record(
        self, system: System, batch: Batch, indices: Sequence[int], wanted: Sequence[Step]
    ) -> bool:
        """Whether some steps failed that are worth trying clip by clip; they alone stay untaken."""
        assert system.codec is not None
        failed = False
        by_name = {(step.point.name, step.variant): step for step in wanted}
        with torch.inference_mode():
            for result in reconstruct(
                system.codec,
                batch.part(indices),
                wanted=list(by_name),
                clip_seeds=[batch.clips[i].seed for i in indices],
                axes=self._ledger.axes(wanted, [batch.clips[i] for i in indices]),
            ):
                self._progress.at(system.name, result.point)
                if result.audio is None and len(indices) > 1:
                    failed = True
                    continue
                step = by_name[result.point, result.variant]
                self._record(step, batch, indices, result)
                # Scores of the pool may be outstanding, but there is nothing more to decode.
                self._taken |= {(step.id, batch.clips[i].clip.name) for i in indices}
                self._pool.drain()
        return failed

    def _halve(self, system: System, batch: Batch, indices: Sequence[int], reason: str) -> None:
        if len(indices) == 1:
            clip = batch.clips[indices[0]]
            for step in self._open_steps(system, clip):
                self._ledger.fail_step(step, clip, reason, batch.seconds)
            return
        half = (len(indices) + 1) // 2
        if half < self._largest.get(system.name, len(indices)):
            self._largest[system.name] = half
            self._progress.say(f"{system.name}: out of device memory; batches of {half} from here")
        self._run_on_device(system, batch, indices[:half])
        self._run_on_device(system, batch, indices[half:])

    def _record(
        self, step: Step, batch: Batch, indices: Sequence[int], result: Reconstruction
    ) -> None:
        """Writes rates and scores of the clips at `indices`, in the order of `result`."""
        for position, index in enumerate(indices):
            clip = batch.clips[index]
            if result.rates and self._ledger.wants_rates(step, clip):
                rates = [items[position] for items in result.rates.values()]
                self._ledger.rates(step, clip, rates)
            if result.traces:
                self._ledger.traces(step, clip, result.traces[position], batch.seconds)
            if result.audio is None:
                self._ledger.fail_step(step, clip, result.failure, batch.seconds)
        if result.audio is not None:
            self._keeper.keep(step, batch, indices, result.audio)
            self._score(step, batch, indices, result.audio)

    def _score(
        self,
        step: Step,
        batch: Batch,
        indices: Sequence[int],
        audio: AudioBatch,
        note: str = "",
    ) -> None:
        Scoring(
            step=step,
            batch=batch,
            indices=indices,
            audio=audio,
            note=note,
            ledger=self._ledger,
            pool=self._pool,
            timeout=self._settings.timeout,
            align=self._settings.align,
        ).run()

    # -- failures

    def _is_open(self, clip: PlannedClip) -> bool:
        return self._ledger.wants_reference(clip) or any(
            self._open_steps(system, clip) for system in self._systems
        )

    def _fail_clip(self, clip: PlannedClip, reason: str) -> None:
        for system in self._systems:
            for step in self._open_steps(system, clip):
                self._ledger.fail_step(step, clip, reason)

    def _fail_unbuilt(self, clips: Sequence[PlannedClip]) -> None:
        for system in self._systems:
            if system.codec is None:
                for clip in clips:
                    for step in self._open_steps(system, clip):
                        self._ledger.fail_step(step, clip, system.failure)


def _join(step: Step, results: Sequence[ClipResult], batch: Batch) -> Reconstruction:
    """Single-clip results of one step as one batch: all with samples, or one without."""
    rates = {kind: [result.rates[kind] for result in results] for kind in results[0].rates}
    failure = results[0].failure
    traces = [result.traces for result in results]
    arrays = [result.samples for result in results if result.samples is not None]
    if not arrays:
        return Reconstruction(step.point.name, step.variant, None, rates, failure, traces)
    samples = torch.stack([torch.from_numpy(array) for array in arrays])
    lengths = torch.full((len(arrays),), samples.shape[-1], dtype=torch.int64)
    audio = AudioBatch(samples, lengths, batch.reference.sample_rate)
    return Reconstruction(step.point.name, step.variant, audio, rates, "", traces)
