"""Evaluates the clips of a shard: from files to results.

References of one length go through the systems together. Model codecs and tensor metrics run here,
on the workshop's device; packet codecs and the metrics of packages where its jobs run: in worker
processes beside a device, here where there is none. A step that fails in a batch is tried clip by
clip, so that one bad clip does not cost its neighbours; out of device memory, batches are halved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from rdbench.audio.load import load_excerpt
from rdbench.engine.measure.batch import Batch, as_array
from rdbench.engine.measure.code import code
from rdbench.engine.measure.decoded import Decoded
from rdbench.engine.measure.kept import FROM_KEPT, load_kept
from rdbench.engine.measure.native import CodedClip, code_clip
from rdbench.engine.measure.passes import wanting
from rdbench.engine.measure.work import Result, Work
from rdbench.engine.plan.clips import batches_of
from rdbench.engine.plan.families import Needs
from rdbench.engine.plan.open import OpenUnits
from rdbench.types import AudioBatch, RdbenchError, RunsOn

if TYPE_CHECKING:
    from rdbench.audio.load import Excerpt
    from rdbench.engine.measure.shard import ClipWork
    from rdbench.engine.measure.workshop import Workshop
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import Step, StepId, System

Loaded = tuple["PlannedClip", "Excerpt | str"]


class Evaluation:
    """One shard's clips in a workshop."""

    def __init__(self, workshop: Workshop, works: Sequence[ClipWork]) -> None:
        self._workshop = workshop
        self._works = {work.clip.name: work for work in works}
        self._open = OpenUnits()
        self._largest: dict[str, int] = {}
        self._taken: set[tuple[StepId, str]] = set()
        for work in works:
            for step, quantities in work.wanted.items():
                self._open.add(step, work.clip.name, quantities)
            for step, name in work.audio_names.items():
                workshop.audio_names[step, work.clip.name] = name

    def run(self) -> None:
        """Delivers everything that is wanted."""
        for batch in self._batches():
            self._evaluate(batch)
        self._workshop.jobs.wait()
        self._workshop.clips_at_once = 1

    # -- loading

    def _batches(self) -> Iterable[Batch]:
        """Batches of equally long references; the next clips are loaded meanwhile."""
        workshop = self._workshop
        longest = {name: one.excerpt_seconds for name, one in workshop.protocols.items()}
        clips = [work.clip for work in self._works.values()]
        parts = batches_of(clips, seconds=workshop.batch_seconds, longest=longest)
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as loader:
            ahead = [loader.submit(self._load_all, part) for part in parts[:1]]
            for following in [*parts[1:], None]:
                loaded = ahead.pop().result()
                if following is not None:
                    ahead.append(loader.submit(self._load_all, following))
                yield from self._grouped(loaded)

    def _grouped(self, loaded: Sequence[Loaded]) -> Iterable[Batch]:
        groups: dict[tuple[int, ...], list[tuple[PlannedClip, Excerpt]]] = {}
        for clip, excerpt in loaded:
            if isinstance(excerpt, str):
                self._fail_clip(clip, excerpt)
            else:
                shape = (excerpt.sample_rate, *excerpt.samples.shape)
                groups.setdefault(shape, []).append((clip, excerpt))
        for members in groups.values():
            yield Batch([c for c, _ in members], [e for _, e in members], self._workshop.device)

    def _load_all(self, clips: Sequence[PlannedClip]) -> list[Loaded]:
        return [self._load(clip) for clip in clips]

    def _load(self, planned: PlannedClip) -> Loaded:
        if planned.failure:
            return planned, planned.failure
        try:
            protocol = self._workshop.protocols[planned.domain]
            return planned, load_excerpt(planned.clip, protocol, planned.file)
        except RdbenchError as error:
            return planned, str(error)
        except Exception as error:  # a file that vanishes, memory that runs out
            return planned, f"{planned.name} cannot be read: {type(error).__name__}: {error}"

    def _fail_clip(self, clip: PlannedClip, reason: str) -> None:
        for step in self._works[clip.name].wanted:
            self._work(self._workshop.step(step) if step else None, [clip], 0.0).fail(0, reason)

    def _work(self, step: Step | None, clips: Sequence[PlannedClip], seconds: float) -> Work:
        return Work(step, clips, seconds, self._open, self._deliver)

    def _deliver(self, results: Sequence[Result]) -> None:
        self._workshop.sink.deliver(results)

    # -- systems

    def _evaluate(self, batch: Batch) -> None:
        workshop = self._workshop
        workshop.clips_at_once = len(batch.clips)
        self._taken.clear()
        references = self._work(None, batch.clips, batch.seconds)
        for one in workshop.passes.all:
            one.on_reference(references, batch, workshop)
        wanted = {s[0] for c in batch.clips for s in self._works[c.name].wanted if s is not None}
        systems = [workshop.system(name) for name in workshop.system_names if name in wanted]
        for system in systems:
            self._score_kept(system, batch)
        native = [system for system in systems if self._is_native(system)]
        for system in native:
            for index in range(len(batch.clips)):
                self._submit(batch, index, self._steps(system, batch.clips[index]))
        for system in systems:
            if system not in native:
                self._run_here(system, batch, range(len(batch.clips)))
                workshop.jobs.drain()

    def _is_native(self, system: System) -> bool:
        assert system.info is not None
        return system.info.runs_on is RunsOn.POOL and not self._workshop.jobs.here

    def _steps(self, system: System, clip: PlannedClip) -> list[Step]:
        """What is open of a clip, and not on its way already."""
        return [
            step
            for step in system.steps
            if self._open.wanted(step.id, clip.name) and (step.id, clip.name) not in self._taken
        ]

    def _score_kept(self, system: System, batch: Batch) -> None:
        """Scores, without decoding, the steps of which audio was kept and only scores are open."""
        by_step: dict[StepId, tuple[Step, dict[int, AudioBatch]]] = {}
        for index, clip in enumerate(batch.clips):
            for step in self._steps(system, clip):
                kept = self._works[clip.name].kept.get(step.id)
                if kept is None or not kept.exact or not self._from_kept(step, clip):
                    continue
                if found := load_kept(kept, batch):
                    by_step.setdefault(step.id, (step, {}))[1][index] = found
        for step, clips in by_step.values():
            samples = torch.cat([audio.samples for audio in clips.values()])
            lengths = torch.cat([audio.lengths for audio in clips.values()])
            audio = AudioBatch(samples, lengths, batch.reference.sample_rate)
            members = [batch.clips[index] for index in clips]
            work = replace(self._work(step, members, batch.seconds), note=FROM_KEPT)
            self._take(work)
            self._score(work, batch, audio)

    def _from_kept(self, step: Step, clip: PlannedClip) -> bool:
        """Whether all that is open of a clip can be measured on audio that was kept."""
        passes = self._workshop.passes
        wanted = self._open.wanted(step.id, clip.name)
        return all(passes.owner(quantity).takes_kept(quantity) for quantity in wanted)

    def _run_here(self, system: System, batch: Batch, indices: Sequence[int]) -> None:
        largest = self._largest.get(system.name, len(indices))
        if len(indices) > largest:
            for start in range(0, len(indices), largest):
                self._run_here(system, batch, indices[start : start + largest])
            return
        steps = {s.id: s for i in indices for s in self._steps(system, batch.clips[i])}
        if not steps:
            return
        try:
            failed = self._code_here(system, batch, indices, list(steps.values()))
        except torch.cuda.OutOfMemoryError as error:
            reason = f"{system.name}: out of device memory with a single clip ({error})"
        else:
            if failed:  # one bad clip must not cost the others of its batch
                for index in indices:
                    self._run_here(system, batch, [index])
            return
        # Outside of the handler, whose traceback would keep the failed attempt's tensors.
        torch.cuda.empty_cache()
        self._halve(system, batch, indices, reason)

    def _code_here(
        self, system: System, batch: Batch, indices: Sequence[int], steps: Sequence[Step]
    ) -> bool:
        """Whether some steps failed that are worth trying clip by clip; they alone stay untaken."""
        assert system.codec is not None
        clips = [batch.clips[index] for index in indices]
        works = [self._work(step, clips, batch.seconds) for step in steps]
        failed = False
        self._workshop.at(steps[0])
        with torch.inference_mode():
            for outcome in code(system.codec, batch.part(indices), works, self._workshop.passes):
                assert outcome.work.step is not None
                self._workshop.at(outcome.work.step)
                if outcome.audio is None and len(clips) > 1:
                    failed = True
                    continue
                # Scores may be outstanding, but there is nothing more to decode.
                self._take(outcome.work)
                if outcome.audio is None:
                    outcome.work.fail(0, outcome.failure)
                else:
                    self._score(outcome.work, batch, outcome.audio)
                self._workshop.jobs.drain()
        return failed

    def _halve(self, system: System, batch: Batch, indices: Sequence[int], reason: str) -> None:
        if len(indices) == 1:
            clip = batch.clips[indices[0]]
            for step in self._steps(system, clip):
                self._work(step, [clip], batch.seconds).fail(0, reason)
            return
        half = (len(indices) + 1) // 2
        if half < self._largest.get(system.name, len(indices)):
            self._largest[system.name] = half
            self._workshop.sink.say(
                f"{system.name}: out of device memory; batches of {half} from here"
            )
        self._run_here(system, batch, indices[:half])
        self._run_here(system, batch, indices[half:])

    def _submit(self, batch: Batch, index: int, steps: Sequence[Step], tries: int = 1) -> None:
        """One clip through a codec that runs in the native jobs' processes."""
        if not steps:
            return
        clip = batch.clips[index]
        works = {step.id: self._work(step, [clip], batch.seconds) for step in steps}
        for work in works.values():
            self._take(work)

        def done(answer: tuple[list[Result], list[CodedClip]]) -> None:
            results, coded = answer
            for result in results:
                if self._open.close(result.step, result.clip, result.quantity):
                    self._deliver([result])
            for one in coded:
                self._workshop.at(self._workshop.step(one.step))
                if one.samples is None:
                    works[one.step].fail(0, one.failure)
                else:
                    samples = torch.from_numpy(one.samples)[None]
                    lengths = torch.tensor([samples.shape[-1]], dtype=torch.int64)
                    audio = AudioBatch(samples, lengths, batch.reference.sample_rate)
                    self._score(works[one.step], batch, audio)

        def lost(reason: str) -> None:
            if len(steps) > 1:  # one bad point must not cost the others
                for step in steps:
                    self._taken.discard((step.id, clip.name))
                    self._submit(batch, index, [step], tries=2)
                return
            works[steps[0].id].fail(0, f"{steps[0]}: {reason}")

        self._workshop.jobs.submit(
            code_clip,
            self._workshop.packed,
            steps[0].system.name,
            clip,
            (as_array(batch.reference, index), batch.reference.sample_rate),
            {step.id: self._open.wanted(step.id, clip.name) for step in steps},
            timeout=self._workshop.timeout * len(steps),
            done=done,
            lost=lost,
            tries=tries,
        )

    def _take(self, work: Work) -> None:
        assert work.step is not None
        self._taken |= {(work.step.id, clip.name) for clip in work.clips}

    def _score(self, work: Work, batch: Batch, audio: AudioBatch) -> None:
        """Lets every pass measure a reconstruction; one that is not finite fails its clip."""
        audio = audio.to(batch.reference.samples.device)
        finite = torch.isfinite(audio.samples).flatten(1).all(dim=1).tolist()
        for position, usable in enumerate(finite):
            if not usable:
                work.fail(position, f"{work.step} decoded to samples that are not finite")
        if not any(finite):
            return
        if not all(finite):
            usable = [position for position, good in enumerate(finite) if good]
            work, audio = work.part(usable), audio.select(usable)
        decoded = Decoded(audio, batch, batch.places(work.clips))
        for one in wanting(self._workshop.passes, work, Needs.DECODED):
            one.on_decoded(work, decoded, self._workshop)
