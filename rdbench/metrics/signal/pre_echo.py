"""How far the energy of attacks is smeared into the time before them.

With p[t] the mean power of all channels in the t-th millisecond of a clip, the 20 ms before t are
compared with the 5 ms from t on:

    R(t) = 10 log10( Σ_{1≤i≤20} p[t - i] / 20  /  Σ_{0≤i<5} p[t + i] / 5 )   in dB, cut to -60 … 0.

An attack of the reference is a t at which R has a minimum within 25 ms on both sides, of -15 dB or
less, and whose 5 ms are within 30 dB of the loudest 5 ms of the clip. Then

    pre_echo = mean over attacks t of max(0, R_ŝ(t) - R_s(t))   in dB:

how much less an attack stands out from what was there before it. Transform codecs spread
quantization noise over their window, whose part before an attack is heard as a pre-echo since
masking reaches back for some 5 to 20 ms only (Painter and Spanias, "Perceptual coding of digital
audio", Proceedings of the IEEE 88(4), 2000; Bosi and Goldberg, "Introduction to digital audio
coding and standards", 2003, chapter 6); networks soften attacks, which counts too. The pre-echo of
-60 dB that is the floor of R lies under any that is heard.

It knows nothing of gain. A residual delay is removed first, for a late attack would be none. A clip
without an attack has no score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.metrics.base import BackendFactory, ChannelRule, Direction, MetricDefinition
from rdbench.metrics.equal_lengths import EqualLengths, finite
from rdbench.metrics.one_clip import score_clip
from rdbench.types import Score

if TYPE_CHECKING:
    import torch

    from rdbench.metrics.one_clip import Clip

BEFORE, AFTER = 20, 5  # milliseconds
APART = 25
LEAST_DB = 15.0
RANGE_DB = 30.0
FLOOR_DB = -60.0

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key="pre_echo",
        version=1,
        name="Pre-echo",
        unit="dB",
        direction=Direction.LOWER,
        lower=0.0,
        upper=-FLOOR_DB,
        identity=0.0,
        domains=(),
        sample_rate=None,
        minimum_seconds=0.001 * (BEFORE + AFTER),
        needs_alignment=True,
        definition=f"by how much the power of the {BEFORE} ms before an attack has risen against "
        f"that of its first {AFTER} ms, mean over the reference's attacks (rises of {LEAST_DB:g} "
        "dB or more), of all channels; the residual delay is removed first",
        citation="after Painter and Spanias, Perceptual coding of digital audio, Proceedings of "
        "the IEEE 88(4), 2000",
        channels=ChannelRule.JOINT,
    ),
)


@dataclass(frozen=True)
class _Steps:
    """Per millisecond at which R is known, float64 (clips, times): R in dB, power of what follows.

    total: power of all of the clip, (clips,), which is finite where its samples are.
    """

    rise: torch.Tensor
    after: torch.Tensor
    total: torch.Tensor


class PreEchoBackend(EqualLengths):
    """`pre_echo` as the module defines it."""

    # Decibels, float64 means of float32 samples. Where the grid lies against an attack matters
    # more: some tenths of a decibel.
    tolerance = 1e-6

    def shortest(self, sample_rate: int) -> int:
        """What lies before an attack, and the attack."""
        return (BEFORE + AFTER) * _millisecond(sample_rate)

    def features(self, samples: torch.Tensor, sample_rate: int) -> _Steps:
        """R at every millisecond that has enough on both sides."""
        import torch
        from torch.nn.functional import avg_pool1d

        size = _millisecond(sample_rate)
        whole = samples[..., : samples.shape[-1] // size * size].double()
        power = whole.square().sum(1).reshape(len(samples), -1, size).mean(-1)
        before = avg_pool1d(power[:, None], BEFORE, 1)[:, 0, :-AFTER]
        after = avg_pool1d(power[:, None], AFTER, 1)[:, 0, BEFORE:]
        # Where an attack is gone altogether, it stands out by nothing.
        ratio = torch.where((after > 0) | before.isnan() | after.isnan(), before / after, 1.0)
        floor = 10 ** (FLOOR_DB / 10)
        return _Steps(10 * ratio.clamp(floor, 1.0).log10(), after, power.sum(-1))

    def scores(self, reference: _Steps, reconstruction: _Steps) -> Sequence[Score]:
        """One score per clip."""
        found = []
        totals = (reference.total + reconstruction.total).tolist()
        for index, total in enumerate(totals):
            at = _attacks(reference.rise[index], reference.after[index])
            if not math.isfinite(total):
                found.append(Score.failed("the audio holds samples that are not finite"))
            elif not reconstruction.total[index]:
                found.append(Score.undefined("the reconstruction is silent"))
            elif not at:
                found.append(
                    Score.undefined(f"the reference has no attack that rises by {LEAST_DB:g} dB")
                )
            else:
                risen = reconstruction.rise[index, at] - reference.rise[index, at]
                found.append(finite(risen.clamp(min=0).mean().item()))
        return found


def pre_echo(*, reference: Clip, reconstruction: Clip, sample_rate: int) -> Score:
    """`pre_echo`: how much less attacks stand out, in dB, 0 to 60.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time); sample_rate:
    hertz.
    """
    return score_clip(
        PreEchoBackend(),
        reconstruction=reconstruction,
        reference=reference,
        sample_rate=sample_rate,
    )


def backends(_key: str) -> dict[str, BackendFactory]:
    """How to build each backend of the one key, the first being the default."""
    return {"torch": PreEchoBackend}


def _attacks(rise: torch.Tensor, after: torch.Tensor) -> list[int]:
    """Where one reference has attacks, of R and of the power that follows, both (times,)."""
    from torch.nn.functional import max_pool1d

    deepest = -max_pool1d(-rise[None], 2 * APART + 1, 1, padding=APART)[0]
    loud = after >= after.amax() * 10 ** (-RANGE_DB / 10)
    found = ((rise <= deepest) & (rise <= -LEAST_DB) & loud).nonzero()[:, 0].tolist()
    # R is as low for all the times at which one click is in view: the last one is the click's own.
    after_each = [*found[1:], math.inf]
    return [t for t, following in zip(found, after_each, strict=False) if following - t > APART]


def _millisecond(sample_rate: int) -> int:
    return max(1, round(0.001 * sample_rate))
