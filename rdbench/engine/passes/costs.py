"""What an operating point costs to run, measured while nothing else of the run goes on.

Clips one at a time, in a shard of their own. Each is coded once to warm up and then `repeats`
times: encoded, made into the decoder's input under the variant, and decoded. The clock is read when
the device has done its work. The real-time factor is seconds of computing per second of audio
(below 1: faster than real time); rows hold the median over clips and repeats, and both quartiles.

Costs are the codec's own. What rdbench does for its own purposes, before and after the codec or in
an adapter, is charged to nobody: loading and resampling, layouts of channels, the reading of
models, container files. What the decoder is given belongs to the variant: a stream is made at the
encoder's cost and read at the decoder's (`rdbench.stopwatch`), so that each variant that can be
transmitted has costs of its own. Device memory is the peak of the allocator; on a CPU it is
undefined. All clips are of one domain.

A cost belongs to the machine that it was measured on; those of other machines stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.codecs.variants import is_predicted
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Result, SetWork
from rdbench.engine.plan.families import Columns, SetUnits
from rdbench.stopwatch import Side, Stopwatch, charged_to
from rdbench.store.schema import Kind, Quantity
from rdbench.types import AudioBatch, ChangedError, RdbenchError, RunsOn, Score

if TYPE_CHECKING:
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import Step, System

ENCODE = "encode_rtf"
DECODE = "decode_rtf"
QUARTILES = {"": 50, "_q1": 25, "_q3": 75}
"""Of what is timed, by the end of its key: the median and the quartiles, in percent."""
CLIP = "clip_length"
PARAMETERS = "parameters"
MEMORY = "device_memory_peak"
UNITS = {
    **{f"{key}{end}": "s/s" for key in (ENCODE, DECODE) for end in QUARTILES},
    CLIP: "s",
    PARAMETERS: "1",
    MEMORY: "byte",
}
VERSION = 2
"""Raised when the way of measuring changes what is measured."""
NOT_TIMED = "it was made elsewhere, so that nothing is timed here"
WARM_UP = 1
"""How often each clip is coded before it is timed."""


@dataclass(frozen=True)
class Timing:
    """Seconds of computing per second of audio, one value per timed run; peak bytes on a GPU.

    clip_seconds: mean length of the clips.
    """

    encode: tuple[float, ...]
    decode: tuple[float, ...]
    memory_bytes: int | None
    clip_seconds: float


@dataclass(frozen=True, eq=False)
class CostsPass(Pass):
    """machine: names this one. others: machines of which the run has costs.

    clips: how many are timed, 0 for none at all. repeats: timed runs of each. threads: of the
    process that codes. asked: whether costs of this machine are wanted now.
    """

    machine: str
    others: tuple[str, ...]
    clips: int
    repeats: int
    threads: int
    asked: bool = True
    name = "costs"

    def protocol(self) -> dict[str, Any]:
        """How times are taken, as the manifest tells it; empty where none are."""
        if not self.clips:
            return {}
        return {
            "version": VERSION,
            "clips": self.clips,
            "batch": 1,
            "warm_up": WARM_UP,
            "repeats": self.repeats,
            "threads": self.threads,
        }

    def owns(self, quantity: Quantity) -> bool:
        """Costs."""
        return quantity.kind is Kind.COST

    def of_set(self, step: Step, clips: Sequence[PlannedClip]) -> Sequence[SetUnits]:
        """Every cost of each point on the first clips of the first domain, by its first variant
        and by each that can be transmitted.
        """
        if step.system.codec is None or not self.clips:
            return []
        if not (step.first or step.variant.transmitted) or is_predicted(step.variant):
            return []
        chosen = tuple(cost_clips(step.system, clips, self.clips))
        wanted = [Quantity(Kind.COST, key, self.machine) for key in UNITS] if self.asked else []
        stay = [Quantity(Kind.COST, k, m) for m in {self.machine, *self.others} for k in UNITS]
        return [SetUnits(step, "", chosen, tuple(wanted), alone=True, may_stay=tuple(stay))]

    def columns(self, quantity: Quantity) -> Columns:
        """The cost's unit, and the machine."""
        return Columns(UNITS[quantity.key], quantity.model)

    def depends(self, step: Step | None, quantity: Quantity) -> Any:
        """The way of measuring; machine, clips and threads are in the key."""
        return [self.name, VERSION, self.repeats]

    def on_set(self, work: SetWork, step: Step, desk: Desk) -> Iterator[Result]:
        """Times one point."""
        if step.found:
            yield from work.failed(Score.undefined(NOT_TIMED))
            return
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
    device: str = "",
    beat: Callable[[], None] = lambda: None,
) -> Timing:
    """Times encoding and decoding of each reference (one clip each).

    device: "cuda…" to synchronise with it and read its peak memory, "" on the CPU. beat: called
    before each run.
    """
    import torch

    if device:
        torch.cuda.reset_peak_memory_stats(device)
    encode: list[float] = []
    decode: list[float] = []
    lengths = [one.samples.shape[-1] / one.sample_rate for one in references]
    with torch.inference_mode():
        for reference, seconds in zip(references, lengths, strict=True):
            code_once = _coding(step, reference)
            for run in range(WARM_UP + repeats):
                beat()
                watch = Stopwatch(lambda: torch.cuda.synchronize(device) if device else None)
                with watch.running():
                    code_once()
                if run >= WARM_UP:
                    encode.append(watch.seconds[Side.ENCODER] / seconds)
                    decode.append(watch.seconds[Side.DECODER] / seconds)
    memory = torch.cuda.max_memory_allocated(device) if device else None
    return Timing(tuple(encode), tuple(decode), memory, float(np.mean(lengths)))


def _coding(step: Step, reference: AudioBatch) -> Callable[[], None]:
    """Encodes and decodes what the codec gets of a reference, each charged to its side."""
    from rdbench.audio.channels import policy, spread, spread_seeds
    from rdbench.audio.resample import resample_batch

    codec = step.system.codec
    assert codec is not None
    how = policy(codec.info, reference.channels)
    rate = codec.info.native_rate(reference.sample_rate)
    native = resample_batch(spread(reference, how), rate)
    seeds = spread_seeds([0], how, reference.channels)

    def run() -> None:
        with charged_to(Side.ENCODER):
            encoded = codec.encode(native, step.point)
        with charged_to(Side.DECODER):
            codec.decode(codec.decoder_input(encoded, step.variant, seeds))

    return run


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
        return dict.fromkeys(UNITS, Score.failed(timing))
    memory = timing.memory_bytes
    times = {ENCODE: timing.encode, DECODE: timing.decode}
    return {
        **{
            f"{key}{end}": Score(float(np.percentile(found, share)))
            for key, found in times.items()
            for end, share in QUARTILES.items()
        },
        CLIP: Score(timing.clip_seconds),
        MEMORY: Score.undefined("runs on the CPU") if memory is None else Score(float(memory)),
    }
