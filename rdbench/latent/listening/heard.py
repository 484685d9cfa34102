"""What there is to hear: sounds of one length side by side, each with its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]


class Number(NamedTuple):
    """A number beside a sound. title: of its column, with the unit. decimals: that are shown."""

    title: str
    decimals: int


NUMBERS = {
    "asked_db": Number("asked (dB)", 1),
    "level_change": Number("level change (dB)", 1),
    "asked_semitones": Number("asked (semitones)", 2),
    "f0_change": Number("F0 change (semitones)", 2),
    "f0": Number("F0 (Hz)", 0),
    "level": Number("level (dBFS)", 1),
    "norm": Number("‖z‖²/D", 3),
    "to_reference": Number("log-mel distance (dB)", 2),
    "to_first": Number("log-mel distance to A (dB)", 2),
    "to_last": Number("log-mel distance to B (dB)", 2),
    "long_term": Number("long-term log-mel distance (dB)", 2),
    "roughness": Number("roughness of the path", 3),
}
"""By key, in the order in which they stand."""

PARTS = {
    "prior": "Prior samples",
    "interpolation": "Interpolation",
    "arithmetic": "Latent arithmetic",
    "paths": "Decode paths",
}
"""What a group is a part of: key and title, in the order in which they stand."""


@dataclass(frozen=True)
class Sound:
    """One sound. samples: float32 (channels, time). numbers: by their keys in `NUMBERS`."""

    name: str
    samples: Samples
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Group:
    """Sounds to be compared: one player.

    part: a key of `PARTS`. reference: what they are heard against. sample_rate: of all, in hertz.
    note: sentences for who listens.
    """

    system: str
    part: str
    title: str
    sample_rate: int
    reference: Samples
    sounds: tuple[Sound, ...]
    note: str = ""


@dataclass
class Heard:
    """A page to listen to, as it is made.

    about: sentences on clips and protocol. groups: made while they are taken. lacking: what is not
    there, each a sentence that says what to add. failures: what could not be made, each a sentence;
    both are whole when the groups were taken.
    """

    title: str
    about: tuple[str, ...]
    groups: Iterator[Group]
    lacking: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
