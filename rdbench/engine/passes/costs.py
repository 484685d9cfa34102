"""What an operating point costs to run, measured while nothing else of the run goes on.

Single clips, warmed up, timed around work that is synchronised with the device, in a shard of their
own. The real-time factor is seconds of computing per second of audio (below 1: faster than real
time); the median over clips and repeats is kept. Device memory is the peak of the allocator; on a
CPU it is undefined. All clips are of one domain. A cost belongs to the machine that it was measured
on; those of other machines stay.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.engine.plan.passes import Columns, Pass, Result, SetUnits, SetWork
from rdbench.store.schema import Kind, Quantity
from rdbench.types import AudioBatch, ChangedError, RdbenchError, RunsOn, Score

if TYPE_CHECKING:
    from rdbench.codecs.base import Codec
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import Step, System

ENCODE = "encode_rtf"
DECODE = "decode_rtf"
PARAMETERS = "parameters"
MEMORY = "device_memory_peak"
UNITS = {ENCODE: "s/s", DECODE: "s/s", PARAMETERS: "1", MEMORY: "byte"}
VERSION = 1
"""Raised when the way of measuring changes what is measured."""


@dataclass(frozen=True)
class Timing:
    """Seconds of computing per second of audio, one value per timed run; peak bytes on a GPU."""

    encode: tuple[float, ...]
    decode: tuple[float, ...]
    memory_bytes: int | None


@dataclass(frozen=True, eq=False)
class CostsPass(Pass):
    """machine: names this one. others: machines of which the run has costs.

    clips: how many are timed, 0 for none at all. repeats: timed runs of each. asked: whether costs
    of this machine are wanted now.
    """

    machine: str
    others: tuple[str, ...]
    clips: int
    repeats: int
    asked: bool = True
    name = "costs"

    def owns(self, quantity: Quantity) -> bool:
        """Costs."""
        return quantity.kind is Kind.COST

    def of_set(self, step: Step, clips: Sequence[PlannedClip]) -> Sequence[SetUnits]:
        """Every cost of each point, by one variant, on the first clips of the first domain."""
        if step.system.codec is None or not step.first or not self.clips:
            return []
        chosen = tuple(cost_clips(step.system, clips, self.clips))
        wanted = [Quantity(Kind.COST, key, self.machine) for key in UNITS] if self.asked else []
        stay = [Quantity(Kind.COST, k, m) for m in {self.machine, *self.others} for k in UNITS]
        return [SetUnits(step, "", chosen, tuple(wanted), alone=True, may_stay=tuple(stay))]

    def columns(self, quantity: Quantity) -> Columns:
        """The cost's unit, and the machine."""
        return Columns(UNITS[quantity.key], quantity.model)

    def depends(self, step: Step | None, quantity: Quantity) -> Any:
        """The way of measuring; machine and clips are in the key."""
        return [self.name, VERSION]

    def on_set(self, work: SetWork, step: Step, desk: Desk) -> Iterator[Result]:
        """Times one point."""
        timing = self._time(work, step, desk)
        costs = _scores(timing) | {PARAMETERS: _parameters(step)}
        for quantity in work.quantities:
            yield Result(step.id, "", work.domain, quantity, costs[quantity.key], 0.0)

    def _time(self, work: SetWork, step: Step, desk: Desk) -> Timing | str:
        assert step.system.codec is not None
        try:
            references = [audio for clip in work.clips if (audio := _reference(clip, step, desk))]
        except ChangedError as error:
            return str(error)
        if not references:
            return "no clip could be loaded for this system"
        on_device = step.system.codec.info.runs_on is RunsOn.DEVICE
        device = desk.device if on_device and desk.device.startswith("cuda") else ""
        try:
            return time_codec(step, references, repeats=self.repeats, device=device, beat=desk.beat)
        except (Exception, SystemExit) as error:
            return f"{step} raised {type(error).__name__}: {error}"


def cost_clips(system: System, clips: Sequence[PlannedClip], count: int) -> list[PlannedClip]:
    """The first `count` readable clips of the first domain that the system is run on."""
    usable = [clip for clip in clips if not clip.failure and system.takes(clip.domain)]
    domain = usable[0].domain if usable else ""
    return [clip for clip in usable if clip.domain == domain][:count]


def time_codec(
    step: Step,
    references: Sequence[AudioBatch],
    *,
    repeats: int,
    device: str,
    beat: Callable[[], None],
) -> Timing:
    """Times encode and decode of each reference (one clip each), after one warm-up.

    device: "cuda…" to synchronise with it and read its peak memory, "" on the CPU. beat: called
    before each run.
    """
    import torch

    if device:
        torch.cuda.reset_peak_memory_stats(device)
    encode: list[float] = []
    decode: list[float] = []
    assert step.system.codec is not None
    with torch.inference_mode():
        for reference in references:
            seconds = reference.samples.shape[-1] / reference.sample_rate
            works = _works(step.system.codec, step, reference)
            for work, times in zip(works, (encode, decode), strict=True):
                elapsed = _timed(work, repeats, device, beat)
                times += [one / seconds for one in elapsed]
    memory = torch.cuda.max_memory_allocated(device) if device else None
    return Timing(tuple(encode), tuple(decode), memory)


def _works(
    codec: Codec, step: Step, reference: AudioBatch
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    from rdbench.audio.resample import resample_batch
    from rdbench.engine.measure.channels import policy, spread, spread_seeds

    how = policy(codec.info, reference.channels)
    rate = codec.info.native_rate(reference.sample_rate)
    native = resample_batch(spread(reference, how), rate)
    seeds = spread_seeds([0], how, reference.channels)
    encoded = codec.encode(native, step.point)
    return (
        lambda: codec.encode(native, step.point),
        lambda: codec.decode(codec.decoder_input(encoded, step.variant, seeds)),
    )


def _timed(
    work: Callable[[], Any], repeats: int, device: str, beat: Callable[[], None]
) -> list[float]:
    import torch

    elapsed = []
    for run in range(repeats + 1):
        beat()
        if device:
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device:
            torch.cuda.synchronize(device)
        if run:  # the first one warms up
            elapsed.append(time.perf_counter() - start)
    return elapsed


def _reference(clip: PlannedClip, step: Step, desk: Desk) -> AudioBatch | None:
    import torch

    from rdbench.audio.load import load_excerpt

    assert step.system.info is not None
    device = desk.device if step.system.info.runs_on is RunsOn.DEVICE else "cpu"
    try:
        excerpt = load_excerpt(clip.clip, desk.protocols[clip.domain], clip.file)
    except ChangedError:
        raise
    except (RdbenchError, OSError, RuntimeError):
        return None  # the clip has failed rows already
    samples = excerpt.samples[None].to(device)
    lengths = torch.tensor([samples.shape[-1]], dtype=torch.int64)
    return AudioBatch(samples, lengths, excerpt.sample_rate)


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
