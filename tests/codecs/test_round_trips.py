"""Every clip of the shared corpus through every entropy coder, and back (marker `slow`).

    make test-long        or: pytest -m slow tests/codecs/test_round_trips.py

EnCodec and DAC carry seeded weights; their tokens are as many and as widely spread as real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from seeded_checkpoints import save_dac, save_encodec

from rdbench.audio.corpus import manifest_corpus
from rdbench.audio.load import ExcerptProtocol, load_excerpt
from rdbench.codecs.base import Codec
from rdbench.codecs.registry import create
from rdbench.rate.adaptive import CONTEXT, ORDER0
from rdbench.rate.coded import FittedCoder, SentCoder
from rdbench.rate.coded.dither import DitheredCoder
from rdbench.rate.coded.profile import Profile
from rdbench.rate.coded.relative import RelativeCoder
from rdbench.rate.coded.trellis import STATES_256, UNIFORM
from rdbench.rate.entropy import decode_clips, encode_clips
from rdbench.rate.prior import Moments
from rdbench.rate.static import StaticTables
from rdbench.rate.stream import Stream
from rdbench.rate.validate import clip_codes
from rdbench.types import AudioBatch, Encoded, Posterior, Tokens

if TYPE_CHECKING:
    from rdbench.rate.validate import ClipCodes

SECONDS = 3.0
pytestmark = pytest.mark.slow


def encoded_clips(codec: Codec, shared: Path, domains: list[str] | None) -> Iterator[Encoded]:
    protocol = ExcerptProtocol(codec.info.sample_rates[0], "mono", SECONDS)
    for clip in manifest_corpus(shared / "clips" / "manifest.csv").select(domains).clips:
        samples = load_excerpt(clip, protocol).samples[None]
        if codec.info.channels == (2,):
            samples = samples.expand(-1, 2, -1).contiguous()
        batch = AudioBatch(samples, torch.tensor([samples.shape[-1]]), protocol.sample_rate)
        yield codec.encode(batch, codec.points[-1])


def build(name: str, shared: Path, folder: Path) -> Codec:
    if name == "lyra":
        return create(name, options={"models": str(shared / "lyra")})
    if name.startswith("encodec"):
        save_encodec(folder, 24_000 if "24" in name else 48_000)
        return create(name, options={"weights": str(folder)})
    return create(name, options={"weights": str(save_dac(folder, name))})


@pytest.mark.parametrize("name", ["lyra", "encodec_24khz", "encodec_48khz", "dac_16khz"])
def test_tokens_of_every_clip_come_back(name: str, shared_data: Path, tmp_path: Path) -> None:
    codec = build(name, shared_data, tmp_path)
    domains = ["speech"] if name == "lyra" else None
    clips: list[ClipCodes] = []
    sizes: list[tuple[int, ...]] = []
    for encoded in encoded_clips(codec, shared_data, domains):
        assert isinstance(encoded.payload, Tokens)
        sizes = [stream.codebook_sizes for stream in encoded.payload.streams]
        clips += clip_codes(encoded.payload)
    assert len(clips) >= (43 if name == "lyra" else 89)

    tables = StaticTables.fit(iter(clips[::2]), sizes)
    nominal = sum(
        codes.shape[1] * sum(np.log2(stream))
        for clip in clips
        for codes, stream in zip(clip, sizes, strict=True)
    )
    for model in (ORDER0, CONTEXT, tables):
        given = tables if model is tables else None
        alone = 0
        for clip in clips:
            coded = encode_clips([clip], sizes, model)
            (back,) = decode_clips(Stream.from_bytes(coded.stream.to_bytes()), given)
            assert all(np.array_equal(a, b) for a, b in zip(clip, back, strict=True))
            assert coded.bits <= 1.005 * coded.ideal_bits + 64
            alone += coded.bits
        whole = encode_clips(clips, sizes, model)
        back = decode_clips(Stream.from_bytes(whole.stream.to_bytes()), given)
        assert len(back) == len(clips)
        for clip, again in zip(clips, back, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(clip, again, strict=True))
        assert whole.bits <= 1.005 * whole.ideal_bits + 64
        # What adapting costs is paid once instead of once for each clip.
        assert whole.bits < alone
        assert whole.bits < 1.05 * nominal


@pytest.mark.parametrize("weights", ["vae_1k5", "vae_3k", "vae_6k", "vae_12k", "vae_24k"])
def test_latents_of_every_clip_come_back(weights: str, shared_data: Path) -> None:
    codec = create("vae", options={"weights": weights})
    posteriors = [
        encoded.payload
        for encoded in encoded_clips(codec, shared_data, ["speech"])
        if isinstance(encoded.payload, Posterior)
    ]
    assert len(posteriors) >= 43
    half = posteriors[::2]
    fitted = FittedCoder.fit(half, Moments.of(half))
    profile = Profile.fit(half)
    trellises = [DitheredCoder(STATES_256, one) for one in (profile, None)]
    for number, posterior in enumerate(posteriors):
        mean = posterior.mean[0].double().numpy()
        relative = [RelativeCoder(profile)] if number % 8 == 0 else []
        for coder in (fitted, SentCoder(), DitheredCoder(UNIFORM, profile), *trellises, *relative):
            (coded,) = coder.code(posterior, seeds=[number])
            again = coder.decode(Stream.from_bytes(coded.stream.to_bytes()))
            assert np.array_equal(coded.values, again)
            assert coded.bits <= 1.005 * coded.ideal_bits + 64
        (coded,) = fitted.code(posterior)
        for channel, values, exact in zip(fitted.channels, coded.values, mean, strict=True):
            if not isinstance(channel, float):
                assert np.abs(values - exact).max() <= 0.5001 * channel.step
