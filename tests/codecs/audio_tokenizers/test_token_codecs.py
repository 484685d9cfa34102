"""Tokenizers of `transformers` against direct calls of the package, on seeded weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import seeded_tokenizers as made
import torch
from seeded_checkpoints import agreement

from rdbench.audio.resample import resample
from rdbench.codecs.neural.trained import probe
from rdbench.codecs.registry import BUILT_IN, create
from rdbench.codecs.testing import check_codec
from rdbench.rate import rates
from rdbench.types import (
    CODES,
    AudioBatch,
    CodecError,
    DecoderInput,
    RateKind,
    Tokens,
    WeightsError,
)

transformers = pytest.importorskip("transformers", reason="pip install 'rdbench[transformers]'")

CASES: dict[str, tuple[str, Callable[[], Any]]] = {
    **{name: (name, build) for name, build in made.TOKENIZERS.items()},
    "encodec_32khz": ("transformers_encodec", lambda: made.encodec(32_000)),
    "encodec_48khz": ("transformers_encodec", lambda: made.encodec(48_000)),
}
EVERY = pytest.mark.parametrize("case", CASES)

KBPS = {
    "mimi": 12.5 * 6 / 1000,
    "transformers_encodec": 75 * 10 / 1000,
    "encodec_32khz": 50 * 11 / 1000,
    "encodec_48khz": 150 * 10 / 1000,
    "transformers_dac": 50 * 10 / 1000,
    "xcodec": 50 * 10 / 1000,
    "higgs_audio_v2": 25 * 10 / 1000,
    "xcodec2": 50 * 8 / 1000,
    "neucodec": 50 * 8 / 1000,
}
"""Of one codebook, from what is published: frames/s × log2(codebook size of the seeded model)."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("tokenizers")
    return {case: made.save(base / case, build) for case, (_, build) in CASES.items()}


def codec_of(case: str, folders: dict[str, Path], **options: Any) -> Any:
    points = options.pop("points", None)
    return create(CASES[case][0], points=points, options={"weights": folders[case], **options})


def package_model(case: str, folder: Path) -> Any:
    return type(CASES[case][1]()).from_pretrained(folder)


def clip(codec: Any, seconds: float = 0.8) -> AudioBatch:
    """A varied signal of no whole number of frames."""
    audio = probe(codec.info.sample_rates[0], codec.info.channels[0], seconds=seconds + 0.1)
    length = round(seconds * audio.sample_rate) + 3
    return AudioBatch(audio.samples[..., :length], torch.tensor([length]), audio.sample_rate)


def package_codes(case: str, model: Any, audio: AudioBatch) -> torch.Tensor:
    """All codes that the package's own encode makes, (clips, codebooks, frames)."""
    samples = resample(audio.samples, audio.sample_rate, made.rate_of(model))
    hop = {"xcodec": 320, "higgs_audio_v2": 960, "neucodec": 320}.get(case, 1)
    samples = torch.nn.functional.pad(samples, (0, -samples.shape[-1] % hop))
    if case == "transformers_dac":  # its decoder falls short of whole frames by 8 samples
        samples = torch.nn.functional.pad(samples, (0, 8 + -(samples.shape[-1] + 8) % 320))
    codes: torch.Tensor = made.encode(model, samples).audio_codes
    if codes.ndim == 4:  # EnCodec: segments first, the last one filled with zeros
        last = -(-(samples.shape[-1] % 47_520) // 320)
        parts = [*codes[:-1], codes[-1][..., :last]] if len(codes) > 1 else list(codes)
        return torch.cat(parts, dim=-1)
    return codes


@EVERY
def test_codes_and_audio_are_those_of_the_package(case: str, folders: dict[str, Path]) -> None:
    codec = codec_of(case, folders)
    check_against_package(case, codec, package_model(case, folders[case]))


def check_against_package(case: str, codec: Any, model: Any) -> None:
    # Rotary frequencies, windows and resampling kernels are in no file.
    ours, theirs = dict(codec.model.named_buffers()), dict(model.named_buffers())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], buffer) for name, buffer in theirs.items())

    audio = clip(codec, 1.2 if case == "encodec_48khz" else 0.8)
    with torch.no_grad():
        expected = package_codes(case, model, audio)
        top = codec.encode(audio, codec.points[-1])
        for point in (codec.points[0], codec.points[-1]):
            encoded = codec.at(top, point)
            count = point.settings["n_codebooks"]
            codes = encoded.payload.streams[0].codes
            assert agreement(codes, expected[:, :count]) >= 0.999
            assert len(codes.unique()) > 5
            got = codec.decode(codec.decoder_input(encoded, CODES, [0])).samples
            wave = package_audio(model, expected[:, :count], audio.samples)
            assert float(wave.std()) > 1e-3  # far above the tolerance
            torch.testing.assert_close(got, wave[..., : got.shape[-1]], rtol=0, atol=1e-5)


def package_audio(model: Any, codes: torch.Tensor, samples: torch.Tensor) -> Any:
    """What the package decodes, (clips, channels, time)."""
    kind = model.config.model_type
    if kind == "dac":
        return model.decode(audio_codes=codes).audio_values[:, None]
    if kind == "encodec":
        given = made.encode(model, samples)
        return model.decode(
            given.audio_codes[:, :, : codes.shape[1]],
            given.audio_scales,
            last_frame_pad_length=given.last_frame_pad_length,
        ).audio_values
    return model.decode(codes).audio_values


@EVERY
def test_it_passes_the_codec_checks(case: str, folders: dict[str, Path]) -> None:
    seconds = 1.1 if case == "encodec_48khz" else 0.6
    check_codec(codec_of(case, folders), seconds=seconds)


@EVERY
def test_every_number_of_codebooks_is_a_point_at_its_rate(
    case: str, folders: dict[str, Path]
) -> None:
    counts = package_model(case, folders[case]).config
    total = getattr(counts, "num_quantizers", getattr(counts, "n_codebooks", 1))
    codec = codec_of(case, folders, points=[f"q{n}" for n in range(1, total + 1)])
    audio = clip(codec)
    encoded = codec.encode(audio, codec.points[-1])
    frames = int(encoded.payload.streams[0].frames[0])
    side = 32 if case == "encodec_48khz" else 0
    for n, point in enumerate(codec.points, 1):
        (rate,) = rates(codec.at(encoded, point))[RateKind.NOMINAL]
        assert point.target_kbps == pytest.approx(n * KBPS[case])
        per_frame = KBPS[case] * 1000 / codec.info.frame_rate
        assert rate.bits == pytest.approx(n * frames * per_frame + side)
        seconds = int(audio.lengths[0]) / audio.sample_rate
        assert frames - 2 < seconds * codec.info.frame_rate <= frames


def test_the_bandwidths_that_a_model_was_trained_at_are_the_default(
    folders: dict[str, Path],
) -> None:
    names = [point.name for point in codec_of("xcodec", folders).points]
    assert names == ["q1", "q2", "q3", "q4", "q8"]
    assert [point.name for point in codec_of("mimi", folders).points] == ["q1", "q2", "q4", "q8"]


def test_a_point_may_be_named_by_its_rate(folders: dict[str, Path]) -> None:
    (point,) = codec_of("xcodec", folders, points=[2.5]).points
    assert point.name == "q5"
    with pytest.raises(CodecError, match=r"nearest is 'q8' at 4 kbps"):
        codec_of("xcodec", folders, points=[6])


def test_the_48_khz_model_takes_a_clip_whose_last_segments_are_short(
    folders: dict[str, Path],
) -> None:
    """The package's own encode fails on it: it fills up the last segment alone."""
    codec = codec_of("encodec_48khz", folders)
    length = 2 * 47_520 + 10
    samples = 0.1 * torch.randn(1, 2, length, generator=torch.Generator().manual_seed(1))
    audio = AudioBatch(samples, torch.tensor([length]), 48_000)
    with pytest.raises(RuntimeError):
        codec.model.encode(samples, bandwidth=6.0)
    encoded = codec.encode(audio, codec.points[-1])
    assert isinstance(encoded.payload, Tokens)
    assert encoded.payload.streams[0].frames.tolist() == [150 + 149 + 1]
    assert encoded.side["scale"].bits.tolist() == [96]
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0]))
    assert decoded.samples.shape[-1] == length
    shorter = DecoderInput(encoded.payload, torch.tensor([47_000]), 48_000, 2, encoded.side)
    with pytest.raises(CodecError, match="300 frames do not belong to clips of 47000 samples"):
        codec.decode(shorter)


def returning(codec: Any, codes: torch.Tensor) -> None:
    codec.model.encode = lambda *given, **options: type("Output", (), {"audio_codes": codes})()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda codes: codes + 64, r"made the code \d+, its codebooks have the entries 0 to 63"),
        (lambda codes: codes - 64, r"made the code -\d+, its codebooks have the entries 0 to 63"),
        (lambda codes: codes[..., ::2], r"8 codebooks of 6 frames .* says 8 of 11"),
        (lambda codes: codes[:, :4], r"4 codebooks of 11 frames .* says 8 of 11"),
    ],
)
def test_codes_that_contradict_the_configuration_are_refused(
    folders: dict[str, Path], change: Callable[[torch.Tensor], torch.Tensor], said: str
) -> None:
    codec = codec_of("mimi", folders)
    audio = clip(codec)
    codes = codec.encode(audio, codec.points[-1]).payload.streams[0].codes
    returning(codec, change(codes))
    with pytest.raises(CodecError, match=said) as found:
        codec.encode(audio, codec.points[-1])
    assert "\n" not in str(found.value)


def test_untrained_codebooks_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made.encodec().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="codebooks look untrained"):
        create("transformers_encodec", options={"weights": tmp_path})
    codec = create("transformers_encodec", options={"weights": tmp_path, "check": False})
    assert codec.points


def test_mimi_moves_what_its_codebooks_have_computed(folders: dict[str, Path]) -> None:
    """They keep their entries outside of the tensors that torch moves."""
    codec = codec_of("mimi", folders)
    books = [m for m in codec.model.modules() if hasattr(m, "_embed")]
    assert all(book._embed is not None for book in books)
    codec.to("cpu")
    assert all(book._embed is None for book in books)


@pytest.mark.cuda
@EVERY
def test_codes_on_a_device_are_those_of_the_cpu(case: str, folders: dict[str, Path]) -> None:
    codec = codec_of(case, folders)
    audio = clip(codec)
    before = codec.encode(audio, codec.points[-1])
    wave = codec.decode(codec.decoder_input(before, CODES, [0])).samples
    codec.to("cuda")
    after = codec.encode(audio, codec.points[-1])
    codes = after.payload.streams[0].codes.cpu()
    assert agreement(codes, before.payload.streams[0].codes) >= 0.98
    again = codec.decode(codec.decoder_input(before, CODES, [0])).samples.cpu()
    torch.testing.assert_close(again, wave, rtol=0, atol=1e-3)


PUBLISHED = {
    "mimi": ("MimiConfig", 24_000, 12.5, 32, 2048),
    "transformers_encodec": ("EncodecConfig", 24_000, 75.0, 32, 1024),
    "transformers_dac": ("DacConfig", 16_000, 31.25, 9, 1024),
    "xcodec": ("XcodecConfig", 16_000, 50.0, 8, 1024),
    "xcodec2": ("Xcodec2Config", 16_000, 50.0, 1, 65_536),
    "neucodec": ("NeuCodecConfig", 24_000, 50.0, 1, 65_536),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_geometry_is_read_from_the_default_configurations(name: str) -> None:
    config, rate, frames, codebooks, size = PUBLISHED[name]
    module, _, attribute = BUILT_IN[name].partition(":")
    kind = getattr(import_module(module), attribute).kind
    found = kind.geometry(getattr(transformers, config)())
    assert (found.sample_rate, found.frame_rate) == (rate, frames)
    assert (found.codebooks, found.codebook_size) == (codebooks, size)
    assert found.kbps_per_codebook == pytest.approx(frames * math.log2(size) / 1000)


def published(case: str) -> Any:
    """A model of the size in which it is published."""
    name, config = {"higgs_audio_v2": "HiggsAudioV2Tokenizer"}.get(case), {}
    if case == "transformers_dac":
        config = {"downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 12}
    if case == "higgs_audio_v2":
        strides = [8, 5, 4, 2, 3]
        acoustic = {"downsampling_ratios": strides, "upsampling_ratios": strides}
        config = {"acoustic_model_config": acoustic, "target_bandwidths": [0.5, 1, 1.5, 2]}
    name = name or PUBLISHED[case][0].removesuffix("Config")
    build = getattr(transformers, f"{name}Model")
    return build(getattr(transformers, f"{name}Config")(**config))


@pytest.mark.slow
@pytest.mark.parametrize("case", made.TOKENIZERS)
def test_models_of_the_published_sizes_too(case: str, tmp_path: Path) -> None:
    """The largest takes some 12 GB."""
    folder = made.save(tmp_path, lambda: published(case))
    codec = create(case, options={"weights": folder})
    build = type(codec.model).__mro__[1]
    check_against_package(case, codec, build.from_pretrained(folder))
