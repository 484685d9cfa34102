"""The mean of a posterior, quantized with subtractive dither: the error is noise.

    z = Q(μ − u) + u,    u from the seed of the clip, known to both ends

With u uniform over a cell of the quantizer the error z − μ is uniform over a cell and independent
of μ (Zamir & Feder, "On universal quantization by randomized uniform/lattice quantizers", IEEE
Trans. IT 38(2), 1992; Agustsson & Theis, "Universally quantized neural compression", NeurIPS
2020). Q is a trellis (`rdbench.rate.coded.trellis`), and its scale is such that the error has the
variance n² of the posterior's noise in that class of frames and channel (`…profile`):

`UNIFORM`      steps Δ = √12 n: the error is uniform on ±Δ/2. It costs 0.25 bit for each live
               channel and frame more than a sample of the same variance.
`STATES_256`   along the frames of each channel: the error is nearly Gaussian, and costs 0.03 bit.

An index k is coded given its dither. Under μ ~ N(c, s²), with cells of width w,

    P(k | u) = ∫ N(x; c, s²) over w (k + v) ± w/2,    v the place of the dithered points in a cell,

which is the density of μ convolved with the cell, sampled at the points that there are: at low
rates most of what is sent is known from u. Without u the indices would cost what they do at the
worst u.

Channels that are not coded in a class are drawn by the decoder from N(c, s² + n²).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.rate.coded.base import LatentClip, LatentCoder
from rdbench.rate.coded.profile import (
    Opening,
    Profile,
    opening_header,
    read_header,
    read_opening,
    write_opening,
)
from rdbench.rate.coded.shared import Purpose, normals, uniforms
from rdbench.rate.coded.trellis import STATES_256, UNIFORM, Trellis
from rdbench.rate.stream import Stream, impossible_streams, require
from rdbench.rate.validate import PayloadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.rate.coded.base import Floats, Indices

VERSION = 1
"""Raised when a dithered latent or the length of its stream changes; part of every digest."""

LEAST_BITS = 0.1
"""Channels of less are not coded."""
_NAMES = {UNIFORM: "dithered steps", STATES_256: "dithered trellis"}
_MAX_INDEX = 1 << 13
_LEAST_P = 2.0**-24  # what the range coder gives any index


class DitheredCoder(LatentCoder):
    """profile: fitted on other clips; None makes one of each clip and sends it."""

    def __init__(self, trellis: Trellis, profile: Profile | None = None) -> None:
        self.trellis = trellis
        self.profile = profile
        self.name = f"{_NAMES[trellis]}, {'sent' if profile is None else 'fitted'} Gaussians"
        self.digest = f"{VERSION} {profile.digest if profile else ''}"

    def encode(self, clip: LatentClip) -> tuple[Stream, float]:
        """As in `LatentCoder`."""
        import constriction

        encoder = constriction.stream.queue.RangeEncoder()
        opening = write_opening(encoder, self.profile, clip)
        coded, width = opening.of(opening.profile.carrying(LEAST_BITS)), self._widths(opening)
        dither = uniforms(clip.seed, Purpose.DITHER, *clip.mean.shape)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            offset = (clip.mean - opening.of(opening.profile.centre)) / width
        _check_reach(clip, offset, coded)
        # In halves of a width, as trellises count, points lie at i + 4 u.
        points, parities = self.trellis.quantize(2.0 * offset - 4.0 * dither, coded)
        # In the order of the stream: frames, and the channels that are coded within each.
        order = coded.T
        place = ((4.0 * dither + parities) / 2.0).T[order]
        indices = ((points - parities) // 2).T[order]
        ratio = (opening.of(opening.profile.spread) / width).T[order]
        whole = np.floor(place)
        symbols = indices + whole.astype(np.int64)
        means = whole - place
        if len(symbols):
            encoder.encode(symbols.astype(np.int32), _family(), means, ratio)
        ideal = opening.bits + _bits(symbols, means, ratio)
        header = opening_header(self.name, self.digest, clip)
        return Stream(header, encoder.get_compressed()), ideal

    def decode(self, stream: Stream) -> NDArray[np.float32]:
        """As in `LatentCoder`; refuses a stream of other tables."""
        import constriction

        header = require(stream, self.name)
        frames, channels, seed = read_header(header, self.digest, self.profile)
        decoder = constriction.stream.queue.RangeDecoder(stream.words)
        with impossible_streams():
            opening = read_opening(decoder, self.profile, frames, channels)
            return self._decode(decoder, opening, seed)

    def _decode(self, decoder: Any, opening: Opening, seed: int) -> NDArray[np.float32]:
        profile, family = opening.profile, _family()
        channels, frames = profile.channels, len(opening.classes)
        width, centre = self._widths(opening), opening.of(profile.centre)
        dither = uniforms(seed, Purpose.DITHER, channels, frames)
        ratio = opening.of(profile.spread) / width
        values: Floats = centre + opening.of(profile.total) * normals(
            seed, Purpose.FILL, channels, frames
        )
        states = np.zeros(channels, np.int64)
        for frame, coded in enumerate(opening.of(profile.carrying(LEAST_BITS)).T):
            if not coded.any():
                continue
            place = (4.0 * dither[coded, frame] + self.trellis.parity(states[coded])) / 2.0
            whole = np.floor(place)
            symbols = decoder.decode(family, whole - place, ratio[coded, frame]).astype(np.int64)
            indices = symbols - whole.astype(np.int64)
            values[coded, frame] = centre[coded, frame] + width[coded, frame] * (indices + place)
            states[coded] = self.trellis.following[states[coded], indices & 1]
        return values.astype(np.float32)

    def _widths(self, opening: Opening) -> Floats:
        """The distance between points that are allowed at a time, (channels, frames)."""
        found: Floats = opening.of(opening.profile.noise) / math.sqrt(self.trellis.moment)
        return found


def _family() -> Any:
    import constriction

    return constriction.stream.model.QuantizedGaussian(-_MAX_INDEX, _MAX_INDEX - 1)


def _bits(symbols: Indices, means: Floats, ratio: Floats) -> float:
    """Ideal bits of indices: of a Gaussian's share of the cell, with the coder's least share."""
    from scipy.special import ndtr

    low, high = (symbols - 0.5 - means) / ratio, (symbols + 0.5 - means) / ratio
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    share = (1.0 - 2 * _MAX_INDEX * _LEAST_P) * (ndtr(high) - ndtr(low)) + _LEAST_P
    return -float(np.log2(share).sum())


def _check_reach(clip: LatentClip, offset: Floats, coded: Any) -> None:
    """Raises PayloadError where a coded mean lies further away than indices reach."""
    far = coded & ~(np.abs(offset) < _MAX_INDEX - 4)
    if far.any():
        channel, frame = np.argwhere(far)[0]
        raise PayloadError(
            f"channel {channel} of the latent is {clip.mean[channel, frame]:g} at frame {frame}, "
            f"{abs(offset[channel, frame]):g} steps from its centre and more than {_MAX_INDEX}; "
            "the model's output cannot be coded"
        )
