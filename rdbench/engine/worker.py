"""What runs inside a worker process: packet codecs and the metrics of reference packages.

A worker lives for a whole run and keeps the codecs and metric backends that it has built. Its
jobs are plain functions of picklable arguments; they return results with reasons instead of
raising, so that one bad point does not cost its neighbours.
"""

from __future__ import annotations

import json
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from rdbench.engine.parcel import Parcel, pack, unpack
from rdbench.native import stderr_held
from rdbench.types import Rate, RateKind, Score

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from rdbench.codecs.base import Codec
    from rdbench.metrics.base import PoolBackend
    from rdbench.rate.trace import Trace

    Channels = npt.NDArray[np.float32]  # (channels, time)


@dataclass(frozen=True)
class CodecRecipe:
    """What rebuilds a codec in another process.

    points: as in the spec. options: the spec's options as JSON, so that a recipe can be hashed.
    """

    name: str
    points: tuple[float | str, ...] | None
    options: str
    allow_code: bool

    def build(self) -> Codec:
        """The codec; raises CodecError as the registry does."""
        from rdbench.codecs.registry import create

        return create(
            self.name,
            points=self.points,
            options=json.loads(self.options),
            allow_code=self.allow_code,
        )


@dataclass(frozen=True)
class ClipResult:
    """What a worker made of one clip at one point and variant.

    It holds no tensor, because tensors travel between processes as descriptors that the receiver
    must fetch from the sender while it lives.

    samples: float32 (channels, time) at the protocol's rate, None where there are none. rates: by
    kind. failure: why there are no samples, else "". traces: along the axes that were asked for.
    """

    point: str
    variant: str
    samples: Channels | None
    rates: Mapping[RateKind, Rate]
    failure: str
    traces: Sequence[Trace] = ()


@dataclass(frozen=True)
class MetricChoice:
    """One metric and the backend that computes it."""

    key: str
    backend: str


PREPARED = 32
"""Prepared references that a worker remembers: those of the clips of a batch, more or less."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""What the numeric libraries of a worker read; each is 1 there."""


def start_worker(environment: Mapping[str, str], path: Sequence[str]) -> None:
    """Initializer: a worker has the environment and the import path of the engine's process.

    It was forked from a server that may be older than both.
    """
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path


def run_parcel(function: Callable[..., Any], arguments: Parcel) -> Parcel:
    """Runs a job whose arguments and result may lie in shared memory."""
    return pack(function(*unpack(arguments, copy=False)))


@cache
def codec_of(recipe: CodecRecipe) -> Codec:
    """The codec of a recipe, built once in this process."""
    import torch

    torch.set_num_threads(1)
    return recipe.build()


@cache
def _backend(choice: MetricChoice) -> PoolBackend:
    from rdbench.metrics.base import PoolBackend
    from rdbench.metrics.registry import backend

    built = backend(choice.key, choice.backend)
    assert isinstance(built, PoolBackend)
    with stderr_held():
        built.warm_up()
    return built


def _prepare(backend: PoolBackend, channels: Channels, rate: int) -> list[Any]:
    return [backend.prepare(channel, rate) for channel in channels]


class _Prepared:
    """What metrics made of the last references."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[MetricChoice, str, int], list[Any]] = OrderedDict()

    def get(
        self, what: tuple[MetricChoice, str, int], prepare: Callable[[], list[Any]]
    ) -> list[Any]:
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


def run_codec(
    recipe: CodecRecipe,
    clip: tuple[Channels, int],
    wanted: Sequence[tuple[str, str]],
    seed: int,
    axes: Sequence[str],
) -> list[ClipResult]:
    """Encodes and decodes one clip at the wanted (point, variant) pairs.

    clip: samples (channels, time) and their rate in hertz. axes: along what to trace the rates.
    """
    import torch

    from rdbench.engine.reconstruct import reconstruct
    from rdbench.types import AudioBatch, Variant

    codec = codec_of(recipe)
    samples, sample_rate = clip
    lengths = torch.tensor([samples.shape[-1]], dtype=torch.int64)
    audio = AudioBatch(torch.from_numpy(samples)[None], lengths, sample_rate)
    pairs = [(point, Variant(variant)) for point, variant in wanted]
    return [
        ClipResult(
            result.point,
            result.variant.value,
            None if result.audio is None else result.audio.samples[0].numpy(),
            {kind: items[0] for kind, items in result.rates.items()},
            result.failure,
            result.traces[0] if result.traces else (),
        )
        for result in reconstruct(codec, audio, wanted=pairs, clip_seeds=[seed], axes=axes)
    ]


def keep_audio(folder: Path, unit_key: str, samples: Channels, sample_rate: int) -> float:
    """Writes one reconstruction or reference as FLAC; returns its peak."""
    from rdbench.store.audio import write_audio

    return write_audio(folder, unit_key, samples, sample_rate)


def score_clip(
    choices: Sequence[tuple[MetricChoice, int]],
    clip: str,
    references: Mapping[int, Channels],
    reconstructions: Sequence[Mapping[int, Channels]],
) -> list[list[Score]]:
    """Scores some reconstructions of one clip.

    choices: metrics with the sample rate (hertz) at which each is computed. clip: names the
    reference, which is prepared once in this process as long as its clip is among the last ones.
    references: the clip (channels, time) by sample rate; reconstructions: likewise, one mapping
    each. Returns per reconstruction the scores in the order of `choices`.
    """
    results: list[list[Score]] = [[] for _ in reconstructions]
    for choice, rate in choices:
        try:
            built = _backend(choice)
            prepared = _prepared_references().get(
                (choice, clip, rate),
                partial(_prepare, built, references[rate], rate),
            )
        except Exception as error:
            failure = _failed(choice, error)
            for scores in results:
                scores.append(failure)
            continue
        for scores, reconstruction in zip(results, reconstructions, strict=True):
            scores.append(_score(choice, built, prepared, reconstruction[rate], rate))
    return results


def _score(
    choice: MetricChoice,
    backend: PoolBackend,
    prepared: Sequence[Any],
    channels: Channels,
    rate: int,
) -> Score:
    from rdbench.metrics.channels import average_channels

    try:
        return average_channels(
            [
                backend.score(item, reconstruction=channel, sample_rate=rate)
                for item, channel in zip(prepared, channels, strict=True)
            ]
        )
    except Exception as error:
        return _failed(choice, error)


def _failed(choice: MetricChoice, error: Exception) -> Score:
    from rdbench.types import RdbenchError

    if isinstance(error, RdbenchError):
        return Score.failed(str(error))
    return Score.failed(f"{choice.key} raised {type(error).__name__}: {error}")
