"""Rates: closed forms, published values, and independence of padding."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdbench.rate import rates
from rdbench.rate.kl import kl_bits
from rdbench.types import (
    CodecError,
    Encoded,
    Packets,
    PacketStream,
    Posterior,
    RateKind,
    SideInformation,
    Status,
    Tokens,
    TokenStream,
    Waveform,
)


def tokens(frames: list[int], sizes: tuple[int, ...], frame_rate: float) -> Tokens:
    codes = torch.zeros(len(frames), len(sizes), max(frames), dtype=torch.int64)
    return Tokens((TokenStream(codes, torch.tensor(frames), sizes, frame_rate),))


@pytest.mark.parametrize(
    ("frames_per_second", "codebooks", "size", "kbps"),
    [(75, 8, 1024, 6.0), (75, 32, 1024, 24.0), (50, 12, 1024, 6.0), (50, 46, 16, 9.2)],
)
def test_nominal_rate_is_the_published_one(
    frames_per_second: int, codebooks: int, size: int, kbps: float
) -> None:
    payload = tokens([2 * frames_per_second], (size,) * codebooks, frames_per_second)
    encoded = Encoded(payload, torch.tensor([48000]), 24000, 1)
    assert rates(encoded)[RateKind.NOMINAL][0].kbps == pytest.approx(kbps, rel=1e-12)


def test_side_information_is_counted_and_padding_is_not() -> None:
    payload = tokens([150, 75], (1024, 1024), 75.0)
    side = {"scale": SideInformation(torch.zeros(2, 3), torch.tensor([96, 32]))}
    encoded = Encoded(payload, torch.tensor([48000, 24000]), 24000, 1, side)
    first, second = rates(encoded)[RateKind.NOMINAL]
    assert first.bits == 150 * 20 + 96
    assert second.bits == 75 * 20 + 32
    assert second.seconds == 1.0


def test_packets_have_payload_and_container_apart() -> None:
    stream = PacketStream((b"abc", b"de"), b"header", 105)
    encoded = Encoded(Packets((stream,)), torch.tensor([16000]), 16000, 1)
    measured = rates(encoded)
    assert measured[RateKind.PAYLOAD][0].bits == 40
    assert measured[RateKind.CONTAINER][0].bits == 840


def test_an_anchor_has_no_rate() -> None:
    assert rates(Encoded(Waveform(torch.zeros(1, 1, 8)), torch.tensor([8]), 8000, 1)) == {}


@given(st.lists(st.tuples(st.floats(-30, 30), st.floats(1e-6, 1e3)), min_size=1, max_size=12))
def test_kl_is_the_closed_form(pairs: list[tuple[float, float]]) -> None:
    mean = torch.tensor([[[m for m, _ in pairs]]], dtype=torch.float64)
    scale = torch.tensor([[[s for _, s in pairs]]], dtype=torch.float64)
    posterior = Posterior(mean, scale, torch.tensor([len(pairs)]), 50.0)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, scale), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(kl_bits(posterior), expected / math.log(2), rtol=1e-9, atol=1e-9)
    assert (kl_bits(posterior) >= 0).all()


def test_kl_rate_is_that_of_the_published_table() -> None:
    # Seetharaman & Kumar 2026: 341.26 nats per frame at 40 Hz are 19.69 kbps.
    mean = torch.full((1, 1, 40), math.sqrt(2 * 341.26), dtype=torch.float64)
    posterior = Posterior(mean, torch.ones_like(mean), torch.tensor([40]), 40.0)
    encoded = Encoded(posterior, torch.tensor([48000]), 48000, 1)
    assert rates(encoded)[RateKind.KL][0].kbps == pytest.approx(19.69, abs=0.005)


def test_kl_does_not_depend_on_padding_frames() -> None:
    mean, scale = torch.randn(2, 4, 9), torch.rand(2, 4, 9) + 0.1
    full = kl_bits(Posterior(mean, scale, torch.tensor([9, 5]), 50.0))
    mean[1, :, 5:], scale[1, :, 5:] = float("nan"), -1.0
    again = kl_bits(Posterior(mean, scale, torch.tensor([9, 5]), 50.0))
    torch.testing.assert_close(full, again)
    assert (again[1, :, 5:] == 0).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_an_impossible_scale_names_the_clip(scale: float) -> None:
    scales = torch.ones(2, 1, 3)
    scales[1, 0, 2] = scale
    posterior = Posterior(torch.zeros(2, 1, 3), scales, torch.tensor([3, 3]), 50.0)
    with pytest.raises(CodecError, match=r"clip 1 .*scale"):
        kl_bits(posterior)


def test_a_latent_without_scale_has_an_undefined_kl_with_a_reason() -> None:
    posterior = Posterior(torch.zeros(1, 2, 3), None, torch.tensor([3]), 50.0)
    rate = rates(Encoded(posterior, torch.tensor([960]), 16000, 1))[RateKind.KL][0]
    assert rate.status is Status.UNDEFINED
    assert math.isnan(rate.bits)
    assert "no trained posterior scale" in rate.reason
