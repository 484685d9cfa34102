"""What every coder of latents is: a clip's posterior to a stream, and the stream to a latent.

A coder is given the mean and the scale of a clip and the clip's seed. What is decoded comes from
the stream alone: its words are the rate, and its header says what a container of any codec says
(frames, channels, which tables) and the seed, from which both ends draw the same random numbers.
The seed belongs to the clip and tells nothing of what is in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.rate.stream import Stream, StreamError
from rdbench.rate.validate import PayloadError, check_posterior, clip_name
from rdbench.stopwatch import Side, charged_to

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from rdbench.types import Posterior

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Flags = NDArray[np.bool_]

RELATIVE_NOISE = 0.1
"""The noise of a latent without scale, in standard deviations of its mean."""


@dataclass(frozen=True)
class CodedLatent:
    """A clip's stream, and the latent decoded from it, float32 (channels, frames).

    ideal_bits: what the probability model says the length should be.
    """

    stream: Stream
    values: NDArray[np.float32]
    ideal_bits: float

    @property
    def bits(self) -> int:
        """Bits of the stream that count."""
        return self.stream.bits


@dataclass(frozen=True)
class LatentClip:
    """The posterior of one clip, float64 (channels, frames) each, and the clip's seed.

    scale: None for a latent without one.
    """

    mean: Floats
    scale: Floats | None
    seed: int = 0

    @property
    def noise(self) -> Floats | None:
        """√E[σ²] per channel; None without a scale."""
        return None if self.scale is None else np.sqrt(np.square(self.scale).mean(axis=1))


class LatentCoder(ABC):
    """Turns a clip's posterior into a stream, and a stream into a latent.

    name: of the model, in streams and rows. digest: of what was fitted on other clips, "" where
    nothing was.
    """

    name: str
    digest: str = ""

    @abstractmethod
    def encode(self, clip: LatentClip) -> tuple[Stream, float]:
        """The stream of one clip, and its ideal length in bits.

        Raises PayloadError for a latent that cannot be coded.
        """

    @abstractmethod
    def decode(self, stream: Stream) -> NDArray[np.float32]:
        """The latent (channels, frames) of a stream; raises StreamError for one not for it."""

    def code(
        self,
        posterior: Posterior,
        names: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[CodedLatent]:
        """Every clip of a posterior, encoded, framed, and decoded from the frame alone.

        names: of the clips, for messages. seeds: of the clips, zeros where there are none. Where it
        is timed, making a stream is charged to the encoder and reading it to the decoder. Raises
        PayloadError, naming the clip, for a posterior that cannot be coded.
        """
        with charged_to(Side.NOBODY):
            check_posterior(posterior, names)
        with charged_to(Side.ENCODER):
            mean = posterior.mean.detach().cpu().double().numpy()
            scale = posterior.scale
            scales = None if scale is None else scale.detach().cpu().double().numpy()
        results = []
        for index, frames in enumerate(posterior.frames.tolist()):
            with charged_to(Side.ENCODER):
                clip = LatentClip(
                    mean[index, :, :frames],
                    None if scales is None else scales[index, :, :frames],
                    seeds[index] if seeds else 0,
                )
                try:
                    stream, ideal = self.encode(clip)
                except PayloadError as error:
                    raise PayloadError(f"{clip_name(index, names)}: {error}") from None
                sent = stream.to_bytes()
            with charged_to(Side.DECODER):
                values = self.decode(Stream.from_bytes(sent))
            results.append(CodedLatent(stream, values, ideal))
        return results


def clip_means(posteriors: Sequence[Posterior]) -> list[Floats]:
    """The means of every clip, float64 (channels, frames) each."""
    return [rows for posterior in posteriors for rows in _clips(posterior.mean, posterior.frames)]


def clip_scales(posteriors: Sequence[Posterior]) -> list[Floats] | None:
    """The scales of every clip, as `clip_means`; None where a posterior has none."""
    found = []
    for posterior in posteriors:
        if posterior.scale is None:
            return None
        found += _clips(posterior.scale, posterior.frames)
    return found


def _clips(values: torch.Tensor, frames: torch.Tensor) -> list[Floats]:
    rows = values.detach().cpu().double().numpy()
    return [rows[index, :, :count] for index, count in enumerate(frames.tolist())]


def header_count(header: Mapping[str, Any], key: str, *, least: int = 1) -> int:
    """A whole number of the header; raises StreamError for another value, or one below `least`."""
    value = header.get(key)
    if type(value) is not int or value < least:
        raise StreamError(f"the stream's header has no valid number of {key}; encode it again")
    return value


def require_tables(header: Mapping[str, Any], digest: str) -> None:
    """Raises StreamError for a stream that was written with other tables than those of `digest`."""
    if header.get("tables") != digest:
        raise StreamError("the stream was written with other fitted tables; give those")


def put(encoder: Any, values: NDArray[Any], entries: int) -> None:
    """Appends values from 0 to `entries` − 1, all equally likely."""
    import constriction

    if len(values):
        encoder.encode(values.astype(np.int32), constriction.stream.model.Uniform(entries))


def take(decoder: Any, count: int, entries: int) -> Indices:
    """The next `count` values that `put` appended."""
    import constriction

    if count == 0:
        return np.empty(0, np.int64)
    found = decoder.decode(constriction.stream.model.Uniform(entries), count)
    return np.asarray(found, np.int64)
