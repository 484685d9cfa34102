"""What runs beside a device in worker processes: packet codecs and the metrics of packages.

A worker lives for a whole run and keeps the codecs and metric backends that it has built. Its
jobs are plain functions of picklable arguments; they return results with reasons instead of
raising, so that one bad point does not cost its neighbours. A process without a device does the
same work itself (`rdbench.engine.executors.pool.AtOnce`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from rdbench.native import stderr_held
from rdbench.types import Score

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from rdbench.engine.measure.work import Result
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.metrics import Metric
    from rdbench.engine.plan.systems import StepId
    from rdbench.metrics.base import PoolBackend
    from rdbench.store.schema import Quantity

    Channels = npt.NDArray[np.float32]  # (channels, time)

PREPARED = 32
"""Prepared references that a worker remembers: those of the clips of a batch, more or less."""


@dataclass(frozen=True)
class CodedClip:
    """What a worker made of one clip in one step.

    It holds no tensor, because tensors travel between processes as descriptors that the receiver
    must fetch from the sender while it lives.

    samples: float32 (channels, time) at the protocol's rate, None where there are none. failure:
    why there are none that are wanted, else "".
    """

    step: StepId
    samples: Channels | None
    failure: str


def code_clip(
    setup: bytes,
    system: str,
    clip: PlannedClip,
    audio: tuple[Channels, int],
    wanted: Mapping[StepId, frozenset[Quantity]],
) -> tuple[list[Result], list[CodedClip]]:
    """Encodes one clip at the wanted steps of one system, measures that, and decodes.

    setup: a pickled `Setup`, which is read once in a process. audio: samples and their rate.
    """
    import torch

    from rdbench.engine.measure.code import code
    from rdbench.engine.measure.work import Work
    from rdbench.engine.measure.workshop import workshop_of
    from rdbench.engine.plan.open import OpenUnits
    from rdbench.types import AudioBatch

    workshop = workshop_of(setup)
    samples, sample_rate = audio
    lengths = torch.tensor([samples.shape[-1]], dtype=torch.int64)
    # A copy: what arrived may be a view that its sender takes back.
    reference = AudioBatch(torch.from_numpy(samples.copy())[None], lengths, sample_rate)
    opened, results, coded = OpenUnits(), list[Any](), list[CodedClip]()
    works = []
    for step_id, quantities in wanted.items():
        opened.add(step_id, clip.name, quantities)
        seconds = samples.shape[-1] / sample_rate
        works.append(Work(workshop.step(step_id), [clip], seconds, opened, results.extend))
    codec = workshop.system(system).codec
    assert codec is not None
    with torch.inference_mode():
        for outcome in code(codec, reference, works, workshop.passes):
            assert outcome.work.step is not None
            made = None if outcome.audio is None else outcome.audio.samples[0].numpy()
            coded.append(CodedClip(outcome.work.step.id, made, outcome.failure))
    return results, coded


@cache
def warmed(metric: Metric) -> PoolBackend:
    """The backend of a metric, compiled once in a process."""
    from rdbench.metrics.base import PoolBackend

    built = metric.backend
    assert isinstance(built, PoolBackend)
    with stderr_held():
        built.warm_up()
    return built


def _prepare(backend: PoolBackend, signals: Sequence[Channels], rate: int) -> list[Any]:
    return [backend.prepare(signal, rate) for signal in signals]


class _Prepared:
    """What metrics made of the last references."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[Metric, str, int], list[Any]] = OrderedDict()

    def get(self, what: tuple[Metric, str, int], prepare: Callable[[], list[Any]]) -> list[Any]:
        """What was prepared, or is now."""
        if what not in self._made:
            self._made[what] = prepare()
            if len(self._made) > PREPARED:
                self._made.popitem(last=False)
        self._made.move_to_end(what)
        return self._made[what]


@cache
def _prepared_references() -> _Prepared:
    return _Prepared()


def keep_audio(folder: Path, unit_key: str, samples: Channels, sample_rate: int) -> float:
    """Writes one reconstruction or reference as FLAC; returns its peak."""
    from rdbench.store.audio import write_audio

    return write_audio(folder, unit_key, samples, sample_rate)


def score_clip(
    metrics: Sequence[tuple[Metric, int]],
    clip: str,
    references: Mapping[int, Channels],
    reconstruction: Mapping[int, Channels],
) -> list[Score]:
    """Scores one reconstruction of one clip.

    metrics: with the sample rate (hertz) at which each is computed. clip: names the reference by
    content and domain (which says how it was prepared); what metrics make of it is kept in this
    process as long as its clip is among the last ones.
    references, reconstruction: the clip (channels, time) by sample rate.
    """
    scores = []
    for metric, rate in metrics:
        try:
            scores.append(_score(metric, clip, references[rate], reconstruction[rate], rate))
        except Exception as error:  # a metric may be anyone's: its fault is a row
            scores.append(failed(metric, error))
    return scores


def _score(
    metric: Metric, clip: str, reference: Channels, reconstruction: Channels, rate: int
) -> Score:
    from rdbench.metrics.base import Scope
    from rdbench.metrics.channels import average_channels, signals_under

    built, rule = warmed(metric), metric.definition.channels
    signals = signals_under(rule, reconstruction)
    if metric.definition.scope is Scope.CLIP_ALONE:
        prepared: Sequence[Any] = [None] * len(signals)
    else:
        prepared = _prepared_references().get(
            (metric, clip, rate), partial(_prepare, built, signals_under(rule, reference), rate)
        )
    return average_channels(
        [
            built.score(item, reconstruction=signal, sample_rate=rate)
            for item, signal in zip(prepared, signals, strict=True)
        ]
    )


def failed(metric: Metric, error: Exception) -> Score:
    """The score of a metric that raised."""
    from rdbench.types import RdbenchError

    if isinstance(error, RdbenchError):
        return Score.failed(str(error))
    return Score.failed(f"{metric.key} raised {type(error).__name__}: {error}")
