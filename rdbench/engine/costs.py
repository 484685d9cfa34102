"""What an operating point costs to run, measured in a pass of its own.

A batch of one clip, warmed up, timed around work that is synchronised with the device, nothing
else of the run going on: model codecs here, packet codecs in one worker process, under the same
time limit as everywhere. The real-time factor is seconds of computing per second of audio (below
1: faster than real time); the median over clips and repeats is kept. Device memory is the peak of
the allocator with this codec alone on the device; on a CPU it is undefined. All clips are of one
domain.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.engine.pool import WorkerPool
from rdbench.engine.timing import Timing, time_codec, time_in_worker
from rdbench.store.schema import Kind, Row
from rdbench.types import AudioBatch, RdbenchError, RunsOn, Score

if TYPE_CHECKING:
    from rdbench.audio.load import ExcerptProtocol
    from rdbench.engine.plan import PlannedClip, Step, System
    from rdbench.engine.progress import Progress
    from rdbench.engine.unit_keys import UnitKeys
    from rdbench.store.writer import RunWriter

ENCODE = "encode_rtf"
DECODE = "decode_rtf"
PARAMETERS = "parameters"
MEMORY = "device_memory_peak"
UNITS = {ENCODE: "s/s", DECODE: "s/s", PARAMETERS: "1", MEMORY: "byte"}


@dataclass(frozen=True)
class CostSettings:
    """How to measure. clips: how many; repeats: timed runs of each; timeout: seconds per run."""

    device: str
    clips: int
    repeats: int
    timeout: float


class CostPass:
    """Measures the costs that the store has not, one system after the other."""

    def __init__(
        self,
        *,
        protocols: Mapping[str, ExcerptProtocol],
        keys: UnitKeys,
        writer: RunWriter,
        progress: Progress,
        settings: CostSettings,
    ) -> None:
        self._protocols = protocols
        self._keys = keys
        self._writer = writer
        self._progress = progress
        self._settings = settings

    def run(
        self,
        systems: Sequence[System],
        clips: Sequence[PlannedClip],
        done: set[str],
        pool: WorkerPool,
    ) -> None:
        """Writes a row for every cost of every point; `done` are keys that the store has."""
        for system in systems:
            chosen = cost_clips(system, clips, self._settings.clips)
            missing = [step for step in cost_steps(system) if not self._has(step, chosen, done)]
            if system.codec is None or not missing:
                continue
            references = self._references(system, chosen)
            system.codec.to(self._settings.device)
            for step in missing:
                self._progress.at(f"{system.name} (costs)", step.point.name)
                self._measure(step, chosen, references, pool)
            system.codec.to("cpu")

    def _has(self, step: Step, chosen: Sequence[PlannedClip], done: set[str]) -> bool:
        return all(self._keys.cost_key(step, key, chosen) in done for key in UNITS)

    def _references(self, system: System, chosen: Sequence[PlannedClip]) -> list[AudioBatch]:
        import torch

        from rdbench.audio.load import load_excerpt

        assert system.info is not None
        device = self._settings.device if system.info.runs_on is RunsOn.DEVICE else "cpu"
        references: list[AudioBatch] = []
        for planned in chosen:
            try:
                excerpt = load_excerpt(planned.clip, self._protocols[planned.clip.domain])
            except (RdbenchError, OSError, RuntimeError):
                continue  # the clip has failed rows already
            samples = excerpt.samples[None].to(device)
            lengths = torch.tensor([samples.shape[-1]], dtype=torch.int64)
            references.append(AudioBatch(samples, lengths, excerpt.sample_rate))
        return references

    def _measure(
        self,
        step: Step,
        chosen: Sequence[PlannedClip],
        references: Sequence[AudioBatch],
        pool: WorkerPool,
    ) -> None:
        if not references:
            self._write(step, chosen, "no clip could be loaded for this system")
        elif step.system.info and step.system.info.runs_on is RunsOn.POOL:
            self._measure_in_worker(step, chosen, references, pool)
        else:
            self._write(step, chosen, self._time_here(step, references))

    def _time_here(self, step: Step, references: Sequence[AudioBatch]) -> Timing | str:
        assert step.system.codec is not None
        device = self._settings.device
        try:
            return time_codec(
                step.system.codec,
                step.point.name,
                step.variant.value,
                references,
                repeats=self._settings.repeats,
                device=device if device.startswith("cuda") else "",
            )
        except (Exception, SystemExit) as error:
            return f"{step} raised {type(error).__name__}: {error}"

    def _measure_in_worker(
        self,
        step: Step,
        chosen: Sequence[PlannedClip],
        references: Sequence[AudioBatch],
        pool: WorkerPool,
    ) -> None:
        runs = len(references) * (self._settings.repeats + 1)
        pool.submit(
            time_in_worker,
            step.system.recipe,
            step.point.name,
            step.variant.value,
            [(one.samples[0].numpy(), one.sample_rate) for one in references],
            self._settings.repeats,
            timeout=self._settings.timeout * runs,
            done=lambda timing: self._write(step, chosen, timing),
            lost=lambda reason: self._write(step, chosen, f"{step}: {reason}"),
        )
        pool.wait()  # nothing else may run beside it

    def _write(self, step: Step, chosen: Sequence[PlannedClip], timing: Timing | str) -> None:
        costs = _scores(timing) | {PARAMETERS: _parameters(step)}
        self._writer.append(
            [
                Row(
                    unit_key=self._keys.cost_key(step, key, chosen),
                    system=step.system.name,
                    curve=step.system.spec.curve,
                    point=step.point.name,
                    variant=step.variant.value,
                    clip="",
                    domain="",
                    group="",
                    seconds=0.0,
                    kind=Kind.COST,
                    key=key,
                    value=cost.value,
                    unit=UNITS[key],
                    backend="",
                    status=cost.status,
                    reason=cost.reason,
                )
                for key, cost in costs.items()
            ]
        )


def cost_steps(system: System) -> list[Step]:
    """One step for each point: its headline variant."""
    return [step for step in system.steps if step.variant is system.variants[0]]


def cost_clips(system: System, clips: Sequence[PlannedClip], count: int) -> list[PlannedClip]:
    """The first `count` readable clips of the first domain that the system is run on."""
    usable = [clip for clip in clips if not clip.failure and system.takes(clip.clip.domain)]
    domain = usable[0].clip.domain if usable else ""
    return [clip for clip in usable if clip.clip.domain == domain][:count]


def _parameters(step: Step) -> Score:
    count = step.system.info.parameters if step.system.info else None
    return Score.undefined("not known, or not a model") if count is None else Score(float(count))


def _scores(timing: Timing | str) -> dict[str, Score]:
    if isinstance(timing, str):
        return dict.fromkeys((ENCODE, DECODE, MEMORY), Score.failed(timing))
    memory = timing.memory_bytes
    return {
        ENCODE: Score(statistics.median(timing.encode)),
        DECODE: Score(statistics.median(timing.decode)),
        MEMORY: Score.undefined("runs on the CPU") if memory is None else Score(float(memory)),
    }
