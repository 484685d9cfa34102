"""The decoder's gain: of a linear decoder it is known, of a channel that is not used it is zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.posterior.gain import decoder_gain
from rdbench.rate.prior import Moments
from rdbench.types import Posterior

HOP = 64


class Weighted(PosteriorCodec):
    """Every channel is a noise-like basis function of a hop, with a weight of its own."""

    weights = torch.tensor([0.04, 0.02, 0.01, 0.0])

    def __init__(self) -> None:
        super().__init__(
            name="weighted", sample_rate=8000, frame_rate=8000 / HOP, modules=torch.nn.Linear(1, 1)
        )
        generator = torch.Generator().manual_seed(0)
        self.basis = torch.linalg.qr(torch.randn(HOP, HOP, generator=generator))[0][:4]

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        raise NotImplementedError

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        # Loud noise in all other dimensions, so that the compression is nearly the same everywhere.
        loud = torch.randn(z.shape[0], z.shape[2] * HOP, generator=torch.Generator().manual_seed(1))
        return (loud + ((z.transpose(1, 2) * self.weights) @ self.basis).flatten(1))[:, None]


def posterior(scale: float | None, frames: int = 300) -> Posterior:
    mean = torch.randn(3, 4, frames, generator=torch.Generator().manual_seed(2))
    sigma = None if scale is None else torch.full_like(mean, scale)
    return Posterior(mean, sigma, torch.tensor([frames, frames, 40]), 8000 / HOP)


@pytest.mark.parametrize("scale", [0.5, None])
def test_the_gain_is_the_square_of_the_weight(scale: float | None) -> None:
    test = posterior(scale)
    gain = decoder_gain(Weighted(), [test], Moments.of([test]))
    np.testing.assert_allclose(gain[:3] / gain[0], [1.0, 0.25, 0.0625], rtol=0.1)
    assert gain[3] == 0.0
    other = decoder_gain(Weighted(), [test], Moments.of([posterior(0.1)]))
    np.testing.assert_allclose(other[:3], gain[:3], rtol=0.1)  # whatever the size of the error


def test_clips_shorter_than_a_piece_are_used_where_there_are_no_others() -> None:
    short = posterior(0.5, frames=20)
    short.frames[:] = torch.tensor([20, 3, 12])
    gain = decoder_gain(Weighted(), [short], Moments.of([short]))
    assert (gain[:3] > 0).all()
