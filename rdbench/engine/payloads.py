"""What codecs make of clips, one by one, without decoding: for fitting and for counting bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.types import AudioBatch, Encoded, RdbenchError

if TYPE_CHECKING:
    from rdbench.audio.load import Excerpt, ExcerptProtocol
    from rdbench.codecs.base import Codec
    from rdbench.engine.channels import ChannelPolicy
    from rdbench.engine.plan import PlannedClip
    from rdbench.types import OperatingPoint


@dataclass(frozen=True)
class Payload:
    """What a codec made of one clip at one point.

    encoded: one item, or one for each channel where the codec runs per channel. policy, channels:
    what `rdbench.engine.channels.gather_rates` needs to add those up.
    """

    clip: PlannedClip
    point: OperatingPoint
    encoded: Encoded
    policy: ChannelPolicy
    channels: int


def payloads(
    codec: Codec,
    points: Sequence[OperatingPoint],
    clips: Sequence[PlannedClip],
    protocols: Mapping[str, ExcerptProtocol],
    failed: Callable[[PlannedClip, str], None],
) -> Iterator[Payload]:
    """Yields what `codec` makes of every clip at every one of its `points`.

    A nested codec encodes once and is cut. protocols: by domain. failed: told of a clip that
    cannot be loaded or encoded, and why; the other clips go on.
    """
    from rdbench.audio.load import load_excerpt

    for clip in clips:
        try:
            if clip.failure:
                failed(clip, clip.failure)
                continue
            excerpt = load_excerpt(clip.clip, protocols[clip.clip.domain])
            yield from list(_of_clip(codec, points, clip, excerpt))
        except RdbenchError as error:
            failed(clip, str(error))
        except Exception as error:
            name = codec.info.name
            failed(clip, f"{name} raised {type(error).__name__} while encoding: {error}")


def _of_clip(
    codec: Codec, points: Sequence[OperatingPoint], clip: PlannedClip, excerpt: Excerpt
) -> Iterator[Payload]:
    import torch

    from rdbench.audio.resample import resample_batch
    from rdbench.engine.channels import policy, spread

    samples = excerpt.samples[None]
    lengths = torch.tensor([samples.shape[-1]], dtype=torch.int64)
    reference = AudioBatch(samples, lengths, excerpt.sample_rate)
    how = policy(codec.info, reference.channels)
    native = resample_batch(spread(reference, how), codec.info.native_rate(reference.sample_rate))
    with torch.inference_mode():
        highest = codec.encode(native, codec.points[-1]) if codec.nested else None
        for point in points:
            if highest is None:
                encoded = codec.encode(native, point)
            else:
                last = point.name == codec.points[-1].name
                encoded = highest if last else codec.at(highest, point)
            yield Payload(clip, point, encoded, how, reference.channels)
