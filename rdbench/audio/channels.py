"""Brings a reference to the rate and channels that a codec takes, and its reconstruction back.

Three policies, recorded in the manifest: `native` (the codec takes this layout), `per-channel` (a
mono codec runs on each channel, and the bits of the channels add up) and `duplicated` (a
stereo-only codec gets a mono reference twice, and its two outputs are averaged; its bits are what
they are).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from rdbench.types import AudioBatch, CodecError, CodecInfo, Rate, RateKind, Status

if TYPE_CHECKING:
    from collections.abc import Sequence


class ChannelPolicy(StrEnum):
    """How a reference's channels meet a codec's."""

    NATIVE = "native"
    PER_CHANNEL = "per-channel"
    DUPLICATED = "duplicated"


def policy(info: CodecInfo, channels: int) -> ChannelPolicy:
    """The policy for a reference of `channels`; raises CodecError where there is none."""
    if not info.channels or channels in info.channels:
        return ChannelPolicy.NATIVE
    if 1 in info.channels:
        return ChannelPolicy.PER_CHANNEL
    if channels == 1 and 2 in info.channels:
        return ChannelPolicy.DUPLICATED
    takes = " or ".join(str(count) for count in info.channels)
    raise CodecError(
        f"{info.name} takes {takes} channels and the protocol gives {channels}; "
        "set protocol.channels to mono or stereo"
    )


def to_native(audio: AudioBatch, info: CodecInfo) -> tuple[AudioBatch, ChannelPolicy]:
    """A copy of the batch at a rate and with channels that the codec takes natively, and how.

    Raises CodecError for channels that it cannot take.
    """
    from rdbench.audio.resample import resample_batch

    how = policy(info, audio.channels)
    copy = AudioBatch(audio.samples.clone(), audio.lengths.clone(), audio.sample_rate)
    return resample_batch(spread(copy, how), info.native_rate(audio.sample_rate)), how


def from_native(decoded: AudioBatch, audio: AudioBatch, how: ChannelPolicy) -> AudioBatch:
    """What was decoded at the rate, with the channels and of the lengths of the batch `audio`."""
    from rdbench.audio.resample import fit_lengths, resample_batch

    back = resample_batch(gather(decoded, how, audio.channels), audio.sample_rate)
    return fit_lengths(back, audio.lengths)


def spread(audio: AudioBatch, how: ChannelPolicy) -> AudioBatch:
    """The batch as the codec is to see it."""
    if how is ChannelPolicy.PER_CHANNEL:
        clips, channels, time = audio.samples.shape
        samples = audio.samples.reshape(clips * channels, 1, time)
        return AudioBatch(samples, audio.lengths.repeat_interleave(channels), audio.sample_rate)
    if how is ChannelPolicy.DUPLICATED:
        return replace(audio, samples=audio.samples.repeat(1, 2, 1))
    return audio


def gather(audio: AudioBatch, how: ChannelPolicy, channels: int) -> AudioBatch:
    """Undoes `spread` on a reconstruction."""
    if how is ChannelPolicy.PER_CHANNEL:
        items, _, time = audio.samples.shape
        samples = audio.samples.reshape(items // channels, channels, time)
        return AudioBatch(samples, audio.lengths[::channels].clone(), audio.sample_rate)
    if how is ChannelPolicy.DUPLICATED:
        return replace(audio, samples=audio.samples.mean(dim=1, keepdim=True))
    return audio


def spread_seeds(seeds: Sequence[int], how: ChannelPolicy, channels: int) -> list[int]:
    """A seed for each item of a spread batch; channels of one clip get different noise."""
    if how is not ChannelPolicy.PER_CHANNEL:
        return list(seeds)
    return [
        (seed + 0x9E3779B97F4A7C15 * channel) % 2**63
        for seed in seeds
        for channel in range(channels)
    ]


def gather_rates(
    rates: Mapping[RateKind, Sequence[Rate]], how: ChannelPolicy, channels: int
) -> dict[RateKind, list[Rate]]:
    """Rates per clip: the bits of a clip's channels add up, its seconds do not."""
    if how is not ChannelPolicy.PER_CHANNEL:
        return {kind: list(items) for kind, items in rates.items()}
    return {
        kind: [_sum(items[i : i + channels]) for i in range(0, len(items), channels)]
        for kind, items in rates.items()
    }


def _sum(items: Sequence[Rate]) -> Rate:
    for item in items:
        if item.status is not Status.OK:
            return item
    return replace(items[0], bits=sum(item.bits for item in items))
