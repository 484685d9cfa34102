"""Paths from one clip to another, decoded: does the decoder make sense of what lies between?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rdbench.latent.interpolation import STEPS, TIMES, lerp, slerp
from rdbench.latent.listening.checkpoint import sound
from rdbench.latent.sounds import log_mel, log_mel_distance, roughness

if TYPE_CHECKING:
    import torch

    from rdbench.latent.listening.checkpoint import Checkpoint, HeardClip
    from rdbench.latent.listening.heard import Group

    Path = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]

KINDS: dict[str, Path] = {"lerp": lerp, "slerp": slerp}


def interpolation(checkpoint: Checkpoint, one: HeardClip, two: HeardClip, kind: str) -> Group:
    """A path of `STEPS` sounds from clip A to clip B, cut to the shorter of them.

    kind: of `KINDS`. The latents are samples of the posterior, as the decoder was trained on. The
    distances are to the decoded ends of the path.
    """
    ends = [checkpoint.sample(clip) for clip in (one, two)]
    frames = min(end.shape[-1] for end in ends)
    length = min(one.audio.shape[-1], two.audio.shape[-1])
    first, last = (end[:, :frames] for end in ends)
    latents = [KINDS[kind](first, last, t) for t in TIMES]
    made = checkpoint.decode(latents, length, one.encoded.channels)
    mels = [log_mel(samples, checkpoint.sample_rate) for samples in made]
    rough = roughness(mels)
    sounds = [
        sound(
            f"t = {t:.3f}", samples, latent,
            {
                "to_first": log_mel_distance(mel, mels[0]),
                "to_last": log_mel_distance(mel, mels[-1]),
                "roughness": rough,
            },
        )
        for t, samples, latent, mel in zip(TIMES, made, latents, mels, strict=True)
    ]  # fmt: skip
    shown = "even" if np.isnan(rough) else f"{rough:.3f}"
    return checkpoint.group(
        "interpolation", f"{kind}: {one.name} to {two.name}", one.samples[:, :length], sounds,
        f"{STEPS} steps from A ({one.name}, the reference) to B ({two.name}). Roughness of the "
        f"path: {shown} (0: straight and even; 1.5: independent sounds).",
    )  # fmt: skip
