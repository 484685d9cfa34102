"""What codecs make of clips, one by one, without decoding: for fitting and for counting bits.

Model codecs encode here, on their device; codecs of the pool encode in its workers, so that one
which dies or hangs costs its clip alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rdbench.engine.worker import CodecRecipe, codec_of
from rdbench.types import AudioBatch, Encoded, RdbenchError, RunsOn

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.audio.load import ExcerptProtocol
    from rdbench.codecs.base import Codec
    from rdbench.engine.channels import ChannelPolicy
    from rdbench.engine.plan import PlannedClip, System
    from rdbench.engine.pool import WorkerPool
    from rdbench.types import OperatingPoint


@dataclass(frozen=True)
class Payload:
    """What a codec made of one clip at one point.

    encoded: one item, or one for each channel where the codec runs per channel. policy, channels:
    what `rdbench.engine.channels.gather_rates` needs to add those up.
    """

    point: str
    encoded: Encoded
    policy: ChannelPolicy
    channels: int


Failed = Callable[["PlannedClip", str], None]


def payloads(
    system: System,
    points: Sequence[OperatingPoint],
    clips: Sequence[PlannedClip],
    *,
    protocols: Mapping[str, ExcerptProtocol],
    pool: WorkerPool,
    timeout: float,
    failed: Failed,
) -> Iterator[tuple[PlannedClip, Payload]]:
    """Yields what a system makes of every clip at every one of `points`, in the order of `clips`.

    A nested codec encodes once and is cut. protocols: by domain. timeout: seconds for one clip at
    one point, in a worker. failed: told of a clip that cannot be loaded or encoded, and why; the
    other clips go on.
    """
    assert system.codec is not None
    names = [point.name for point in points]
    loaded = _loaded(clips, protocols, failed)
    if system.codec.info.runs_on is RunsOn.POOL:
        made: dict[str, list[Payload] | str] = {}
        for clip, samples, rate in loaded:
            name = clip.clip.name
            pool.submit(
                _encode_in_worker,
                system.recipe,
                samples,
                rate,
                names,
                timeout=timeout * len(names),
                done=partial(made.__setitem__, name),
                lost=partial(made.__setitem__, name),
            )
        pool.wait()
        results = ((clip, made[clip.clip.name]) for clip in clips if clip.clip.name in made)
    else:
        codec = system.codec
        results = ((clip, _encode(codec, samples, rate, names)) for clip, samples, rate in loaded)
    for clip, found in results:
        if isinstance(found, str):
            failed(clip, found)
        else:
            yield from ((clip, payload) for payload in found)


def _loaded(
    clips: Sequence[PlannedClip], protocols: Mapping[str, ExcerptProtocol], failed: Failed
) -> Iterator[tuple[PlannedClip, npt.NDArray[np.float32], int]]:
    from rdbench.audio.load import load_excerpt

    for clip in clips:
        if clip.failure:
            failed(clip, clip.failure)
            continue
        try:
            excerpt = load_excerpt(clip.clip, protocols[clip.clip.domain])
        except RdbenchError as error:
            failed(clip, str(error))
            continue
        yield clip, excerpt.samples.numpy(), excerpt.sample_rate


def _encode_in_worker(
    recipe: CodecRecipe, samples: Any, sample_rate: int, points: Sequence[str]
) -> list[Payload] | str:
    return _encode(codec_of(recipe), samples, sample_rate, points)


def _encode(
    codec: Codec, samples: Any, sample_rate: int, points: Sequence[str]
) -> list[Payload] | str:
    """What a codec makes of samples (channels, time), or why it makes nothing."""
    try:
        return _encode_points(codec, samples, sample_rate, points)
    except RdbenchError as error:
        return str(error)
    except (Exception, SystemExit) as error:
        return f"{codec.info.name} raised {type(error).__name__} while encoding: {error}"


def _encode_points(
    codec: Codec, samples: Any, sample_rate: int, points: Sequence[str]
) -> list[Payload]:
    import torch

    from rdbench.audio.resample import resample_batch
    from rdbench.engine.channels import policy, spread

    lengths = torch.tensor([samples.shape[-1]], dtype=torch.int64)
    # A copy: an adapter that changes its input must not change what the next one gets.
    reference = AudioBatch(torch.from_numpy(samples.copy())[None], lengths, sample_rate)
    how = policy(codec.info, reference.channels)
    native = resample_batch(spread(reference, how), codec.info.native_rate(sample_rate))
    last = codec.points[-1]
    found = []
    with torch.inference_mode():
        highest = codec.encode(native, last) if codec.nested else None
        for name in points:
            point = codec.point(name)
            if highest is None:
                copy = AudioBatch(
                    native.samples.clone(), native.lengths.clone(), native.sample_rate
                )
                encoded = codec.encode(copy, point)
            else:
                encoded = highest if name == last.name else codec.at(highest, point)
            found.append(Payload(name, encoded, how, reference.channels))
    return found
