"""What an operating point costs to run, measured in a pass of its own.

A batch of one clip, warmed up, timed with `time.perf_counter` around work that is synchronised
with the device, nothing else running. The real-time factor is seconds of computing per second of
audio (below 1: faster than real time); the median over clips and repeats is kept. Device memory
is the peak that the allocator saw during decode and encode; on a CPU it is undefined.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from rdbench.audio.resample import resample_batch
from rdbench.engine.channels import policy, spread, spread_seeds
from rdbench.engine.plan import PlannedClip, Step, System, UnitKeys
from rdbench.store.schema import Kind, Row
from rdbench.types import AudioBatch, RdbenchError, RunsOn, Score

if TYPE_CHECKING:
    from rdbench.audio.load import ExcerptProtocol
    from rdbench.engine.progress import Progress
    from rdbench.store.writer import RunWriter

ENCODE = "encode_rtf"
DECODE = "decode_rtf"
PARAMETERS = "parameters"
MEMORY = "device_memory_peak"
UNITS = {ENCODE: "s/s", DECODE: "s/s", PARAMETERS: "1", MEMORY: "byte"}


def measure_costs(
    step: Step, references: Sequence[AudioBatch], *, repeats: int, device: str, threads: int
) -> dict[str, Score]:
    """Costs of one step, by key.

    references: batches of one clip each. repeats: timed runs per clip. threads: CPU threads that
    torch may use. A codec that raises gives failed scores with the reason.
    """
    codec = step.system.codec
    assert codec is not None
    costs = {PARAMETERS: _parameters(codec.info.parameters)}
    on_device = codec.info.runs_on is RunsOn.DEVICE and device.startswith("cuda")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            encode, decode, memory = _time_all(
                step, references, repeats, device if on_device else ""
            )
        costs |= {ENCODE: encode, DECODE: decode, MEMORY: memory}
    except Exception as error:
        failure = Score.failed(f"{step} raised {type(error).__name__}: {error}")
        costs |= {ENCODE: failure, DECODE: failure, MEMORY: failure}
    finally:
        torch.set_num_threads(before)
    return costs


class CostPass:
    """Measures the costs that the store has not, one system after the other."""

    def __init__(
        self,
        *,
        systems: Sequence[System],
        protocols: Mapping[str, ExcerptProtocol],
        keys: UnitKeys,
        writer: RunWriter,
        progress: Progress,
        device: str,
        clips: int,
        repeats: int,
        threads: int,
    ) -> None:
        self._systems = systems
        self._protocols = protocols
        self._keys = keys
        self._writer = writer
        self._progress = progress
        self._device = device
        self._clips = clips
        self._repeats = repeats
        self._threads = threads

    def run(self, clips: Sequence[PlannedClip], done: set[str]) -> None:
        """Writes a row for every cost of every point; `done` are keys that the store has."""
        for system in self._systems:
            missing = [step for step in cost_steps(system) if not self._has(step, done)]
            if system.codec is None or not missing:
                continue
            references = self._references(system, clips)
            for step in missing:
                self._progress.at(f"{system.name} (costs)", step.point.name)
                costs = measure_costs(
                    step,
                    references,
                    repeats=self._repeats,
                    device=self._device,
                    threads=self._threads,
                )
                self._writer.append([self._row(step, key, cost) for key, cost in costs.items()])

    def _has(self, step: Step, done: set[str]) -> bool:
        return all(self._keys.cost_key(step, key) in done for key in UNITS)

    def _references(self, system: System, clips: Sequence[PlannedClip]) -> list[AudioBatch]:
        from rdbench.audio.load import load_excerpt

        assert system.info is not None
        device = self._device if system.info.runs_on is RunsOn.DEVICE else "cpu"
        references: list[AudioBatch] = []
        for planned in clips:
            if len(references) == self._clips:
                break
            if planned.failure or not system.takes(planned.clip.domain):
                continue
            try:
                excerpt = load_excerpt(planned.clip, self._protocols[planned.clip.domain])
            except RdbenchError:
                continue  # the clip has failed rows already
            samples = excerpt.samples[None].to(device)
            lengths = torch.tensor([samples.shape[-1]], dtype=torch.int64)
            references.append(AudioBatch(samples, lengths, excerpt.sample_rate))
        return references

    def _row(self, step: Step, key: str, cost: Score) -> Row:
        return Row(
            unit_key=self._keys.cost_key(step, key),
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


def cost_steps(system: System) -> list[Step]:
    """One step for each point: its headline variant."""
    return [step for step in system.steps if step.variant is system.variants[0]]


def _parameters(count: int | None) -> Score:
    if count is None:
        return Score.undefined("not a model")
    return Score(float(count))


def _time_all(
    step: Step, references: Sequence[AudioBatch], repeats: int, device: str
) -> tuple[Score, Score, Score]:
    if not references:
        empty = Score.undefined("no clip could be loaded for this system")
        return empty, empty, empty
    if device:
        torch.cuda.reset_peak_memory_stats(device)
    encode_rtf, decode_rtf = [], []
    for reference in references:
        encode, decode = _time_clip(step, reference, repeats, device)
        seconds = reference.samples.shape[-1] / reference.sample_rate
        encode_rtf += [elapsed / seconds for elapsed in encode]
        decode_rtf += [elapsed / seconds for elapsed in decode]
    memory = (
        Score(float(torch.cuda.max_memory_allocated(device)))
        if device
        else Score.undefined("runs on the CPU")
    )
    return Score(statistics.median(encode_rtf)), Score(statistics.median(decode_rtf)), memory


def _time_clip(
    step: Step, reference: AudioBatch, repeats: int, device: str
) -> tuple[list[float], list[float]]:
    codec = step.system.codec
    assert codec is not None
    how = policy(codec.info, reference.channels)
    rate = codec.info.native_rate(reference.sample_rate)
    native = resample_batch(spread(reference, how), rate)
    seeds = spread_seeds([0], how, reference.channels)
    encoded = codec.encode(native, step.point)
    codec.decode(codec.decoder_input(encoded, step.variant, seeds))
    encode = _timed(lambda: codec.encode(native, step.point), repeats, device)
    decode = _timed(
        lambda: codec.decode(codec.decoder_input(encoded, step.variant, seeds)), repeats, device
    )
    return encode, decode


def _timed(work: Callable[[], Any], repeats: int, device: str) -> list[float]:
    elapsed = []
    for _ in range(repeats):
        if device:
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device:
            torch.cuda.synchronize(device)
        elapsed.append(time.perf_counter() - start)
    return elapsed
