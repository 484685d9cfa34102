"""The one rule by which scores of channels become the score of a clip.

A metric that is not defined on all channels at once is computed per channel and averaged. A
channel without a score leaves its clip without one: the mean over the others would be the score
of another clip.
"""

from __future__ import annotations

from collections.abc import Sequence

from rdbench.types import Score, Status


def average_channels(scores: Sequence[Score]) -> Score:
    """The mean over channels, or a channel's reason why there is none; `failed` comes first."""
    order = sorted(enumerate(scores), key=lambda item: item[1].status is not Status.FAILED)
    for index, score in order:
        if score.status is not Status.OK:
            where = f" (channel {index + 1} of {len(scores)})" if len(scores) > 1 else ""
            return Score(score.value, score.status, score.reason + where)
    return Score(sum(score.value for score in scores) / len(scores))
