"""DAC behind the Codec interface does what its package does, at the rates that its codes cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded_checkpoints import DAC_ARGUMENTS, agreement, ragged, real_audio, save_dac

from rdbench.codecs.neural.dac import Dac16, Dac24, Dac44, Dac44High, output_length
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
from rdbench.weights.checkpoints import Checkpoint

FACTORIES: dict[str, Any] = {
    "dac_16khz": Dac16,
    "dac_24khz": Dac24,
    "dac_44khz": Dac44,
    "dac_44khz_16kbps": Dac44High,
}
# kbps with all codebooks, from reference/codecs.md's table: frames/s, codebooks of 1024.
TABLE = {
    "dac_16khz": (50, 12, 6.0),
    "dac_24khz": (75, 32, 24.0),
    "dac_44khz": (44_100 / 512, 9, 7.75),
    "dac_44khz_16kbps": (44_100 / 512, 18, 15.50),
}
EVERY = [(name, int(q[1:])) for name in FACTORIES for q in FACTORIES[name].default]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dac")
    return {name: save_dac(folder, name) for name in FACTORIES}


@pytest.fixture(scope="module")
def codecs(paths: dict[str, Path]) -> dict[str, Any]:
    return {name: FACTORIES[name](weights=path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def package(paths: dict[str, Path]) -> dict[str, Any]:
    """The package's own models, loaded by its own loader."""
    from dac import DAC

    return {name: DAC.load(path, strict=True).eval() for name, path in paths.items()}


@pytest.fixture(scope="module")
def audio(shared_data: Path) -> dict[str, AudioBatch]:
    return {
        name: real_audio(shared_data, "speech", arguments["sample_rate"], 1, 15_500)
        for name, arguments in DAC_ARGUMENTS.items()
    }


@pytest.fixture(scope="module")
def full(codecs: dict[str, Any], audio: dict[str, AudioBatch]) -> dict[str, Encoded]:
    return {name: codec.encode(audio[name], codec.points[-1]) for name, codec in codecs.items()}


def stream(encoded: Encoded) -> TokenStream:
    assert isinstance(encoded.payload, Tokens)
    return encoded.payload.streams[0]


def decode(codec: Any, encoded: Encoded) -> AudioBatch:
    decoded: AudioBatch = codec.decode(codec.decoder_input(encoded, CODES, [0]))
    return decoded


@pytest.mark.parametrize(("name", "n"), EVERY)
def test_every_point_of_one_encode_equals_the_package_with_that_many_quantizers(  # noqa: PLR0917
    name: str,
    n: int,
    codecs: dict[str, Any],
    package: dict[str, Any],
    audio: dict[str, AudioBatch],
    full: dict[str, Encoded],
) -> None:
    codec, model = codecs[name], package[name]
    encoded = codec.at(full[name], codec.point(f"q{n}"))
    with torch.inference_mode():
        padded = model.preprocess(audio[name].samples, model.sample_rate)
        _, codes, *_ = model.encode(padded, n)
        waveform = model.decode(model.quantizer.from_codes(codes)[0])
    length = audio[name].samples.shape[-1]
    assert waveform.shape[-1] >= length
    assert torch.equal(stream(encoded).codes, codes)
    decoded = decode(codec, encoded)
    torch.testing.assert_close(decoded.samples, waveform[..., :length], atol=1e-5, rtol=0)
    assert decoded.samples.abs().max() > 1e-4


@pytest.mark.parametrize("name", FACTORIES)
def test_every_codebook_of_the_seeded_models_shows_many_codes(
    name: str, full: dict[str, Encoded]
) -> None:
    assert min(row.unique().numel() for row in stream(full[name]).codes[0]) >= 12


@pytest.mark.parametrize("name", FACTORIES)
def test_rates_at_every_number_of_codebooks_are_those_of_the_table(
    name: str, paths: dict[str, Path]
) -> None:
    """Codes come in whole frames: two seconds cost at most one frame more than the table says."""
    frame_rate, n_codebooks, kbps = TABLE[name]
    codec = FACTORIES[name](
        points=[f"q{n}" for n in range(1, n_codebooks + 1)], weights=paths[name]
    )
    assert len(codec.points) == n_codebooks
    assert codec.points[-1].target_kbps == pytest.approx(kbps, rel=5e-4)
    rate = codec.info.sample_rates[0]
    noise = 0.1 * torch.randn(1, 1, 2 * rate)
    encoded = codec.encode(AudioBatch(noise, torch.tensor([2 * rate]), rate), codec.points[-1])
    for n, point in enumerate(codec.points, start=1):
        assert point.target_kbps == pytest.approx(frame_rate * n * 10 / 1000, rel=1e-12)
        (measured,) = rates(codec.at(encoded, point))[RateKind.NOMINAL]
        frames = measured.bits / (10 * n)
        assert frames == int(frames)
        assert 0 <= frames - 2 * frame_rate <= 1
    assert codec.info.frame_rate == pytest.approx(frame_rate)


@pytest.mark.parametrize("name", ["dac_16khz", "dac_24khz"])
def test_a_stride_of_five_does_not_cut_the_end_of_a_clip(
    name: str, codecs: dict[str, Any], package: dict[str, Any], shared_data: Path
) -> None:
    codec, model = codecs[name], package[name]
    clip = real_audio(shared_data, "speech", model.sample_rate, 1, 16_000)
    with torch.inference_mode():
        assert model(clip.samples)["audio"].shape[-1] == 15_992
        _, codes, *_ = model.encode(torch.nn.functional.pad(clip.samples, (0, 320)))
        expected = model.decode(model.quantizer.from_codes(codes)[0])[..., :16_000]
    encoded = codec.encode(clip, codec.points[-1])
    assert stream(encoded).codes.shape[-1] == 51
    decoded = decode(codec, encoded)
    torch.testing.assert_close(decoded.samples, expected, atol=1e-5, rtol=0)
    assert output_length(51, model.decoder_rates) == 16_312


@pytest.mark.parametrize("name", FACTORIES)
def test_a_ragged_batch_gives_what_each_clip_gives_alone(
    name: str, codecs: dict[str, Any], audio: dict[str, AudioBatch]
) -> None:
    codec = codecs[name]
    lengths = [8000, 5121, 5121, 1]
    batch = ragged(audio[name], lengths)
    together = codec.encode(batch, codec.points[-1])
    samples = decode(codec, together).samples
    for i, length in enumerate(lengths):
        alone = codec.encode(batch.select([i]), codec.points[-1])
        frames = int(stream(alone).frames[0])
        assert int(stream(together).frames[i]) == frames
        assert agreement(stream(together).codes[i, :, :frames], stream(alone).codes[0]) >= 0.999
        assert rates(together)[RateKind.NOMINAL][i] == rates(alone)[RateKind.NOMINAL][0]
        expected = decode(codec, alone).samples[0]
        torch.testing.assert_close(samples[i, :, :length], expected, atol=1e-5, rtol=0)
        assert not samples[i, :, length:].any()


@pytest.mark.parametrize("name", FACTORIES)
def test_the_adapter_keeps_the_codec_interface(name: str, codecs: dict[str, Any]) -> None:
    check_codec(codecs[name], seconds=0.25)


@pytest.mark.parametrize("name", FACTORIES)
def test_the_published_architecture_has_the_published_size(name: str) -> None:
    """74 to 77 million parameters; the 16 kbps model's latent of 128 makes it smaller."""
    model = FACTORIES[name].__new__(FACTORIES[name])._build(Checkpoint({}, "", "none.pth"))
    parameters = sum(p.numel() for p in model.parameters())
    low, high = (6e7, 7e7) if name == "dac_44khz_16kbps" else (7.3e7, 7.8e7)
    assert low < parameters < high
    assert all(p.is_meta for p in model.parameters())


def test_points_are_chosen_by_rate_or_name_cheapest_first(paths: dict[str, Path]) -> None:
    codec = Dac44(points=[7.75, "q1", 2.58], weights=paths["dac_44khz"])
    assert [point.name for point in codec.points] == ["q1", "q3", "q9"]
    with pytest.raises(CodecError, match="the nearest is 'q9'"):
        Dac44(points=[8], weights=paths["dac_44khz"])


def test_the_checkpoint_of_another_model_is_refused(paths: dict[str, Path]) -> None:
    with pytest.raises(WeightsError, match="sample_rate 24000, dac_16khz has 16000"):
        Dac16(weights=paths["dac_24khz"])
    with pytest.raises(WeightsError, match="n_codebooks 18, dac_44khz has 9"):
        Dac44(weights=paths["dac_44khz_16kbps"])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("decoder_dim", 10**12, "decoder_dim 1000000000000, which is no width"),
        ("codebook_dim", "many", "records arguments of which no DAC can be built"),
        ("codebook_dim", 10**9, "bytes, more than the"),
        ("encoder_dim", 32, "of another shape"),
    ],
)
def test_recorded_arguments_that_do_not_fit_allocate_nothing(
    key: str, value: Any, said: str, paths: dict[str, Path], tmp_path: Path
) -> None:
    content = torch.load(paths["dac_16khz"], weights_only=True)
    content["metadata"]["kwargs"][key] = value
    path = tmp_path / "odd.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=said) as caught:
        Dac16(weights=path)
    assert "\n" not in str(caught.value)


def test_a_package_with_code_is_refused(tmp_path: Path) -> None:
    """`DAC.load` would import the code in this file."""
    from dac import DAC

    path = tmp_path / "package.pth"
    DAC(encoder_dim=4, decoder_dim=32).save(path)
    with pytest.raises(WeightsError, match="package with code"):
        Dac44(weights=path)


def test_seeded_weights_are_not_taken_for_pretrained_ones(codecs: dict[str, Any]) -> None:
    """On the embedded clip that `check_pretrained` chooses itself."""
    (finding,) = check_pretrained(codecs["dac_16khz"], codecs["dac_16khz"].full_point)
    assert "PESQ" in finding


def test_info_says_what_ran(codecs: dict[str, Any]) -> None:
    info = codecs["dac_44khz"].info
    assert info.licence == "MIT"
    assert math.isclose(info.frame_rate, 86.1328125)
    assert len(info.weights_sha256) == 64
    assert (info.sample_rates, info.channels, info.delay) == ((44_100,), (1,), 0)
