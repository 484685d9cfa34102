"""A codec that is used by hand computes in float32, whatever its program allows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rdbench.codecs.base import Codec
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.precision import full_precision
from rdbench.codecs.tokens import TokenCodec


def tf32_of_products() -> object:
    matmul = torch.backends.cuda.matmul
    return getattr(matmul, "fp32_precision", None) or matmul.allow_tf32


def tf32_of_convolutions() -> object:
    cudnn = torch.backends.cudnn
    return cudnn.conv.fp32_precision if hasattr(cudnn, "conv") else cudnn.allow_tf32


def allowed() -> tuple[bool, bool]:
    return tf32_of_products() in (True, "tf32"), tf32_of_convolutions() in (True, "tf32")


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
        with torch.backends.cudnn.flags(enabled=False):  # which reads the older names
            pass
        return audio, torch.full_like(audio, 0.1)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        self.seen.append(allowed())
        return z


@pytest.fixture
def tf32() -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize("build", [Listening, Latent])
def test_tf32_is_off_while_a_model_runs_and_allowed_again_behind_it(build: type[Codec]) -> None:
    codec = build()
    codec.roundtrip(np.zeros(80, np.float32), 8000)
    assert codec.seen == [(False, False)] * 2
    assert allowed() == (True, True)


def test_what_torch_has_by_default_is_put_back() -> None:
    def settings() -> tuple[object, ...]:
        cudnn = torch.backends.cudnn
        return torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark

    before = settings()
    with pytest.raises(ValueError, match="on the way"), full_precision():
        raise ValueError("on the way")
    assert settings() == before


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch 2.9 and newer")
def test_a_program_may_use_the_newer_names() -> None:
    """Torch refuses to read a setting by its older name where a newer one contradicts it."""
    program = """
import torch
from rdbench.codecs.precision import full_precision
from rdbench.engine.environment import torch_settings
backends = torch.backends
for place, own in (
    (backends, "tf32"), (backends.cuda.matmul, "tf32"), (backends.cudnn.conv, "ieee")
):
    before, place.fp32_precision = place.fp32_precision, own
    with full_precision():
        assert backends.cudnn.conv.fp32_precision == backends.cuda.matmul.fp32_precision == "ieee"
        with torch_settings(1):
            pass
    assert place.fp32_precision == own
    place.fp32_precision = before
"""
    subprocess.run([sys.executable, "-c", program], check=True)
