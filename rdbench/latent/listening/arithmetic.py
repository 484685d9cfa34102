"""Latent arithmetic: is there a direction for loudness, and one for pitch?

    level   d = E_t[μ(x) − μ(g x)] of one clip, g = −12 dB
    F0      d = E_t[μ(x′)] − E_t[μ(x)] of one clip, x′ being x played 6/5 times as fast
            (resampled by 5/6): its F0 is 3.16 semitones higher to the digit, and so are its
            formants and its tempo

with means over the frames. A multiple a of d is added to every frame of the mean of another clip,
and the change that is measured in what is decoded stands beside a times the change of the pair. For
level there is a control: in the clip itself, μ(x) + a (μ(x) − μ(g x)) frame by frame. A linear
codec does exactly what is asked there at a = −1, and has no direction that holds for other clips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdbench.audio.resample import resample
from rdbench.latent import pitch
from rdbench.latent.listening.checkpoint import sound
from rdbench.latent.sounds import level_dbfs, log_mel, log_mel_distance

if TYPE_CHECKING:
    import torch

    from rdbench.latent.listening.checkpoint import Checkpoint, HeardClip, Samples
    from rdbench.latent.listening.heard import Group
    from rdbench.types import Encoded

LEVEL_DB = 12.0
FASTER = (6, 5)
SEMITONES = 12.0 * math.log2(FASTER[0] / FASTER[1])
MULTIPLES = (-1.0, -0.5, 0.0, 0.5, 1.0)


def level_of_another(checkpoint: Checkpoint, source: HeardClip, target: HeardClip) -> Group:
    """The level direction of one clip, added to another."""
    direction = _louder(checkpoint, source).mean(dim=1, keepdim=True)
    return _levels(
        checkpoint, target, direction, f"level of {source.name} added to {target.name}",
        f"Direction: the mean over frames of the latent of {source.name}, less that of the same "
        f"clip {LEVEL_DB:g} dB below.",
    )  # fmt: skip


def level_of_itself(checkpoint: Checkpoint, clip: HeardClip) -> Group:
    """The control: the difference of the two latents of one clip, added to it frame by frame."""
    return _levels(
        checkpoint, clip, _louder(checkpoint, clip), f"level of {clip.name} in itself",
        f"A control: the latent of the clip, less that of the clip {LEVEL_DB:g} dB below, added to "
        "it frame by frame.",
    )  # fmt: skip


def pitch_of_another(checkpoint: Checkpoint, source: HeardClip, target: HeardClip) -> Group:
    """The F0 direction of one clip, added to another.

    Where a sound has no voice, or the target none, F0 and its change are NaN.
    """
    faster, slower = FASTER
    higher = checkpoint.encode(resample(source.audio, faster, slower), source.name)
    means = [
        checkpoint.mean(encoded).mean(dim=1, keepdim=True) for encoded in (higher, source.encoded)
    ]
    latents, made = _moved(checkpoint, target, means[0] - means[1])
    pair = _decoded_f0(checkpoint, higher) / _decoded_f0(checkpoint, source.encoded)
    tracks = [pitch.track(samples, checkpoint.sample_rate) for samples in made]
    still = tracks[MULTIPLES.index(0.0)]
    numbers = [
        {
            "asked_semitones": multiple * SEMITONES,
            "f0_change": pitch.change(still, found),
            "f0": pitch.middle(found),
        }
        for multiple, found in zip(MULTIPLES, tracks, strict=True)
    ]
    return _group(
        checkpoint, target, (latents, made), numbers,
        title=f"F0 of {source.name} added to {target.name}",
        note=f"Direction: the mean over frames of the latent of {source.name} played "
        f"{faster}/{slower} times as fast, less that of the clip as it is{_apart(pair)}.",
    )  # fmt: skip


def _decoded_f0(checkpoint: Checkpoint, encoded: Encoded) -> float:
    """The median F0 in hertz of what is decoded of the mean, NaN without a voice."""
    mean = checkpoint.mean(encoded)
    (made,) = checkpoint.decode([mean], int(encoded.lengths[0]), encoded.channels)
    return pitch.middle(pitch.track(made, checkpoint.sample_rate))


def _apart(ratio: float) -> str:
    return "" if math.isnan(ratio) else f" (decoded, {12 * math.log2(ratio):.2f} semitones apart)"


def _louder(checkpoint: Checkpoint, clip: HeardClip) -> torch.Tensor:
    """What `LEVEL_DB` more make of the mean latent, (channels, frames)."""
    low = checkpoint.encode(clip.audio * 10.0 ** (-LEVEL_DB / 20.0), clip.name)
    return checkpoint.mean(clip.encoded) - checkpoint.mean(low)


def _levels(
    checkpoint: Checkpoint, target: HeardClip, direction: torch.Tensor, title: str, note: str
) -> Group:
    latents, made = _moved(checkpoint, target, direction)
    still = level_dbfs(made[MULTIPLES.index(0.0)])
    numbers = [
        {"asked_db": multiple * LEVEL_DB, "level_change": level_dbfs(samples) - still}
        for multiple, samples in zip(MULTIPLES, made, strict=True)
    ]
    return _group(checkpoint, target, (latents, made), numbers, title=title, note=note)


def _moved(
    checkpoint: Checkpoint, target: HeardClip, direction: torch.Tensor
) -> tuple[list[torch.Tensor], list[Samples]]:
    """The target's mean latent with every multiple of a direction, and what is decoded."""
    mean = checkpoint.mean(target.encoded)
    latents = [mean + multiple * direction for multiple in MULTIPLES]
    length, channels = target.audio.shape[-1], target.encoded.channels
    return latents, checkpoint.decode(latents, length, channels)


def _group(
    checkpoint: Checkpoint,
    target: HeardClip,
    moved: tuple[list[torch.Tensor], list[Samples]],
    numbers: Sequence[dict[str, float]],
    *,
    title: str,
    note: str,
) -> Group:
    latents, made = moved
    mels = [log_mel(samples, checkpoint.sample_rate) for samples in made]
    still = mels[MULTIPLES.index(0.0)]
    sounds = [
        sound(
            f"{multiple:+g}" if multiple else "0", samples, latent,
            {**found, "to_reference": log_mel_distance(mel, still)},
        )
        for multiple, samples, latent, mel, found in zip(
            MULTIPLES, made, latents, mels, numbers, strict=True
        )
    ]  # fmt: skip
    return checkpoint.group(
        "arithmetic", title, target.samples, sounds,
        f"{note} Names are multiples of it; distances and changes are to the multiple 0.",
    )  # fmt: skip
