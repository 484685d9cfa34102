"""Coders with a profile: decoded from their stream alone, near its ideal length, no other's."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from posteriors import near_ideal, posterior, restless

from rdbench.rate.coded import LatentCoder
from rdbench.rate.coded.dither import DitheredCoder
from rdbench.rate.coded.profile import Profile
from rdbench.rate.coded.relative import RelativeCoder
from rdbench.rate.coded.trellis import STATES_256, UNIFORM
from rdbench.rate.stream import Stream, StreamError
from rdbench.rate.validate import PayloadError
from rdbench.types import Posterior

Make = Callable[[Profile | None], LatentCoder]
MAKERS: dict[str, Make] = {
    "dither": lambda profile: DitheredCoder(UNIFORM, profile),
    "trellis": lambda profile: DitheredCoder(STATES_256, profile),
    "relative": RelativeCoder,
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return Profile.fit([restless(1, clips=8)])


@every
@pytest.mark.parametrize("known", [True, False])
def test_a_stream_is_decoded_by_one_who_has_only_the_file(
    make: Make, known: bool, profile: Profile
) -> None:
    sender = make(profile if known else None)
    receiver = make(Profile.from_json(profile.as_json()) if known else None)
    for coded in sender.code(restless(2, frames=60), seeds=[3, 2**63 - 1, 0]):
        values = receiver.decode(Stream.from_bytes(coded.stream.to_bytes()))
        np.testing.assert_array_equal(values, coded.values)
        assert near_ideal(coded.bits, coded.ideal_bits)


@every
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_finite_latent_can_be_sent(make: Make, data: st.DataObject) -> None:
    frames = data.draw(st.integers(1, 12))
    numbers = st.floats(-1e5, 1e5, width=32)
    mean = torch.tensor([data.draw(st.lists(st.lists(numbers, min_size=frames, max_size=frames),
                                            min_size=1, max_size=3))])  # fmt: skip
    scale = torch.full_like(mean, data.draw(st.floats(1e-4, 1e4)))
    test = Posterior(mean, scale, torch.tensor([frames]), 50.0)
    (coded,) = make(None).code(test, seeds=[data.draw(st.integers(0, 2**63 - 1))])
    assert near_ideal(coded.bits, coded.ideal_bits)
    # Noise of the clip's own scale, or of the least step that reaches its furthest value.
    noise = scale.max().item() + np.abs(mean.numpy()).max() / 100.0
    assert np.abs(coded.values - mean[0].numpy()).max() < 8.0 * noise


@every
def test_padding_and_other_clips_change_nothing(make: Make, profile: Profile) -> None:
    test = restless(2, clips=2, frames=40)
    assert test.scale is not None
    padded = Posterior(
        torch.nn.functional.pad(test.mean, (0, 9), value=float("nan")),
        torch.nn.functional.pad(test.scale, (0, 9), value=-1.0), test.frames, 50.0,
    )  # fmt: skip
    alone = Posterior(test.mean[1:], test.scale[1:], test.frames[1:], 50.0)
    coder = make(profile)
    both = [one.stream.to_bytes() for one in coder.code(test, seeds=[1, 2])]
    assert [one.stream.to_bytes() for one in coder.code(padded, seeds=[1, 2])] == both
    assert coder.code(alone, seeds=[2])[0].stream.to_bytes() == both[1]


@every
def test_streams_of_others_and_broken_ones_are_refused(make: Make, profile: Profile) -> None:
    (coded,) = make(profile).code(restless(2, clips=1, frames=40), seeds=[1])
    other = Profile.fit([restless(9)])
    with pytest.raises(StreamError, match="other fitted tables"):
        make(other).decode(coded.stream)
    with pytest.raises(StreamError, match="model"):
        make(None).decode(coded.stream)
    data = coded.stream.to_bytes()
    for broken in (data[:-5], data[:60] + bytes([data[60] ^ 1]) + data[61:]):
        with pytest.raises(StreamError):
            make(profile).decode(Stream.from_bytes(broken))
    for change in ({"frames": 0}, {"channels": 7}, {"seed": -1}, {"seed": None}):
        header = {**coded.stream.header, **change}
        with pytest.raises(StreamError):
            make(profile).decode(replace(coded.stream, header=header))


@every
@given(words=st.lists(st.integers(0, 2**32 - 1), max_size=40), known=st.booleans())
@settings(max_examples=25, deadline=None)
def test_words_that_no_encoder_wrote_give_a_latent_or_a_stream_error(
    make: Make, words: list[int], known: bool
) -> None:
    coder = make(Profile.fit([restless(1)]) if known else None)
    header = {"model": coder.name, "tables": coder.digest, "seed": 1, "frames": 6, "channels": 8}
    try:
        values = coder.decode(Stream(header, np.array(words, np.uint32)))
    except StreamError:
        return
    assert values.shape == (8, 6)


@every
def test_a_posterior_of_other_channels_and_one_out_of_range_are_refused(
    make: Make, profile: Profile
) -> None:
    with pytest.raises(PayloadError, match="8 channels, the posterior 4; fit again"):
        make(profile).code(posterior(1))
    far = restless(2, clips=1)
    far.mean[0, 3, 5] = 1e12
    with pytest.raises(PayloadError, match="clip 0"):
        make(profile).code(far)


def fingerprints() -> list[str]:
    """Of streams and what is decoded from them."""
    profile = Profile.fit([restless(1)])
    found = []
    for make in MAKERS.values():
        (coded,) = make(profile).code(restless(2, clips=1, frames=30), seeds=[7])
        found.append(hashlib.sha256(coded.stream.to_bytes() + coded.values.tobytes()).hexdigest())
    return found


def test_another_process_writes_and_reads_the_same() -> None:
    folder = Path(__file__).parent
    code = (
        f"import sys; sys.path[:0] = [{str(folder)!r}, {str(folder.parent)!r}]\n"
        "from test_streams_of_latents import fingerprints; print(*fingerprints())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.split() == fingerprints()
