"""What a probe is asked to generate, and how it does.

One probe does every task: the input says which. Frames that are visible and a condition that is
given are marked in it, so that no task needs a name of its own, and one training serves all.

- conditioned: on the coarse log-mel of the clip;
- infill: 0.5 s in every 2 s, from the frames around, without the log-mel;
- unconditional: from noise alone;
- renoise_T: as conditioned, but from x_T of the clip's own latent in place of noise, so that
  T = 0 is the conditioned task and T = 1 would be reconstruction.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from rdbench.models.probe.config import BANDS
from rdbench.models.probe.flow import heun, interpolate
from rdbench.models.probe.transformer import Given, Probe
from rdbench.suggest import nearest
from rdbench.types import SpecError

CONDITIONED = "conditioned"
INFILL = "infill"
UNCONDITIONAL = "unconditional"
RENOISE_TIMES = (0.95, 0.9, 0.8, 0.6, 0.4, 0.2, 0.0)
NAMES = (CONDITIONED, INFILL, *(f"renoise_{t:g}" for t in RENOISE_TIMES), UNCONDITIONAL)
"""The tasks that are reported."""
GAP_SECONDS = 0.5
STRETCH_SECONDS = 2.0
_RENOISE = "renoise_"


class Task(NamedTuple):
    """One task. conditioned: whether the log-mel is given. start: the time it starts from."""

    name: str
    conditioned: bool = False
    infill: bool = False
    start: float = 0.0


def task(name: str) -> Task:
    """The task called `name`; raises SpecError for one that there is not."""
    if name == CONDITIONED:
        return Task(name, conditioned=True)
    if name in (INFILL, UNCONDITIONAL):
        return Task(name, infill=name == INFILL)
    try:
        start = float(name.removeprefix(_RENOISE)) if name.startswith(_RENOISE) else -1.0
    except ValueError:
        start = -1.0
    if not 0.0 <= start < 1.0:
        raise SpecError(f"there is no task {name!r}; {nearest(name, NAMES, many='there are')}")
    return Task(name, conditioned=True, start=start)


def gaps(frames: int, frame_rate: float) -> torch.Tensor:
    """Which frames of a clip are to be filled in, bool (frames,): the middle of every stretch."""
    stretch = min(frames, round(STRETCH_SECONDS * frame_rate))
    gap = max(1, min(stretch // 2, round(GAP_SECONDS * frame_rate)))
    place = torch.arange(frames) % stretch - (stretch - gap) // 2
    whole = torch.arange(frames) < frames // stretch * stretch
    return (place >= 0) & (place < gap) & whole


def given_for(
    z: torch.Tensor,
    condition: torch.Tensor,
    *,
    visible: torch.Tensor,
    conditioned: torch.Tensor,
    valid: torch.Tensor | None = None,
) -> Given:
    """What a probe is told of latents z (clips, frames, live) and log-mels (clips, frames, bands).

    visible: bool (clips, frames). conditioned: bool (clips,). z and condition are standardised.
    """
    shown = visible[..., None].to(z.dtype)
    told = conditioned[:, None, None].to(z.dtype).expand(*z.shape[:2], 1)
    return Given(z * shown, shown, condition * told, told, valid)


def unconditioned(x: torch.Tensor) -> Given:
    """What the unconditional task tells a probe beside x (clips, frames, live): nothing."""
    shape = x.shape[:2]
    nothing = x.new_zeros(*shape, 1)
    return Given(torch.zeros_like(x), nothing, x.new_zeros(*shape, BANDS), nothing)


@torch.no_grad()
def generate(
    probe: Probe,
    wanted: Task,
    latent: torch.Tensor,
    condition: torch.Tensor,
    *,
    generator: torch.Generator,
) -> torch.Tensor:
    """A latent (channels, frames) that the probe makes of one clip; float32.

    latent: the clip's own (channels, frames), of which a task sees what it may. condition: its
    coarse log-mel (frames, bands). generator: on the CPU; it gives every task the same noise.
    """
    config = probe.config
    device = probe.latent_mean.device
    frames = latent.shape[1]
    noise = torch.randn(config.channels, frames, generator=generator).T.to(device)
    z = probe.standardised(latent.T.float().to(device))[None]
    told = (condition.to(device) - probe.condition_mean) / probe.condition_scale
    visible = ~gaps(frames, config.frame_rate) if wanted.infill else torch.zeros(frames).bool()
    visible = visible[None].to(device)
    given = given_for(
        z,
        told[None],
        visible=visible,
        conditioned=torch.tensor([wanted.conditioned], device=device),
    )
    start = noise[None, :, list(config.live)]
    if wanted.start > 0.0:
        start = interpolate(z, start, z.new_full((1,), wanted.start))
    made = heun(lambda x, t: probe(x, t, given), start, start=wanted.start)
    made = torch.where(visible[..., None], z, made)[0]
    rest = noise if config.target == "sample" else torch.zeros_like(noise)
    return probe.restored(made, rest).T.contiguous().cpu()
