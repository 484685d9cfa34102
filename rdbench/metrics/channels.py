"""The rules by which a clip of several channels becomes one score.

`ChannelRule.AVERAGED`: each channel is scored, and the clip's score is the mean. A channel without
a score leaves its clip without one: the mean over the others would be the score of another clip.
`DOWNMIX`: the channels are averaged to one before anything is scored. `JOINT`: all channels are
scored at once. The engine applies the rule of a metric's definition to reference and reconstruction
alike, so that every backend of a key follows the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rdbench.metrics.base import ChannelRule
from rdbench.types import AudioBatch, Score, Status

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def batch_under(rule: ChannelRule, audio: AudioBatch) -> AudioBatch:
    """What a device or set backend sees of a batch: one channel where the rule is a downmix."""
    if rule is not ChannelRule.DOWNMIX or audio.channels == 1:
        return audio
    return replace(audio, samples=audio.samples.mean(dim=1, keepdim=True))


def signals_under(
    rule: ChannelRule, samples: npt.NDArray[np.float32]
) -> list[npt.NDArray[np.float32]]:
    """What a pool backend sees of one clip (channels, time), one call for each.

    Its channels (time,), their mean (time,), or all of it (channels, time).
    """
    if rule is ChannelRule.JOINT:
        return [samples]
    if rule is ChannelRule.DOWNMIX:
        return [samples.mean(axis=0)]
    return list(samples)


def average_channels(scores: Sequence[Score]) -> Score:
    """The mean over channels, or a channel's reason why there is none; `failed` comes first."""
    order = sorted(enumerate(scores), key=lambda item: item[1].status is not Status.FAILED)
    for index, score in order:
        if score.status is not Status.OK:
            where = f" (channel {index + 1} of {len(scores)})" if len(scores) > 1 else ""
            return Score(score.value, score.status, score.reason + where)
    return Score(sum(score.value for score in scores) / len(scores))
