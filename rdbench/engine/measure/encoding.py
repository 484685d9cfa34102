"""What a codec made of a batch at one point, as passes see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rdbench.audio.channels import ChannelPolicy, gather_rates
from rdbench.codecs.base import Codec
from rdbench.types import AudioBatch, Encoded, Rate, RateKind


@dataclass(frozen=True)
class Encoding:
    """What a codec made of a batch at one point.

    encoded: one item for each clip, or one for each channel of each clip, as `policy` says.
    channels: of the reference. audio: what was encoded, at the codec's rate. rates: those that
    follow from the payload, per clip.
    """

    codec: Codec
    encoded: Encoded
    policy: ChannelPolicy
    channels: int
    audio: AudioBatch
    rates: Mapping[RateKind, Sequence[Rate]]

    def gathered(self, kind: RateKind, rates: Sequence[Rate]) -> list[Rate]:
        """Rates of the encoded items as rates of clips."""
        return gather_rates({kind: rates}, self.policy, self.channels)[kind]

    def items(self, clip: int) -> range:
        """The encoded items of one clip."""
        each = self.channels if self.policy is ChannelPolicy.PER_CHANNEL else 1
        return range(clip * each, (clip + 1) * each)
