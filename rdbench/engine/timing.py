"""Times one codec at one operating point on single clips; runs in the engine or in a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.codecs.base import Codec
    from rdbench.engine.worker import CodecRecipe
    from rdbench.types import AudioBatch


@dataclass(frozen=True)
class Timing:
    """Seconds of computing per second of audio, one value per timed run; peak bytes on a GPU."""

    encode: tuple[float, ...]
    decode: tuple[float, ...]
    memory_bytes: int | None


def time_in_worker(
    recipe: CodecRecipe,
    point: str,
    variant: str,
    clips: Sequence[tuple[npt.NDArray[np.float32], int]],
    repeats: int,
) -> Timing:
    """The timing of a packet codec in this process; clips are (channels, time) with their rate."""
    import torch

    from rdbench.engine.worker import codec_of
    from rdbench.types import AudioBatch

    batches = [
        AudioBatch(torch.from_numpy(samples)[None], torch.tensor([samples.shape[-1]]), rate)
        for samples, rate in clips
    ]
    return time_codec(codec_of(recipe), point, variant, batches, repeats=repeats, device="")


def time_codec(
    codec: Codec,
    point_name: str,
    variant_name: str,
    references: Sequence[AudioBatch],
    *,
    repeats: int,
    device: str,
) -> Timing:
    """Times encode and decode of each reference (one clip each), after one warm-up.

    device: "cuda…" to synchronise with it and read its peak memory, "" on the CPU.
    """
    import torch

    if device:
        torch.cuda.reset_peak_memory_stats(device)
    encode: list[float] = []
    decode: list[float] = []
    with torch.inference_mode():
        for reference in references:
            seconds = reference.samples.shape[-1] / reference.sample_rate
            for work, times in zip(
                _works(codec, point_name, variant_name, reference), (encode, decode), strict=True
            ):
                times += [elapsed / seconds for elapsed in _timed(work, repeats, device)]
    memory = torch.cuda.max_memory_allocated(device) if device else None
    return Timing(tuple(encode), tuple(decode), memory)


def _works(
    codec: Codec, point_name: str, variant_name: str, reference: AudioBatch
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    from rdbench.audio.resample import resample_batch
    from rdbench.engine.channels import policy, spread, spread_seeds
    from rdbench.types import Variant

    point, variant = codec.point(point_name), Variant(variant_name)
    how = policy(codec.info, reference.channels)
    rate = codec.info.native_rate(reference.sample_rate)
    native = resample_batch(spread(reference, how), rate)
    seeds = spread_seeds([0], how, reference.channels)
    encoded = codec.encode(native, point)
    return (
        lambda: codec.encode(native, point),
        lambda: codec.decode(codec.decoder_input(encoded, variant, seeds)),
    )


def _timed(work: Callable[[], Any], repeats: int, device: str) -> list[float]:
    import torch

    elapsed = []
    for run in range(repeats + 1):
        if device:
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device:
            torch.cuda.synchronize(device)
        if run:  # the first one warms up
            elapsed.append(time.perf_counter() - start)
    return elapsed
