"""EnCodec behind the Codec interface does what the package `encodec` does, and counts its bits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded_checkpoints import agreement, ragged, real_audio, save_encodec, seeded_encodec

from rdbench.codecs.neural.encodec import SEGMENTS, Encodec24, Encodec48
from rdbench.codecs.neural.trained import check_pretrained
from rdbench.codecs.testing import check_codec
from rdbench.rate import rates
from rdbench.types import (
    CODES,
    AudioBatch,
    CodecError,
    Encoded,
    RateKind,
    Tokens,
    TokenStream,
    WeightsError,
)

FACTORIES = {24_000: Encodec24, 48_000: Encodec48}
POINTS = [(24_000, k) for k in (1.5, 3, 6, 12, 24)] + [(48_000, k) for k in (3, 6, 12, 24)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encodec")
    for rate in FACTORIES:
        save_encodec(path, rate)
    return path


@pytest.fixture(scope="module")
def codecs(folder: Path) -> dict[int, Any]:
    return {rate: factory(weights=folder) for rate, factory in FACTORIES.items()}


@pytest.fixture(scope="module")
def package(folder: Path) -> dict[int, Any]:
    """The package's own models, loaded by its own loader (less its check of the hash)."""
    from encodec import EncodecModel
    from encodec import model as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_check_checksum", lambda path, checksum: None)
        return {
            24_000: EncodecModel.encodec_model_24khz(repository=folder),
            48_000: EncodecModel.encodec_model_48khz(repository=folder),
        }


@pytest.fixture(scope="module")
def audio(shared_data: Path) -> dict[int, AudioBatch]:
    return {
        24_000: real_audio(shared_data, "speech", 24_000, 1, 24_123),
        48_000: real_audio(shared_data, "music", 48_000, 2, 60_123),
    }


@pytest.fixture(scope="module")
def full(codecs: dict[int, Any], audio: dict[int, AudioBatch]) -> dict[int, Encoded]:
    return {rate: codecs[rate].encode(audio[rate], codecs[rate].points[-1]) for rate in codecs}


def stream(encoded: Encoded) -> TokenStream:
    assert isinstance(encoded.payload, Tokens)
    return encoded.payload.streams[0]


def decode(codec: Any, encoded: Encoded) -> AudioBatch:
    decoded: AudioBatch = codec.decode(codec.decoder_input(encoded, CODES, [0]))
    return decoded


@pytest.mark.parametrize(("rate", "kbps"), POINTS)
def test_every_point_of_one_encode_equals_the_package_at_that_bandwidth(  # noqa: PLR0917
    rate: int,
    kbps: float,
    codecs: dict[int, Any],
    package: dict[int, Any],
    audio: dict[int, AudioBatch],
    full: dict[int, Encoded],
) -> None:
    codec, model = codecs[rate], package[rate]
    encoded = codec.at(full[rate], codec.point(f"{kbps:g}"))
    model.set_target_bandwidth(kbps)
    with torch.inference_mode():
        expected = model.encode(audio[rate].samples)
        waveform = model.decode(expected)[..., : audio[rate].samples.shape[-1]]
    assert torch.equal(stream(encoded).codes, torch.cat([codes for codes, _ in expected], -1))
    if rate == 48_000:
        scales = torch.cat([scale for _, scale in expected], 1)
        assert torch.equal(encoded.side["scale"].values, scales)
    decoded = decode(codec, encoded)
    assert decoded.samples.shape == audio[rate].samples.shape
    torch.testing.assert_close(decoded.samples, waveform, atol=1e-5, rtol=0)
    assert decoded.samples.abs().max() > 1e-4


@pytest.mark.parametrize("rate", FACTORIES)
def test_every_codebook_of_the_seeded_models_shows_many_codes(
    rate: int, full: dict[int, Encoded]
) -> None:
    codes = stream(full[rate]).codes[0]
    assert min(row.unique().numel() for row in codes) >= 16


@pytest.mark.parametrize("rate", FACTORIES)
@pytest.mark.parametrize("seconds", [1, 2])
def test_nominal_rate_is_the_bandwidth_and_the_scales_come_on_top(
    rate: int, seconds: int, codecs: dict[int, Any]
) -> None:
    codec = codecs[rate]
    length = seconds * rate
    noise = AudioBatch(
        0.1 * torch.randn(1, codec.info.channels[0], length), torch.tensor([length]), rate
    )
    encoded = codec.encode(noise, codec.points[-1])
    for point in codec.points:
        kbps = float(point.name)
        assert point.target_kbps == kbps
        (measured,) = rates(codec.at(encoded, point))[RateKind.NOMINAL]
        if rate == 24_000:
            assert measured.kbps == pytest.approx(kbps, rel=1e-12)
        else:
            starts = range(0, length, 47_520)
            frames = sum(math.ceil(min(48_000, length - start) / 320) for start in starts)
            assert measured.bits == frames * kbps / 150 * 1000 + 32 * len(starts)
            assert 1.01 < measured.kbps / kbps < 1.04


@pytest.mark.parametrize("n_codebooks", [2, 4, 8, 16])
def test_rate_of_the_48_khz_model_tends_to_segments_with_their_scales(n_codebooks: int) -> None:
    hour = 3600 * 48_000
    bounds = SEGMENTS.bounds(hour)
    assert bounds[0] == (0, 48_000)
    assert bounds[1][0] == 47_520
    assert bounds[-1][1] == hour
    bits = sum(frames * n_codebooks * 10 + 32 for frames in SEGMENTS.frames(hour))
    assert bits / 3600 == pytest.approx((1500 * n_codebooks + 32) / 0.99, rel=1e-3)


@pytest.mark.parametrize(("rate", "lengths"), [(24_000, [9000, 12_001, 1]), (48_000, [52_000, 1])])
def test_a_ragged_batch_gives_what_each_clip_gives_alone(
    rate: int, lengths: list[int], codecs: dict[int, Any], audio: dict[int, AudioBatch]
) -> None:
    codec = codecs[rate]
    batch = ragged(audio[rate], lengths)
    together = codec.encode(batch, codec.points[-1])
    samples = decode(codec, together).samples
    for i, length in enumerate(lengths):
        single = batch.select([i])
        alone = codec.encode(single, codec.points[-1])
        frames = int(stream(alone).frames[0])
        assert int(stream(together).frames[i]) == frames
        assert agreement(stream(together).codes[i, :, :frames], stream(alone).codes[0]) >= 0.999
        assert rates(together)[RateKind.NOMINAL][i] == rates(alone)[RateKind.NOMINAL][0]
        expected = decode(codec, alone).samples[0]
        torch.testing.assert_close(samples[i, :, :length], expected, atol=1e-5, rtol=0)
        assert not samples[i, :, length:].any()


def test_a_last_segment_shorter_than_the_overlap_decodes_to_the_clips_length(
    codecs: dict[int, Any], package: dict[int, Any], audio: dict[int, AudioBatch]
) -> None:
    """180 samples in the second segment: there, the package's own decode fails."""
    codec = codecs[48_000]
    clip = ragged(audio[48_000], [47_700])
    encoded = codec.encode(clip, codec.points[-1])
    decoded = decode(codec, encoded)
    assert decoded.samples.shape[-1] == 47_700
    model = package[48_000]
    model.set_target_bandwidth(24)
    with torch.inference_mode():
        frames = model.encode(clip.samples)
        first = model._decode_frame(frames[0])
    assert len(frames) == 2
    alone = decoded.samples[..., :47_520]
    torch.testing.assert_close(alone, first[..., :47_520], atol=1e-5, rtol=0)
    assert torch.isfinite(decoded.samples).all()


@pytest.mark.parametrize("rate", FACTORIES)
def test_the_adapter_keeps_the_codec_interface(rate: int, codecs: dict[int, Any]) -> None:
    # Of other seeds, two entries of a random codebook may be equally near for one of the batches.
    check_codec(codecs[rate], seconds=0.25, seed=1)


def test_info_says_what_ran(folder: Path, codecs: dict[int, Any]) -> None:
    from rdbench.identity import file_sha256

    info = codecs[48_000].info
    assert info.weights_sha256 == file_sha256(folder / "encodec_48khz-7e698e3e.th")
    assert (info.sample_rates, info.channels, info.frame_rate) == ((48_000,), (2,), 150.0)
    assert info.headline is RateKind.NOMINAL
    assert not info.details["pretrained"]
    assert str(folder) not in str(info)


def test_points_are_chosen_by_rate_or_name_cheapest_first(folder: Path) -> None:
    codec = Encodec24(points=[6, "1.5"], weights=folder)
    assert [point.name for point in codec.points] == ["1.5", "6"]
    with pytest.raises(CodecError, match="encodec_24khz has no operating point at 5 kbps"):
        Encodec24(points=[5], weights=folder)


@pytest.mark.parametrize(
    ("rate", "channels", "said"),
    [(44_100, 2, "does not take 44100 Hz"), (48_000, 1, "takes stereo, not 1 channels")],
)
def test_audio_of_another_rate_or_layout_is_refused(
    rate: int, channels: int, said: str, codecs: dict[int, Any]
) -> None:
    clip = AudioBatch(torch.zeros(1, channels, 1000), torch.tensor([1000]), rate)
    with pytest.raises(CodecError, match=f"encodec_48khz {said}"):
        codecs[48_000].encode(clip, codecs[48_000].points[0])


def test_an_empty_clip_is_refused(codecs: dict[int, Any]) -> None:
    clip = AudioBatch(torch.zeros(1, 1, 0), torch.tensor([0]), 24_000)
    with pytest.raises(CodecError, match="clip 0: it is empty"):
        codecs[24_000].encode(clip, codecs[24_000].points[0])


def test_cutting_upwards_is_refused(codecs: dict[int, Any], full: dict[int, Encoded]) -> None:
    codec = codecs[24_000]
    low = codec.at(full[24_000], codec.point("3"))
    with pytest.raises(CodecError, match="cannot cut 4 codebooks"):
        codec.at(low, codec.point("6"))


def test_freshly_built_codebooks_are_found_untrained(tmp_path: Path) -> None:
    from encodec import EncodecModel

    path = tmp_path / "fresh.th"
    torch.save(EncodecModel.encodec_model_24khz(pretrained=False).state_dict(), path)
    with pytest.raises(WeightsError, match="codebooks look untrained") as caught:
        Encodec24(weights=path)
    assert "\n" not in str(caught.value)
    Encodec24(weights=path, check=False)


def test_the_24_khz_checkpoint_is_refused_by_the_48_khz_model(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"does not fit encodec_48khz: of \d+ tensors \d+"):
        Encodec48(weights=folder / "encodec_24khz-d7cc33bc.th")


def test_seeded_weights_are_not_taken_for_pretrained_ones(
    codecs: dict[int, Any], shared_data: Path
) -> None:
    speech = real_audio(shared_data, "speech", 24_000, 1, 48_000)
    (finding,) = check_pretrained(codecs[24_000], codecs[24_000].full_point, speech)
    assert "PESQ" in finding


def test_without_its_weights_one_sentence_says_what_fetches_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from rdbench.weights import published as weights

    def unplugged(url: str, headers: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(weights, "open_https", unplugged)
    monkeypatch.setenv("RDBENCH_CACHE", str(tmp_path))
    with pytest.raises(
        weights.NotFetchedError, match="rdbench weights fetch encodec_24khz"
    ) as named:
        Encodec24()
    with pytest.raises(WeightsError) as caught:
        named.value.downloads[0].fetch([].append)
    for part in (
        "encodec_24khz-d7cc33bc.th",
        "https://dl.fbaipublicfiles.com/encodec/v0/encodec_24khz-d7cc33bc.th",
        str(tmp_path / "weights" / "encodec_24khz-d7cc33bc.th"),
        "SHA-256 begins with d7cc33bc",
    ):
        assert part in str(caught.value)


def test_seeding_repeats() -> None:
    one, other = (seeded_encodec(24_000).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)
