"""Samples of the priors of the ladder, decoded: what each rung knows, to be heard.

One draw is one noise ε ~ N(0, I), coloured by every prior (`rdbench.rate.draws`), and the start of
the probe's generation where there is a probe. N(0, I) is left out of a latent that was trained
without a prior. So the sounds of a draw differ by what is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rdbench.latent.listening.checkpoint import sound
from rdbench.latent.sounds import log_mel, long_term_distance
from rdbench.rate.draws import coloured

if TYPE_CHECKING:
    import torch

    from rdbench.latent.listening.checkpoint import Checkpoint, HeardClip
    from rdbench.latent.listening.heard import Group
    from rdbench.models.probe.checkpoint import TrainedProbe

STANDARD = "N(0, I)"
PROBE = "probe"


def prior_samples(
    checkpoint: Checkpoint,
    clips: Sequence[HeardClip],
    *,
    seconds: float,
    seed: int,
    title: str,
    probe: TrainedProbe | None = None,
) -> Group:
    """One draw under every prior that there is, beside the beginning of the first clip.

    seconds: of the draw. seed: of ε. The long-term distance is to all `clips`. There must be a
    trained prior, or a probe. Raises PayloadError for a prior of another latent.
    """
    channels = checkpoint.mean(clips[0].encoded).shape[0]
    frame_rate = checkpoint.codec.info.frame_rate
    assert frame_rate is not None
    frames = max(1, round(seconds * frame_rate))
    length = max(1, round(frames / frame_rate * checkpoint.sample_rate))
    drawn = dict(_draws(checkpoint, (channels, frames), seed, probe))
    made = checkpoint.decode(list(drawn.values()), length, clips[0].encoded.channels)
    usual = np.concatenate([log_mel(clip.samples, checkpoint.sample_rate) for clip in clips])
    sounds = [
        sound(
            name, samples, latent,
            {"long_term": long_term_distance(log_mel(samples, checkpoint.sample_rate), usual)},
        )
        for (name, latent), samples in zip(drawn.items(), made, strict=True)
    ]  # fmt: skip
    first = clips[0].samples[:, :length]
    reference = np.pad(first, ((0, 0), (0, length - first.shape[1])))
    return checkpoint.group(
        "prior", title, reference, sounds,
        f"No encoder made these latents. The reference is the beginning of {clips[0].name}; "
        "the long-term distance is to the clips of this page.",
    )  # fmt: skip


def _draws(
    checkpoint: Checkpoint, shape: tuple[int, int], seed: int, probe: TrainedProbe | None
) -> Iterator[tuple[str, torch.Tensor]]:
    """Latents (channels, frames) by what tables call the prior."""
    import torch

    noise = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    white = noise.double().numpy()
    if checkpoint.codec.info.headline is not None:
        yield STANDARD, noise
    entry = checkpoint.entry
    if entry is not None:
        named = (("diagonal", entry.prior), ("full", entry.full), ("AR(4)", entry.linear))
        for name, prior in named:
            if prior is not None:
                yield name, torch.from_numpy(coloured(prior, white)).float()
    if probe is not None:
        yield PROBE, _generated(probe, shape, seed)


def _generated(probe: TrainedProbe, shape: tuple[int, int], seed: int) -> torch.Tensor:
    """What the probe makes of the same ε, knowing of no clip."""
    import torch

    from rdbench.models.probe.config import BANDS
    from rdbench.models.probe.tasks import UNCONDITIONAL, generate, task

    return generate(
        probe.model, task(UNCONDITIONAL), torch.zeros(shape), torch.zeros(shape[1], BANDS),
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
