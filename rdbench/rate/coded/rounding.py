"""The mean of a posterior, rounded and entropy-coded.

    k = round((μ − c) / Δ)        z = c + Δ k

per channel, with the indices k entropy-coded. The decoder does not know σ(x), so the step is one
that it knows: Δ = √12 σ̄, σ̄² = E[σ²], or one chosen by rate and distortion
(`rdbench.rate.coded.water`). A latent without scale gets σ̄ = a tenth of the standard deviation
of its mean.

An error of rounding has the variance Δ²/12 = σ̄² only where μ spreads over many steps. At low rates
σ̄ is near the spread of μ, or above it: most indices are zero, the error is −μ itself, and its
variance falls below that of the posterior's noise (`benchmarks/coded_latents.md` has the measured
ratios). What is decoded is then no sample of the posterior but another distortion, correlated with
μ and of too little energy.

`FittedCoder`   c, Δ and the distribution of k are fitted on other clips and known to both ends.
`SentCoder`     Δ (in quarters of an octave) and the range of k are sent with each clip and counted;
                their distribution is learnt on the way (`rdbench.rate.adaptive`). Needs no other
                clips.

Channels whose index carries less than 0.01 bit on the fitting clips are dead: they are decoded as
c and cost nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.rate.coded.base import (
    RELATIVE_NOISE,
    LatentClip,
    LatentCoder,
    clip_means,
    header_count,
    put,
    require_tables,
    take,
)
from rdbench.rate.prior import Moments
from rdbench.rate.stream import Stream, StreamError, impossible_streams, require
from rdbench.rate.validate import PayloadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.rate.coded.base import Floats, Indices
    from rdbench.types import Posterior

VERSION = 1
"""Raised when a rounded latent or the length of its stream changes."""

FITTED = "fitted steps and distribution"
SENT = "sent steps, adaptive order-0"
DEAD_BITS = 0.01
_SQRT12 = math.sqrt(12.0)
_PRIOR_COUNT = 8.0
_WEIGHT = 64.0
_MAX_ENTRIES = 4096
_LARGEST_RATIO = 256.0
_HALF_ESCAPE = 4096
_MAX_INDEX = _HALF_ESCAPE * _HALF_ESCAPE // 2


@dataclass(frozen=True)
class Channel:
    """One live channel: centre c, step Δ, and integer weights of the indices from `low` on.

    The last weight is that of an escape: an index outside, which is then sent in 24 bits.
    """

    centre: float
    step: float
    low: int
    weights: tuple[int, ...]


class FittedCoder(LatentCoder):
    """Steps and distributions fitted on other clips.

    channels: a `Channel` each, or for a dead one the value that it is decoded as. name: says how
    the steps were found.
    """

    def __init__(self, channels: Sequence[Channel | float], name: str = FITTED) -> None:
        self.name = name
        self.channels = tuple(channels)
        self.digest = hashlib.sha256(repr(self.as_json()).encode()).hexdigest()
        self._models: dict[int, tuple[Any, Floats]] = {}

    @classmethod
    def fit(cls, posteriors: Sequence[Posterior], moments: Moments | None = None) -> FittedCoder:
        """Fits on the posteriors of other clips, with steps of √12 σ̄.

        Raises PayloadError for fewer than two frames.
        """
        moments = moments or Moments.of(posteriors)
        rows = np.concatenate(clip_means(posteriors), axis=1)
        return cls.with_steps(rows, moments, noise_steps(moments))

    @classmethod
    def with_steps(
        cls, rows: Floats, moments: Moments, steps: Floats, name: str = FITTED
    ) -> FittedCoder:
        """Fits the distributions of given steps, one for each channel.

        rows: the means of the fitting clips (channels, frames). moments: of the same.
        """
        centre, spread = moments.centre, moments.spread
        channels = [
            _fit_channel(row, float(c), float(d), float(s))
            for row, c, d, s in zip(rows, centre, steps, spread, strict=True)
        ]
        return cls(channels, name)

    @property
    def dead(self) -> int:
        """How many channels are dead."""
        return sum(not isinstance(channel, Channel) for channel in self.channels)

    def encode(self, clip: LatentClip) -> tuple[Stream, float]:
        """As in `LatentCoder`; the clip's own noise plays no part."""
        import constriction

        mean = clip.mean
        if len(mean) != len(self.channels):
            raise PayloadError(
                f"the fitted coder has {len(self.channels)} channels, the posterior {len(mean)}; "
                "fit again with `rdbench fit-entropy`"
            )
        encoder = constriction.stream.queue.RangeEncoder()
        escaped: list[Indices] = []
        ideal = 0.0
        for number, (channel, row) in enumerate(zip(self.channels, mean, strict=True)):
            if not isinstance(channel, Channel):
                continue
            indices = _quantize(row, channel.centre, channel.step, number)
            last = len(channel.weights) - 1
            symbols = indices - channel.low
            outside = (symbols < 0) | (symbols >= last)
            symbols = np.where(outside, last, symbols).astype(np.int32)
            model, p = self._model(number)
            encoder.encode(symbols, model)
            ideal -= float(np.log2(p)[symbols].sum())
            escaped.append(indices[outside])
        far = np.concatenate([*escaped, np.empty(0, np.int64)]) + _MAX_INDEX
        uniform = constriction.stream.model.Uniform(_HALF_ESCAPE)
        for half in (far // _HALF_ESCAPE, far % _HALF_ESCAPE):
            if len(half):
                encoder.encode(half.astype(np.int32), uniform)
        ideal += 2.0 * math.log2(_HALF_ESCAPE) * len(far)
        header = {"model": self.name, "frames": mean.shape[1], "tables": self.digest}
        return Stream(header, encoder.get_compressed()), ideal

    def decode(self, stream: Stream) -> NDArray[np.float32]:
        """As in `LatentCoder`; refuses a stream of other tables."""
        import constriction

        header = require(stream, self.name)
        frames = header_count(header, "frames")
        require_tables(header, self.digest)
        decoder = constriction.stream.queue.RangeDecoder(stream.words)
        with impossible_streams():
            return self._decode(decoder, frames)

    def _decode(self, decoder: Any, frames: int) -> NDArray[np.float32]:
        import constriction

        symbols = {
            number: decoder.decode(self._model(number)[0], frames).astype(np.int64)
            for number, channel in enumerate(self.channels)
            if isinstance(channel, Channel)
        }
        escapes = {n: found == len(self._channel(n).weights) - 1 for n, found in symbols.items()}
        far = sum(int(outside.sum()) for outside in escapes.values())
        uniform = constriction.stream.model.Uniform(_HALF_ESCAPE)
        halves = [decoder.decode(uniform, far).astype(np.int64) if far else np.empty(0, np.int64)
                  for _ in range(2)]  # fmt: skip
        sent = halves[0] * _HALF_ESCAPE + halves[1] - _MAX_INDEX
        values = np.empty((len(self.channels), frames), np.float64)
        for number, channel in enumerate(self.channels):
            if not isinstance(channel, Channel):
                values[number] = channel
                continue
            indices = symbols[number] + channel.low
            here = escapes[number]
            indices[here], sent = sent[: here.sum()], sent[here.sum() :]
            values[number] = channel.centre + channel.step * indices
        return values.astype(np.float32)

    def as_json(self) -> list[Any]:
        """Per channel its value (dead), or [centre, step, low, weights]."""
        return [
            [c.centre, c.step, c.low, list(c.weights)] if isinstance(c, Channel) else c
            for c in self.channels
        ]

    @classmethod
    def from_json(cls, content: Any, name: str = FITTED) -> FittedCoder:
        """What `as_json` gave; raises PayloadError for anything else."""
        try:
            return cls([_channel_of(item) for item in content], name)
        except (TypeError, ValueError, OverflowError):
            raise PayloadError(
                "the fitted coder is damaged; run `rdbench fit-entropy` again"
            ) from None

    def _channel(self, number: int) -> Channel:
        channel = self.channels[number]
        assert isinstance(channel, Channel)
        return channel

    def _model(self, number: int) -> tuple[Any, Floats]:
        import constriction

        if number not in self._models:
            weights = np.array(self._channel(number).weights, np.float64)
            p = weights / weights.sum()
            self._models[number] = constriction.stream.model.Categorical(p, perfect=False), p
        return self._models[number]


class SentCoder(LatentCoder):
    """Steps and ranges sent with each clip: one bit for each channel, and 32 for a live one."""

    name = SENT

    def encode(self, clip: LatentClip) -> tuple[Stream, float]:
        """As in `LatentCoder`; the step follows the clip's own noise."""
        import constriction

        mean = clip.mean
        # Even a channel whose scale is (nearly) zero must fit into the range that can be sent.
        least = np.abs(mean).max(axis=1) / (_MAX_ENTRIES // 2 - 2)
        codes = step_codes(_steps(clip.noise, mean.std(axis=1)), least)
        indices = np.stack(
            [_quantize(row, 0.0, sent_step(code), number)
             for number, (row, code) in enumerate(zip(mean, codes, strict=True))]
        )  # fmt: skip
        live = (indices != 0).any(axis=1)
        used = indices[live]
        low, high = (used.min(axis=1), used.max(axis=1)) if live.any() else (used[:, 0],) * 2
        half = _MAX_ENTRIES // 2
        encoder = constriction.stream.queue.RangeEncoder()
        put(encoder, live, 2)
        for values, entries in ((codes[live], 256), (low + half, 4096), (high + half, 4096)):
            put(encoder, values, entries)
        ideal = len(live) + 32.0 * int(live.sum())
        if live.any():
            ideal += _adaptive(low, high).encode(encoder, (used - low[:, None]).astype(np.int32))
        header = {"model": SENT, "frames": mean.shape[1], "channels": len(mean)}
        return Stream(header, encoder.get_compressed()), ideal

    def decode(self, stream: Stream) -> NDArray[np.float32]:
        """As in `LatentCoder`."""
        import constriction

        header = require(stream, SENT)
        frames, channels = header_count(header, "frames"), header_count(header, "channels")
        decoder = constriction.stream.queue.RangeDecoder(stream.words)
        with impossible_streams():
            return self._decode(decoder, frames, channels)

    @staticmethod
    def _decode(decoder: Any, frames: int, channels: int) -> NDArray[np.float32]:
        live = take(decoder, channels, 2).astype(bool)
        count, half = int(live.sum()), _MAX_ENTRIES // 2
        codes, low, high = (take(decoder, count, entries) for entries in (256, 4096, 4096))
        low, high = low - half, high - half
        values = np.zeros((channels, frames), np.float64)
        if count:
            if (high < low).any():
                raise StreamError("the stream's ranges are impossible; encode it again")
            used = _adaptive(low, high).decode(decoder, frames) + low[:, None]
            steps = np.array([sent_step(code) for code in codes])
            values[live] = used * steps[:, None]
        return values.astype(np.float32)


def noise_steps(moments: Moments) -> Floats:
    """Δ = √12 σ̄ of each channel."""
    return _steps(moments.noise, moments.spread)


def _steps(noise: Floats | None, spread: Floats) -> Floats:
    """Δ = √12 σ̄ per channel."""
    if noise is None or np.isnan(noise).all():
        noise = RELATIVE_NOISE * spread
    return _SQRT12 * noise


def _quantize(row: Floats, centre: float, step: float, number: int) -> Indices:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        indices = np.rint((row - centre) / step) if step > 0 else np.zeros_like(row)
    if not (np.abs(indices) < _MAX_INDEX).all():
        raise PayloadError(
            f"channel {number} of the latent lies {np.abs(row - centre).max():g} from its centre, "
            f"more than {_MAX_INDEX} steps of {step:g}; the model's output cannot be coded"
        )
    return indices.astype(np.int64)


def _fit_channel(row: Floats, centre: float, step: float, spread: float) -> Channel | float:
    if not step > 0 or not spread > 0:
        return centre
    # A step far below the spread would need a table that no fitting clips can fill.
    step = max(step, spread / _LARGEST_RATIO)
    indices = np.rint((row - centre) / step)
    _, counts = np.unique(indices, return_counts=True)
    share = counts / counts.sum()
    if -(share * np.log2(share)).sum() < DEAD_BITS:
        return centre
    return Channel(centre, step, *_weights(indices.astype(np.int64), spread / step))


def _weights(indices: Indices, spread: float) -> tuple[int, tuple[int, ...]]:
    """The first index of the table, and integer weights with that of the escape last.

    Counts of the fitting frames, smoothed by eight more that are spread as a Laplace distribution
    of the same standard deviation (in steps): heavier tails than those of a Gaussian, so that
    what the fitting clips did not have is not dear.
    """
    margin = 2 + int(np.ptp(indices)) // 4
    low = max(int(indices.min()) - margin, -_MAX_ENTRIES // 2)
    high = min(int(indices.max()) + margin, _MAX_ENTRIES // 2 - 1)
    inside = indices[(indices >= low) & (indices <= high)]
    counts = np.bincount(inside - low, minlength=high - low + 1)
    edges = np.arange(low, high + 2) - 0.5
    width = max(spread, 1e-3) / math.sqrt(2.0)
    tail = 0.5 * np.exp(-np.abs(edges) / width)
    below = np.where(edges < 0, tail, 1.0 - tail)
    smooth = _PRIOR_COUNT * np.diff(below)
    escape = len(indices) - len(inside) + 0.5
    whole = np.rint(_WEIGHT * np.append(counts + smooth, escape)).astype(np.int64)
    return low, tuple(np.maximum(whole, 1).tolist())


def _channel_of(item: Any) -> Channel | float:
    if isinstance(item, int | float):
        if not math.isfinite(item):
            raise ValueError("not finite")
        return float(item)
    centre, step, low, weights = item
    channel = Channel(float(centre), float(step), int(low), tuple(int(w) for w in weights))
    if not (math.isfinite(channel.centre) and 0 < channel.step < math.inf):
        raise ValueError("an impossible centre or step")
    if len(channel.weights) < 2 or min(channel.weights) < 1:
        raise ValueError("impossible weights")
    return channel


def step_codes(steps: Floats, least: Floats) -> Indices:
    """Eight bits each: quarters of an octave, from 2^-40 (for zero as well), none below `least`."""
    codes: Floats
    with np.errstate(divide="ignore"):
        codes = np.maximum(np.rint(4.0 * np.log2(steps)), np.ceil(4.0 * np.log2(least))) + 160
    if (codes > 255).any():
        number = int(codes.argmax())
        raise PayloadError(
            f"channel {number} of the latent needs steps of {steps[number]:g}, which cannot be "
            "sent; the model's output is out of any usual range"
        )
    return np.maximum(codes, 0).astype(np.int64)


def sent_step(code: int) -> float:
    """The step of a code of `step_codes`."""
    return float(2.0 ** ((int(code) - 160) / 4.0))


def _adaptive(low: Indices, high: Indices) -> Any:
    from rdbench.rate.adaptive import ORDER0, AdaptiveModel

    return AdaptiveModel((high - low + 1).tolist(), ORDER0)
