"""What runs inside a worker process: packet codecs and the metrics of reference packages.

A worker lives for a whole run and keeps the codecs and metric backends that it has built. Its
jobs are plain functions of picklable arguments; they return results with reasons instead of
raising, so that one bad point does not cost its neighbours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from rdbench.engine.native import stderr_held
from rdbench.types import Rate, RateKind, Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.codecs.base import Codec
    from rdbench.metrics.base import PoolBackend

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
    kind. failure: why there are no samples, else "".
    """

    point: str
    variant: str
    samples: Channels | None
    rates: Mapping[RateKind, Rate]
    failure: str


@dataclass(frozen=True)
class MetricChoice:
    """One metric and the backend that computes it."""

    key: str
    backend: str


def limit_threads(threads: int) -> None:
    """Initializer: numeric libraries of this process use `threads` threads.

    Set through the environment, before any of them is imported.
    """
    for variable in (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ):
        os.environ[variable] = str(threads)


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


def run_codec(
    recipe: CodecRecipe,
    samples: Channels,
    sample_rate: int,
    wanted: Sequence[tuple[str, str]],
    seed: int,
) -> list[ClipResult]:
    """Encodes and decodes one clip (channels, time) at the wanted (point, variant) pairs."""
    import torch

    from rdbench.engine.reconstruct import reconstruct
    from rdbench.types import AudioBatch, Variant

    codec = codec_of(recipe)
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
        )
        for result in reconstruct(codec, audio, wanted=pairs, clip_seeds=[seed])
    ]


def score_clip(
    choices: Sequence[tuple[MetricChoice, int]],
    references: Mapping[int, Channels],
    reconstructions: Sequence[Mapping[int, Channels]],
) -> list[list[Score]]:
    """Scores some reconstructions of one clip.

    choices: metrics with the sample rate (hertz) at which each is computed. references: the clip
    (channels, time) by sample rate; reconstructions: likewise, one mapping each. Returns per
    reconstruction the scores in the order of `choices`.
    """
    results: list[list[Score]] = [[] for _ in reconstructions]
    for choice, rate in choices:
        try:
            built = _backend(choice)
            prepared = [built.prepare(channel, rate) for channel in references[rate]]
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
