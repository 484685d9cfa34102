"""A codec that is used by hand computes in float32, whatever its program allows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rdbench.codecs.base import Codec
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.tokens import TokenCodec


def allowed() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))


class Listening(TokenCodec):
    """One token for each sample; keeps what torch allowed at each call."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, bool]] = []
        super().__init__(
            name="listening", sample_rate=8000, frame_rate=8000, codebook_sizes=(3,), modules=Net()
        )

    def codes(self, audio: torch.Tensor) -> torch.Tensor:
        self.seen.append(allowed())
        return audio.sign().int() + 1

    def decode_codes(self, codes: torch.Tensor) -> torch.Tensor:
        self.seen.append(allowed())
        return codes - 1.0


class Latent(PosteriorCodec):
    """The samples themselves; keeps what torch allowed at each call."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, bool]] = []
        super().__init__(name="latent", sample_rate=8000, frame_rate=8000, modules=Net())

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen.append(allowed())
        return audio, torch.full_like(audio, 0.1)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        self.seen.append(allowed())
        return z


@pytest.fixture
def tf32() -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = allowed()
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize("build", [Listening, Latent])
def test_tf32_is_off_while_a_model_runs_and_allowed_again_behind_it(build: type[Codec]) -> None:
    codec = build()
    codec.roundtrip(np.zeros(80, np.float32), 8000)
    assert codec.seen == [(False, False)] * 2  # type: ignore[attr-defined]
    assert allowed() == (True, True)
