"""Decode paths of one clip side by side: mean, sample, noise, what was projected or predicted, and
what knows nothing of the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rdbench.codecs.variants import is_predicted, variant
from rdbench.latent.listening.checkpoint import sound
from rdbench.latent.listening.heard import Group, Sound
from rdbench.latent.sounds import log_mel, log_mel_distance
from rdbench.types import CodecError, RdbenchError

if TYPE_CHECKING:
    from rdbench.latent.listening.checkpoint import Checkpoint, HeardClip
    from rdbench.types import Variant

KINDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("mean",), ("mean",)),
    (("sample",), ("sample",)),
    (("noise",), ("noise_2", "latent_noise_0.5")),
    (("predicted", "projected predicted", "projected sample"), ("sample_clamp",)),
    (("prior", "rolled sample", "collapsed sample"), ("collapse_all",)),
)
"""For each path the sources of variants (`rdbench.types.Variant`) that it may be, the more telling
first, and the names of those that stand for it where the spec has none.
"""


def paths_of(checkpoint: Checkpoint) -> list[Variant]:
    """One variant for each path: the first that the spec names, or else the usual one."""
    found = []
    for sources, usual in KINDS:
        named = [
            one
            for source in sources
            for one in checkpoint.variants
            if one.source == source and one.name != "calibrated_noise"
        ]
        others = (variant(name) for name in usual)
        able = [one for one in (*named, *others) if checkpoint.codec.can_decode(one)]
        found += able[:1]
    return found


def unfitted(checkpoint: Checkpoint, variants: Sequence[Variant]) -> list[Variant]:
    """Those that need what was not fitted to the latent on other clips."""
    found = []
    for one in variants:
        try:
            checkpoint.codec.latent_moments(one)
            checkpoint.codec.latent_coder(one)
        except CodecError:
            found.append(one)
    return found


class Decoded(NamedTuple):
    """A group, where there is any sound; a sentence on each variant that is not there, because
    something must be added (lacking), or because the decoder failed.
    """

    group: Group | None
    lacking: list[str]
    failures: list[str]


def decode_paths(checkpoint: Checkpoint, clip: HeardClip, variants: Sequence[Variant]) -> Decoded:
    """The clip under each variant; the log-mel distance is to the clip."""
    mel = log_mel(clip.samples, checkpoint.sample_rate)
    sounds: list[Sound] = []
    lacking: list[str] = []
    failures: list[str] = []
    for one in variants:
        try:
            if is_predicted(one) and clip.given is None:
                raise CodecError(
                    f"there is no predicted latent of {clip.name}; name a folder of a generator's "
                    "under `predicted` in the spec"
                )
            latent = checkpoint.latent(clip, one)
        except RdbenchError as error:
            lacking.append(f"{checkpoint.system} under {one.name}: {error}")
            continue
        try:
            (made,) = checkpoint.decode([latent], clip.audio.shape[-1], clip.encoded.channels)
        except RdbenchError as error:
            failures.append(f"{clip.name} under {one.name}: {error}")
            continue
        distance = log_mel_distance(log_mel(made, checkpoint.sample_rate), mel)
        sounds.append(sound(one.name, made, latent, {"to_reference": distance}))
    group = checkpoint.group("paths", clip.name, clip.samples, sounds) if sounds else None
    return Decoded(group, lacking, failures)
