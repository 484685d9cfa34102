"""Coded posteriors: what is decoded comes from the stream alone, at a length near the ideal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from posteriors import SCALES, near_ideal, posterior

from rdbench.rate.coded import Channel, FittedCoder, LatentCoder, SentCoder
from rdbench.rate.kl import kl_bits
from rdbench.rate.prior import Moments
from rdbench.rate.stream import Stream, StreamError
from rdbench.rate.validate import PayloadError
from rdbench.types import Posterior


@pytest.fixture(scope="module")
def fitted() -> FittedCoder:
    return FittedCoder.fit([posterior(1, clips=6)])


def test_the_error_of_fine_steps_has_the_variance_of_the_noise(fitted: FittedCoder) -> None:
    test = posterior(2)
    for index, coded in enumerate(fitted.code(test)):
        error = np.square(coded.values - test.mean[index].numpy()).mean(axis=1)
        np.testing.assert_allclose(error[:3], np.square(SCALES[:3]), rtol=0.1)
        assert near_ideal(coded.bits, coded.ideal_bits)


def test_the_error_of_coarse_steps_falls_below_the_noise_and_depends_on_the_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    scale = 0.85
    mean = (1 - scale**2) ** 0.5 * torch.randn(1, 1, 20_000, generator=generator)
    test = Posterior(mean, torch.full_like(mean, scale), torch.tensor([20_000]), 50.0)
    (coded,) = FittedCoder.fit([test]).code(test)
    error, source = coded.values[0] - mean[0, 0].numpy(), mean[0, 0].numpy()
    assert np.square(error).mean() < 0.4 * scale**2
    assert np.corrcoef(error, source)[0, 1] < -0.9


def test_dead_channels_cost_nothing_and_are_decoded_as_their_mean(fitted: FittedCoder) -> None:
    assert fitted.dead == 1
    assert not isinstance(fitted.channels[3], Channel)
    with_dead = fitted.code(posterior(2))[0]
    np.testing.assert_allclose(with_dead.values[3], 0.2, atol=0.01)
    live = FittedCoder(fitted.channels[:3])
    test = posterior(2)
    alone = live.code(Posterior(test.mean[:, :3], test.scale[:, :3], test.frames, 50.0))[0]
    assert with_dead.bits == alone.bits


def test_the_bits_lie_above_the_kl_and_near_it_for_live_channels(fitted: FittedCoder) -> None:
    test = posterior(3)
    kl = kl_bits(test)[:, :3].sum(dim=(1, 2))
    for index, coded in enumerate(fitted.code(test)):
        assert 1.0 < coded.bits / float(kl[index]) < 1.25


@pytest.mark.parametrize("scale", [True, False])
def test_a_stream_is_decoded_by_one_who_has_only_the_file(fitted: FittedCoder, scale: bool) -> None:
    coder = fitted if scale else FittedCoder.fit([posterior(1, clips=6, scale=False)])
    for sender in (coder, SentCoder()):
        receiver: LatentCoder = SentCoder()
        if isinstance(sender, FittedCoder):
            receiver = FittedCoder.from_json(sender.as_json())
        for coded in sender.code(posterior(4, scale=scale)):
            values = receiver.decode(Stream.from_bytes(coded.stream.to_bytes()))
            np.testing.assert_array_equal(values, coded.values)
            assert near_ideal(coded.bits, coded.ideal_bits)


def test_a_latent_without_scale_is_coded_twenty_decibels_below_its_spread() -> None:
    test = posterior(5, scale=False)
    coder = FittedCoder.fit([posterior(1, clips=6, scale=False)])
    for sender in (coder, SentCoder()):
        coded = sender.code(test)[0]
        error = np.square(coded.values - test.mean[0].numpy()).mean(axis=1)
        ratio = error / test.mean[0].var(dim=1).numpy()
        assert ((ratio > 0.006) & (ratio < 0.016)).all()


def test_what_the_fitting_clips_never_had_is_still_coded_exactly(fitted: FittedCoder) -> None:
    test = posterior(6)
    test.mean[0, 0, 5], test.mean[0, 1, 7] = 30.0, -45.0
    coded = fitted.code(test)[0]
    assert abs(coded.values[0, 5] - 30.0) < 0.1
    assert abs(coded.values[1, 7] + 45.0) < 0.4
    assert near_ideal(coded.bits, coded.ideal_bits)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
    st.floats(1e-6, 1e6),
    st.booleans(),
)
@settings(max_examples=80)
def test_any_finite_latent_can_be_sent(row: list[float], scale: float, known: bool) -> None:
    mean = torch.tensor([[row, [0.0] * len(row)]])
    scales = torch.full_like(mean, scale) if known else None
    coded = SentCoder().code(Posterior(mean, scales, torch.tensor([len(row)]), 50.0))[0]
    assert near_ideal(coded.bits, coded.ideal_bits)
    step = max(math.sqrt(12) * (scale if known else 0.1 * float(np.std(row))),
               max(map(abs, row)) / 2046)  # fmt: skip
    assert (
        np.abs(coded.values[0] - np.array(row)).max()
        <= 0.6 * step + 1e-5 * max(map(abs, row)) + 1e-12
    )
    assert (coded.values[1] == 0).all()


def test_padding_is_not_coded(fitted: FittedCoder) -> None:
    test = posterior(7, clips=1, frames=100)
    assert test.scale is not None
    padded = Posterior(
        torch.nn.functional.pad(test.mean, (0, 50), value=float("nan")),
        torch.nn.functional.pad(test.scale, (0, 50), value=-1.0),
        test.frames, 50.0,
    )  # fmt: skip
    for coder in (fitted, SentCoder()):
        assert coder.code(padded)[0].stream.to_bytes() == coder.code(test)[0].stream.to_bytes()


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_an_impossible_scale_names_the_clip(fitted: FittedCoder, value: float) -> None:
    test = posterior(8)
    assert test.scale is not None
    test.scale[1, 2, 3] = value
    for act in (lambda: fitted.code(test, ["a", "b"]), lambda: kl_bits(test, names=["a", "b"])):
        with pytest.raises(PayloadError, match=r"'b' has a scale .*channel 2 at frame 3"):
            act()
    with pytest.raises(PayloadError, match="clip 1"):
        Moments.of([test])


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_an_impossible_mean_names_the_clip(value: float) -> None:
    test = posterior(8, scale=False)
    test.mean[0, 1, 2] = value
    with pytest.raises(PayloadError, match=r"clip 0 .*a mean"):
        SentCoder().code(test)


def test_no_frames_are_refused_and_one_frame_is_coded(fitted: FittedCoder) -> None:
    test = posterior(9, frames=1)
    none = Posterior(test.mean, test.scale, torch.tensor([1, 0]), 50.0)
    for act in (lambda: fitted.code(none), lambda: SentCoder().code(none), lambda: kl_bits(none)):
        with pytest.raises(PayloadError, match=r"clip 1 .*no frames"):
            act()
    for coder in (fitted, SentCoder()):
        for coded in coder.code(test):
            assert coded.values.shape == (4, 1)
    with pytest.raises(PayloadError, match="two frames"):
        Moments.of([posterior(9, clips=1, frames=1)])


def test_a_mean_out_of_any_range_is_refused_with_its_channel(fitted: FittedCoder) -> None:
    test = posterior(10)
    test.mean[1, 2, 0] = 1e30
    with pytest.raises(PayloadError, match=r"clip 1 .*channel 2"):
        fitted.code(test)


def test_streams_of_others_are_refused(fitted: FittedCoder) -> None:
    other = FittedCoder.fit([posterior(11)])
    stream = fitted.code(posterior(2))[0].stream
    with pytest.raises(StreamError, match="other fitted tables"):
        other.decode(stream)
    with pytest.raises(StreamError, match="model"):
        SentCoder().decode(stream)


@pytest.mark.parametrize("known", [True, False], ids=["fitted", "sent"])
@given(words=st.lists(st.integers(0, 2**32 - 1), max_size=40))
@settings(max_examples=100, deadline=None)
def test_words_that_no_encoder_wrote_give_a_latent_or_a_stream_error(
    fitted: FittedCoder, known: bool, words: list[int]
) -> None:
    coder: LatentCoder = fitted if known else SentCoder()
    header = {"model": coder.name, "tables": coder.digest, "frames": 6, "channels": 4}
    try:
        values = coder.decode(Stream(header, np.array(words, np.uint32)))
    except StreamError:
        return
    assert values.shape == (4, 6)


def test_words_that_are_impossible_are_refused(fitted: FittedCoder) -> None:
    words = np.full(40, 2**32 - 1, np.uint32)
    for coder in (fitted, SentCoder()):
        header = {"model": coder.name, "tables": coder.digest, "frames": 600, "channels": 4}
        with pytest.raises(StreamError, match="impossible"):
            coder.decode(Stream(header, words))


@pytest.mark.parametrize("content", [None, [["x"]], [[0.0, -1.0, 0, [1, 1]]], [float("nan")]])
def test_a_damaged_coder_is_refused(content: object) -> None:
    with pytest.raises(PayloadError, match="fit-entropy"):
        FittedCoder.from_json(content)
