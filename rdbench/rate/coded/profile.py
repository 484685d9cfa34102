"""How the posteriors of a latent are spread: what both ends know before a clip is coded.

The scale σ(x) of a trained posterior moves from frame to frame, and all channels move together: in
silence they carry little and σ is near 1, in speech it is small. One step for each channel would be
too coarse for the one and too fine for the other. So frames have classes, and a class k has for
each channel c

    centre c_kc, spread s_kc   mean and standard deviation of μ
    noise  n_kc                √E[σ²]

with weights of what class follows which. A frame's class is the one whose noise fits its scale
best,

    argmin_k  Σ_c  ln n_kc + σ_c² / (2 n_kc²),

and is sent.

A profile is fitted on other clips, or, where there is none, made of the clip itself with one class,
rounded, and sent with it. Its spread is 0 where it is below 0.39 n, which is 0.1 bit.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.rate.coded.base import (
    RELATIVE_NOISE,
    LatentClip,
    clip_means,
    clip_scales,
    header_count,
    require_tables,
)
from rdbench.rate.coded.rounding import sent_step, step_codes
from rdbench.rate.stream import StreamError
from rdbench.rate.validate import PayloadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rdbench.rate.coded.base import Flags, Floats, Indices
    from rdbench.types import Posterior

CLASSES = 4
_ROUNDS = 30
_LARGEST_RATIO = 256.0
_SENT_SIZES = (256, 64, 4096)
_LEAST_RATIO_CODE = 6
_FAR = 2000.0


@dataclass(frozen=True)
class Profile:
    """What the module says; centre, spread and noise float64 (classes, channels).

    weights: int64 (classes, classes), how often a class (row) is followed by another.
    """

    weights: Indices
    centre: Floats
    spread: Floats
    noise: Floats

    @classmethod
    def fit(cls, posteriors: Sequence[Posterior], classes: int = CLASSES) -> Profile:
        """Fits on the posteriors of other clips; raises PayloadError for fewer than two frames.

        Fewer classes where the clips have no more, and one for a latent without scale.
        """
        means = clip_means(posteriors)
        mean = np.concatenate(means, axis=1)
        if mean.shape[1] < 2:
            raise PayloadError("fitting needs two frames at least; fit on more or longer clips")
        scales = clip_scales(posteriors)
        if scales is None:
            member = np.zeros(mean.shape[1], np.int64)
            noise = RELATIVE_NOISE * mean.std(axis=1)[None]
        else:
            member, noise = _cluster(np.concatenate(scales, axis=1), classes)
        weights = np.ones((len(noise), len(noise)), np.int64)
        for part in np.split(member, np.cumsum([rows.shape[1] for rows in means])[:-1]):
            np.add.at(weights, (part[:-1], part[1:]), 1)
        parts = [mean[:, member == k] for k in range(len(noise))]
        spread = np.stack([part.std(axis=1) for part in parts])
        return cls(
            weights,
            _rounded(np.stack([part.mean(axis=1) for part in parts])),
            _rounded(spread),
            # A step far below the spread would need indices beyond what a model can hold.
            _rounded(np.maximum(noise, spread / _LARGEST_RATIO)),
        )

    @cached_property
    def digest(self) -> str:
        """Names the numbers: SHA-256 of their JSON."""
        return hashlib.sha256(json.dumps(self.as_json()).encode()).hexdigest()

    def carrying(self, least_bits: float) -> Flags:
        """Which channels carry more than that in each class, bool (classes, channels).

        A Gaussian channel has the rate ½ log2(1 + s²/n²).
        """
        flags: Flags = self.spread > math.sqrt(2.0 ** (2.0 * least_bits) - 1.0) * self.noise
        return flags

    @cached_property
    def total(self) -> Floats:
        """Standard deviation of a sample of the latent, (classes, channels)."""
        found: Floats = np.hypot(self.spread, self.noise)
        return found

    @property
    def channels(self) -> int:
        """How many channels it is for."""
        return int(self.noise.shape[1])

    def classify(self, scale: Floats | None, frames: int) -> Indices:
        """The class of every frame; scale: (channels, frames), or None where there is one class."""
        if scale is None or len(self.noise) == 1:
            return np.zeros(frames, np.int64)
        return _nearest(np.square(scale), self.noise)

    def as_json(self) -> dict[str, Any]:
        """Its numbers by name."""
        return {
            "weights": self.weights.tolist(),
            "centre": self.centre.tolist(),
            "spread": self.spread.tolist(),
            "noise": self.noise.tolist(),
        }

    @classmethod
    def from_json(cls, content: Any) -> Profile:
        """What `as_json` gave; raises PayloadError for anything else."""
        try:
            weights = np.array(content["weights"], np.int64)
            tables = [np.array(content[key], np.float64) for key in ("centre", "spread", "noise")]
            classes, channels = tables[0].shape
            fine = (
                weights.shape == (classes, classes)
                and (weights > 0).all()
                and channels > 0
                and all(one.shape == (classes, channels) for one in tables)
                and all(np.isfinite(one).all() for one in tables)
                and all((one >= 0).all() for one in tables[1:])
            )
            if not fine:
                raise ValueError("impossible numbers")
        except (KeyError, TypeError, ValueError, OverflowError):
            raise PayloadError(
                "the latent's profile is damaged; run `rdbench fit-entropy` again"
            ) from None
        return cls(weights, *tables)


def _cluster(scale: Floats, classes: int) -> tuple[Indices, Floats]:
    """Classes of frames by their scale (channels, frames), and the noise of each.

    Begins with equal shares by the mean logarithm of the scale, and takes turns between noise and
    classes until nothing moves. A class of fewer than two frames is given up.
    """
    level, power = np.log(scale).mean(axis=0), np.square(scale)
    member = np.searchsorted(np.quantile(level, np.arange(1, classes) / classes), level)
    for _ in range(_ROUNDS):
        kept = [k for k in range(classes) if (member == k).sum() >= 2]
        classes = len(kept)
        noise = np.stack([np.sqrt(power[:, member == k].mean(axis=1)) for k in kept])
        before, member = np.searchsorted(kept, member), _nearest(power, noise)
        if np.array_equal(before, member):
            break
    used = np.unique(member)
    noise = np.stack([np.sqrt(power[:, member == k].mean(axis=1)) for k in used])
    return np.searchsorted(used, member), noise


def _nearest(power: Floats, noise: Floats) -> Indices:
    """The class of every frame by its σ² (channels, frames)."""
    misfit = np.log(noise).sum(axis=1)[:, None] + 0.5 / np.square(noise) @ power
    found: Indices = misfit.argmin(axis=0)
    return found


def _rounded(values: Floats) -> Floats:
    """Five digits, so that a file holds what was fitted exactly, and no more of it."""
    return np.array([[float(f"{value:.5g}") for value in row] for row in values])


# -- what stands at the beginning of a stream


def fit_to(profile: Profile, channels: int) -> None:
    """Raises PayloadError for a posterior of another number of channels than the profile's."""
    if profile.channels != channels:
        raise PayloadError(
            f"the fitted profile has {profile.channels} channels, the posterior {channels}; fit "
            "again with `rdbench fit-entropy`"
        )


@dataclass(frozen=True)
class Opening:
    """The profile in use, the class of every frame, and the ideal bits of sending both.

    One value for each channel and frame of what `Profile` has by class: `of`.
    """

    profile: Profile
    classes: Indices
    bits: float

    def of(self, table: Any) -> Any:
        """A table (classes, channels) as (channels, frames)."""
        return table[self.classes].T


def write_opening(encoder: Any, profile: Profile | None, clip: LatentClip) -> Opening:
    """Sends the profile where none is known, and the classes of the clip's frames."""
    import constriction

    if profile is None:
        codes = _codes(clip)
        known = _of_codes(codes)
        return Opening(
            known, np.zeros(clip.mean.shape[1], np.int64), _model().encode(encoder, codes)
        )
    fit_to(profile, len(clip.mean))
    classes = profile.classify(clip.scale, clip.mean.shape[1])
    bits = 0.0
    if len(profile.noise) > 1:
        table = _following(profile)[np.append(len(profile.noise), classes[:-1])]
        family = constriction.stream.model.Categorical(perfect=False)
        encoder.encode(classes.astype(np.int32), family, table)
        bits -= float(np.log2(table[np.arange(len(classes)), classes]).sum())
    return Opening(profile, classes, bits)


def read_opening(decoder: Any, profile: Profile | None, frames: int, channels: int) -> Opening:
    """What `write_opening` sent."""
    import constriction

    if profile is None:
        codes = _model().decode(decoder, channels)
        return Opening(_of_codes(codes), np.zeros(frames, np.int64), 0.0)
    count = len(profile.noise)
    classes = np.zeros(frames, np.int64)
    if count > 1:
        family, table = constriction.stream.model.Categorical(perfect=False), _following(profile)
        before = count
        for frame in range(frames):
            before = classes[frame] = int(decoder.decode(family, table[before : before + 1])[0])
    return Opening(profile, classes, 0.0)


def opening_header(name: str, digest: str, clip: LatentClip) -> dict[str, Any]:
    """The header of a stream that begins with an opening."""
    channels, frames = clip.mean.shape
    shape = {"frames": frames, "channels": channels}
    return {"model": name, "tables": digest, "seed": clip.seed, **shape}


def read_header(
    header: Mapping[str, Any], digest: str, profile: Profile | None
) -> tuple[int, int, int]:
    """Frames, channels and seed of such a header; raises StreamError for one that cannot be."""
    require_tables(header, digest)
    frames, channels = header_count(header, "frames"), header_count(header, "channels")
    if profile is not None and channels != profile.channels:
        raise StreamError(f"the stream has {channels} channels, its tables {profile.channels}")
    return frames, channels, header_count(header, "seed", least=0)


def _following(profile: Profile) -> Any:
    """Probabilities of the next class by the one before, float32 (classes + 1, classes); the last
    row is that of the first frame.
    """
    rows = np.vstack([profile.weights, profile.weights.sum(axis=0)]).astype(np.float64)
    return (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)


def _codes(clip: LatentClip) -> Any:
    """Noise (quarters of an octave), spread over noise (the same; 0: not coded) and centre (in
    noises) of every channel, int32 (3, channels).
    """
    centre, spread = clip.mean.mean(axis=1), clip.mean.std(axis=1)
    noise = clip.noise
    if noise is None:
        noise = RELATIVE_NOISE * spread
    reach = np.abs(clip.mean - centre[:, None]).max(axis=1)
    least = np.maximum(np.maximum(reach, np.abs(centre)) / _FAR, spread / _LARGEST_RATIO)
    noises = step_codes(noise, least)
    steps = np.array([sent_step(code) for code in noises])
    with np.errstate(divide="ignore"):
        ratios = np.rint(4.0 * np.log2(spread / steps)) + _LEAST_RATIO_CODE
    ratios = np.clip(ratios, 0, _SENT_SIZES[1] - 1)
    centres = np.rint(centre / steps) + _SENT_SIZES[2] // 2
    return np.stack([noises, ratios, centres]).astype(np.int32)


def _of_codes(codes: Any) -> Profile:
    noises, ratios, centres = codes.astype(np.int64)
    noise = np.array([sent_step(code) for code in noises])
    spread = np.where(ratios > 0, noise * 2.0 ** ((ratios - _LEAST_RATIO_CODE) / 4.0), 0.0)
    centre = noise * (centres - _SENT_SIZES[2] // 2)
    return Profile(np.ones((1, 1), np.int64), centre[None], spread[None], noise[None])


def _model() -> Any:
    from rdbench.rate.adaptive import ORDER0, AdaptiveModel

    return AdaptiveModel(_SENT_SIZES, ORDER0)
