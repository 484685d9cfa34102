"""Codecs used by hand: audio of any form in and out, as a run would code it, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import rdbench
from rdbench.audio.corpus import embedded_corpus
from rdbench.audio.load import ExcerptProtocol, load_excerpt
from rdbench.codecs import identity, opus, vae
from rdbench.codecs.registry import BUILT_IN
from rdbench.types import CodecError, SpecError

RATE = 16000


@pytest.fixture(scope="module")
def speech() -> Any:
    clip = next(clip for clip in embedded_corpus().clips if clip.domain == "speech")
    excerpt = load_excerpt(clip, ExcerptProtocol(RATE, "mono", 1.0, "none"))
    return excerpt.samples[0].numpy()


def test_every_codec_can_be_made_under_the_name_that_specs_use() -> None:
    import rdbench.codecs as made

    assert set(BUILT_IN) <= set(dir(made))
    assert repr(made.opus(6, 12)) == "<opus at 6, 12: payload>"
    assert made.vae(weights="vae_6k").info.name == "vae_6k"
    with pytest.raises(AttributeError, match="no attribute 'opsu'"):
        made.opsu  # noqa: B018
    with pytest.raises(CodecError, match="no option 'mod'; did you mean 'mode'"):
        made.opus(6, mod="cbr")


def test_what_comes_back_has_the_form_of_what_was_given(speech: Any) -> None:
    codec = identity()
    forms: list[Any] = [
        speech,
        speech.astype(np.float64)[None],
        np.stack([speech, -speech])[:, None],
        torch.from_numpy(speech),
        torch.from_numpy(speech).repeat(2, 2, 1),
    ]
    for given in forms:
        back = codec.roundtrip(given, RATE)
        assert type(back) is type(given)
        assert tuple(back.shape) == tuple(given.shape)
        assert np.asarray(back) == pytest.approx(np.asarray(given, dtype=np.float32))
    several = codec.roundtrip([speech, speech[:9000]], RATE)
    assert [len(one) for one in several] == [len(speech), 9000]


def test_other_rates_and_channels_are_brought_to_the_codec_and_back(speech: Any) -> None:
    stereo = np.stack([speech, speech[::-1]])
    back = vae(weights="vae_24k").roundtrip(stereo, 22050)  # it takes 16 kHz, mono
    assert back.shape == stereo.shape
    errors = rdbench.score(
        reference=stereo, reconstruction=back, sample_rate=22050, metrics=["si_sdr"]
    )
    assert errors["value"].iloc[0] > 3


def test_a_sample_is_that_of_its_seed_and_torch_keeps_its_own(speech: Any) -> None:
    codec = vae(weights="vae_6k")
    before = torch.get_rng_state()
    one, again = (codec.roundtrip(speech, RATE) for _ in range(2))
    other = codec.roundtrip(speech, RATE, seed=1)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, codec.roundtrip(speech, RATE, variant="mean"))
    assert torch.equal(before, torch.get_rng_state())
    assert not codec.roundtrip(torch.from_numpy(speech), RATE).is_inference()


def test_rates_are_those_of_each_point_and_clip(speech: Any) -> None:
    found = rdbench.rates(opus(12, 24), [speech, speech[:8000]], RATE)
    assert list(found.groupby("clip").size()) == [4, 4]
    assert found["kbps"].to_numpy() == pytest.approx(found["bits"] / found["seconds"] / 1000)
    payload = found[found["kind"] == "payload"].set_index(["point", "clip"])["bits"]
    assert (payload["24"] > payload["12"]).all()
    (alone,) = rdbench.rates(opus(12), speech[:8000], RATE).query("kind == 'payload'")["bits"]
    assert alone == payload["12", 1]


def test_a_nested_codec_is_cut_and_its_nominal_rate_is_exact(speech: Any) -> None:
    codec = vae(1.5, 12, weights="rvq_nested")
    assert codec.nested
    found = rdbench.rates(codec, speech, RATE, points=[1.5])
    assert found["kbps"].tolist() == pytest.approx([1.5])
    assert len(rdbench.rates(codec, speech, RATE)) == 2


def test_bits_of_the_channels_of_a_mono_codec_add_up(speech: Any) -> None:
    codec = vae(weights="rvq_6k")
    one = rdbench.rates(codec, speech, RATE)["bits"].item()
    two = rdbench.rates(codec, np.stack([speech, speech]), RATE)["bits"].item()
    assert two == 2 * one
    assert rdbench.rates(identity(), speech, RATE).empty


@pytest.mark.parametrize(
    ("ask", "error", "sentence"),
    [
        (lambda x: opus(6, 12).roundtrip(x, RATE), CodecError, r"several points \(6, 12\)"),
        (lambda x: opus(6).roundtrip(x, RATE, point=7), CodecError, "no operating point"),
        (lambda x: opus(6).roundtrip(x, RATE, variant="mean"), CodecError, "no variant 'mean'"),
        (lambda x: opus(6).roundtrip(x[None, :0], RATE), CodecError, "no samples"),
        (lambda x: opus(6).roundtrip("a.wav", RATE), SpecError, "audio is a path; give arrays"),
        (lambda x: opus(6).roundtrip(x, 16000.5), SpecError, "give whole hertz"),
        (lambda x: rdbench.rates(opus(6), x > 0, RATE), SpecError, "audio holds bool"),
    ],
)
def test_what_cannot_be_coded_is_answered(
    speech: Any, ask: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        ask(speech)
