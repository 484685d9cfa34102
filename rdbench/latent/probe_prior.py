"""The probe as a prior: bits that a latent costs against what a flow-matching generator learnt.

    R(p) = E[ln q(z|x) − ln p(z)],    z ~ q

p is the density of the probe's unconditional task (`rdbench.models.probe.likelihood`), by the
sampler's solver. E ln q is closed, ln p is the mean over `DRAWS` samples of q, each with signs of
its own for the trace. Channels that the probe does not generate, the dead ones, cost their KL to
N(m_c, s_c²), as it draws them.

Were ln p exact, the bits would be an upper bound of what a generator of this kind must model (one
that is trained longer may need fewer). It is one up to the noise of draws and traces, which the
intervals over clips hold, and up to the error of the solver, which they do not.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rdbench.models.probe.flow import STEPS
from rdbench.rate.validate import PayloadError, check_posterior

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from rdbench.models.probe.checkpoint import TrainedProbe
    from rdbench.types import Posterior

    Floats = NDArray[np.float64]

VERSION = 1
"""Raised when the bits change."""
TITLE = "flow-matching probe"
DRAWS = 4
"""Samples of q, each with traces of its own."""


@dataclass(frozen=True, eq=False)
class ProbePrior:
    """A trained probe as a prior of the latents of its checkpoint.

    seed: of the protocol, in `digest`. Raises PayloadError for a probe of means: they have no
    density that a sample could be held against.
    """

    trained: TrainedProbe
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trained.model.config.target != "sample":
            raise PayloadError(
                "the probe generates means of the latent, which have no bits; train one whose "
                "target is `sample`"
            )

    @property
    def label(self) -> str:
        """What rows call it: with the first digits of the hash of what it was trained on, so that
        a probe that was trained anew on the same clips is held against the one before.
        """
        clips = "\n".join(sorted(self.trained.fitted_on))
        return f"{TITLE}, fit {hashlib.sha256(clips.encode()).hexdigest()[:8]}"

    @cached_property
    def digest(self) -> str:
        """Names what the bits depend on beside the clip."""
        parts = (VERSION, self.trained.sha256, STEPS, DRAWS, self.seed)
        return hashlib.sha256(f"{parts}".encode()).hexdigest()

    def drawn(self, seeds: Sequence[int]) -> DrawnPrior:
        """The prior for clips with these seeds, in their order."""
        return DrawnPrior(self, tuple(seeds))

    def kl_draws(self, posterior: Posterior, item: int, seed: int) -> Floats:
        """Bits of one clip by draw and frame, (draws, frames); the mean over draws is the estimate.

        Draws are independent: their spread is all of the noise. Raises PayloadError for another
        channel count, and where the probe has no finite density.
        """
        import torch

        from rdbench.models.probe.likelihood import log_density
        from rdbench.models.probe.tasks import unconditioned

        assert posterior.scale is not None
        config = self.trained.model.config
        if posterior.mean.shape[1] != config.channels:
            raise PayloadError(
                f"the probe generates {config.channels} channels, the posterior has "
                f"{posterior.mean.shape[1]}; train a probe on this checkpoint"
            )
        frames = int(posterior.frames[item])
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode(mode=False), torch.no_grad():
            model = self.trained.model.to(posterior.mean.device)
            mean, scale = (
                values[item, :, :frames].T.clone().float()
                for values in (posterior.mean, posterior.scale)
            )
            noise = torch.randn(DRAWS, *mean.shape, generator=generator).to(mean)
            z = model.standardised(mean + scale * noise)
            nats = -log_density(
                lambda x, t: model(x, t, unconditioned(x)), z, generator=generator
            ).cpu()
            nats = nats + _closed(model, mean, scale).cpu()
        if not bool(torch.isfinite(nats).all()):
            raise PayloadError("the probe has no finite density here; train it again")
        return np.asarray(nats.numpy() / math.log(2.0), np.float64)


@dataclass(frozen=True)
class DrawnPrior:
    """A `ProbePrior` that knows the seeds of the clips it is asked about."""

    prior: ProbePrior
    seeds: tuple[int, ...]

    def kl_bits(self, posterior: Posterior, names: Sequence[str] | None = None) -> list[Floats]:
        """R(p) of each clip in bits, (frames,) each; raises CodecError as `kl.kl_bits` does."""
        check_posterior(posterior, names)
        return [
            self.prior.kl_draws(posterior, item, seed).mean(axis=0)
            for item, seed in enumerate(self.seeds)
        ]


def _closed(model: torch.nn.Module, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """What is known without a draw, nats (frames,): E ln q of live channels with the scale that
    they were standardised by, and the KL of the others to N(m_c, s_c²).
    """
    import torch

    from rdbench.models.probe.transformer import Probe

    assert isinstance(model, Probe)
    centre, spread = model.latent_mean.double(), model.latent_scale.double()
    mu, sigma = (mean.double() - centre) / spread, scale.double() / spread
    live = torch.zeros(len(centre), dtype=torch.bool, device=mean.device)
    live[list(model.config.live)] = True
    negentropy = -0.5 * math.log(2.0 * math.pi * math.e) - sigma.log()
    divergence = 0.5 * (mu.square() + sigma.square() - 1.0) - sigma.log()
    return torch.where(live, negentropy, divergence).sum(dim=-1)
