"""Lyra v2 on real speech, with Google's models from the shared data."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from rdbench.codecs.neural import lyra
from rdbench.codecs.neural.lyra import Lyra
from rdbench.codecs.testing import check_codec
from rdbench.rate import rates
from rdbench.types import (
    CODES,
    AudioBatch,
    CodecError,
    MissingExtraError,
    RateKind,
    Tokens,
    WeightsError,
)

needs_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="needs the extra rdbench[lyra]"
)


@pytest.fixture(scope="module")
def models(shared_data: Path) -> Path:
    return shared_data / "lyra"


@pytest.fixture(scope="module")
def speech(shared_data: Path) -> AudioBatch:
    """Three clips of 16 kHz speech: 1 s, 0.64 s and one sample more than 0.3 s."""
    files = sorted((shared_data / "clips" / "speech").iterdir())
    files = [file for file in files if soundfile.info(file).samplerate == 16000][:3]
    lengths = [16000, 10240, 4801]
    samples = torch.zeros(3, 1, max(lengths))
    for index, (file, length) in enumerate(zip(files, lengths, strict=True)):
        audio, _ = soundfile.read(file, dtype="float32", start=16000, frames=length)
        samples[index, 0, :length] = torch.from_numpy(audio)
    return AudioBatch(samples, torch.tensor(lengths), 16000)


def decoded(codec, encoded) -> torch.Tensor:
    wanted = codec.decoder_input(encoded, CODES, [0] * encoded.clips)
    return codec.decode(wanted).samples


@needs_litert
def test_lyra_keeps_the_rules_of_codecs(models: Path, speech: AudioBatch) -> None:
    check_codec(Lyra(models=models, points=[3.2, 9.2]), audio=speech)


@needs_litert
def test_the_rates_are_googles(models: Path, speech: AudioBatch) -> None:
    codec = Lyra(models=models)
    assert [point.name for point in codec.points] == ["3.2", "6", "9.2"]
    top = codec.encode(speech, codec.points[-1])
    for point, bits_per_frame in zip(codec.points, (64, 120, 184), strict=True):
        cut = codec.at(top, point)
        # 1 s and 0.64 s are whole hops of 20 ms; 4801 samples take sixteen of them
        bits = [rate.bits for rate in rates(cut)[RateKind.NOMINAL]]
        assert bits == [50 * bits_per_frame, 32 * bits_per_frame, 16 * bits_per_frame]
    assert rates(top)[RateKind.NOMINAL][0].kbps == pytest.approx(9.2)


@needs_litert
def test_all_46_rates_can_be_asked_for(models: Path) -> None:
    codec = Lyra(models=models, points=[k / 5 for k in range(1, 47)])
    assert [point.settings["codebooks"] for point in codec.points] == list(range(1, 47))
    assert codec.points[14].name == "3"
    with pytest.raises(CodecError, match=r"nearest is '9\.2'"):
        Lyra(models=models, points=[12])


@needs_litert
def test_cutting_equals_encoding_at_the_lower_point(models: Path, speech: AudioBatch) -> None:
    codec = Lyra(models=models)
    low, top = codec.points[0], codec.points[-1]
    cut = codec.at(codec.encode(speech, top), low).payload.streams[0]
    direct = codec.encode(speech, low).payload.streams[0]
    assert torch.equal(cut.codes, direct.codes)
    assert cut.codebook_sizes == direct.codebook_sizes == (16,) * 16
    assert len(torch.unique(cut.codes)) == 16
    with pytest.raises(CodecError, match=r"cannot cut 16 codebooks to point '9\.2' of 46"):
        codec.at(codec.encode(speech, low), top)


@needs_litert
def test_codes_and_audio_are_those_of_the_models_called_directly(
    models: Path, speech: AudioBatch
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    def model(name: str):
        return Interpreter(model_path=str(models / f"{name}.tflite"), num_threads=1)

    encoder = model("soundstream_encoder").get_signature_runner()
    quantizer, decoder = model("quantizer"), model("lyragan").get_signature_runner()
    quantize = quantizer.get_signature_runner("encode")
    dequantize = quantizer.get_signature_runner("decode")
    codes, audio = [], []
    for hop in speech.samples[0, 0].reshape(-1, 1, 320).numpy():
        features = encoder(input_audio=hop)["output_0"]
        indices = quantize(input_frames=features, num_quantizers=np.int32(30))["output_0"]
        codes.append(indices.reshape(46)[:30])
        back = dequantize(encoding_indices=indices)["output_0"]
        audio.append(decoder(input_audio=back)["output_0"].reshape(-1))

    codec = Lyra(models=models, points=[6])
    encoded = codec.encode(speech.select([0]), codec.points[0])
    assert np.array_equal(encoded.payload.streams[0].codes[0].numpy(), np.stack(codes, axis=1))
    assert np.array_equal(decoded(codec, encoded)[0, 0].numpy(), np.concatenate(audio))


@needs_litert
def test_more_codebooks_come_closer_to_the_reference(models: Path, speech: AudioBatch) -> None:
    codec = Lyra(models=models, points=[0.4, 3.2, 9.2])
    top = codec.encode(speech, codec.points[-1])
    window = torch.hann_window(512)

    def spectrum(samples: torch.Tensor) -> torch.Tensor:
        magnitude = torch.stft(samples[0, 0], 512, window=window, return_complex=True).abs()
        return 20 * torch.log10(magnitude.clamp_min(1e-3))

    reference = spectrum(speech.samples)
    distance = [
        float((spectrum(decoded(codec, codec.at(top, point))) - reference).square().mean().sqrt())
        for point in codec.points
    ]
    assert distance[0] > distance[1] + 0.5
    assert distance[1] > distance[2]


@needs_litert
def test_what_lyra_does_not_take_is_one_sentence(models: Path) -> None:
    codec = Lyra(models=models)
    point = codec.points[0]
    for audio, sentence in (
        (AudioBatch(torch.zeros(1, 1, 480), torch.tensor([480]), 48000), "does not take 48000 Hz"),
        (AudioBatch(torch.zeros(1, 2, 480), torch.tensor([480]), 16000), "takes mono, not 2"),
        (AudioBatch(torch.zeros(1, 1, 480), torch.tensor([0]), 16000), "it is empty"),
        (AudioBatch(torch.full((1, 1, 9), torch.nan), torch.tensor([9]), 16000), "holds NaN"),
    ):
        with pytest.raises(CodecError, match=sentence):
            codec.encode(audio, point)


@needs_litert
def test_one_sample_and_silence_come_back(models: Path) -> None:
    codec = Lyra(models=models)
    audio = AudioBatch(torch.zeros(2, 1, 700), torch.tensor([1, 700]), 16000)
    samples = decoded(codec, codec.encode(audio, codec.points[0]))
    assert samples.shape == (2, 1, 700)
    assert bool(samples.isfinite().all())
    assert float(samples.abs().max()) < 0.01


@needs_litert
def test_models_that_are_overwritten_change_no_codec_that_was_made(
    models: Path, tmp_path: Path
) -> None:
    for name in lyra.FILES:
        (tmp_path / name).write_bytes((models / name).read_bytes())
    codec = Lyra(models=tmp_path)
    audio = AudioBatch(torch.rand(1, 1, 640), torch.tensor([640]), 16000)
    before = codec.encode(audio, codec.points[0])
    for name in lyra.FILES:
        (tmp_path / name).write_bytes(b"another model")
    after = codec.encode(audio, codec.points[0])
    assert isinstance(before.payload, Tokens)
    assert isinstance(after.payload, Tokens)
    assert torch.equal(before.payload.streams[0].codes, after.payload.streams[0].codes)
    assert torch.equal(decoded(codec, before), decoded(codec, after))


@needs_litert
def test_the_models_are_part_of_the_identity(models: Path, tmp_path: Path) -> None:
    codec = Lyra(models=models)
    assert len(codec.info.weights_sha256) == 64
    assert pickle.loads(pickle.dumps(codec)).info == codec.info
    for name in lyra.FILES:
        (tmp_path / name).write_bytes((models / name).read_bytes())
    assert Lyra(models=tmp_path).info.weights_sha256 == codec.info.weights_sha256
    (tmp_path / lyra.FILES[1]).write_bytes(b"another model")
    assert Lyra(models=tmp_path).info.weights_sha256 != codec.info.weights_sha256
    other = Lyra(models=tmp_path)
    audio = AudioBatch(torch.zeros(1, 1, 320), torch.tensor([320]), 16000)
    with pytest.raises(WeightsError, match=r"quantizer\.tflite cannot be read as a TFLite model"):
        other.encode(audio, other.points[0])


@needs_litert
def test_missing_models_are_one_sentence_with_file_source_and_place(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"option `models`.*github\.com/google/lyra"):
        Lyra()
    (tmp_path / lyra.FILES[0]).write_bytes(b"")
    with pytest.raises(WeightsError) as caught:
        Lyra(models=tmp_path)
    for part in ("quantizer.tflite", "github.com/google/lyra", str(tmp_path)):
        assert part in str(caught.value)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lyra, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rdbench\[lyra\]'"):
        Lyra(models="anywhere")
