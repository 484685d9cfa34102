"""The SpeechTokenizer adapter, on seeded weights in the layout in which its authors publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rdbench.codecs.neural.speechtokenizer import SpeechTokenizerCodec
from rdbench.codecs.neural.trained import probe
from rdbench.codecs.testing import check_codec, example_audio
from rdbench.rate import rates
from rdbench.types import CODES, CodecError, RateKind, Tokens, WeightsError

package = pytest.importorskip(
    "speechtokenizer", reason="pip install 'rdbench[speechtokenizer]'", exc_type=ImportError
)

CONFIG: dict[str, Any] = {
    "n_filters": 8,
    "strides": [8, 5, 4, 2],
    "dimension": 64,
    "semantic_dimension": 48,
    "bidirectional": True,
    "dilation_base": 2,
    "residual_kernel_size": 3,
    "n_residual_layers": 1,
    "lstm_layers": 2,
    "activation": "ELU",
    "sample_rate": 16_000,
    "codebook_size": 1024,
    "n_q": 8,
    "batch_size": 8,  # of the training, with much else
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speechtokenizer")
    torch.manual_seed(4)
    model = package.SpeechTokenizer(CONFIG).eval()
    with torch.no_grad():  # a random encoder's output is nearly constant
        latents = model.encoder(probe(16_000, 1, seconds=1.0).samples)[0]
        last = model.encoder.model[-1].conv.conv
        center, spread = latents.mean(1), latents.std(1).mean()
        last.weight_g /= spread
        last.bias.copy_((last.bias - center) / spread)
        for index, layer in enumerate(model.quantizer.vq.layers):
            layer._codebook.embed.normal_(std=0.9**index)
            layer._codebook.inited.fill_(1)
    (path / "config.json").write_text(json.dumps(CONFIG))
    torch.save(model.state_dict(), path / "SpeechTokenizer.pt")
    return path


@pytest.fixture(scope="module")
def codec(folder: Path) -> SpeechTokenizerCodec:
    return SpeechTokenizerCodec(weights=folder)


def test_it_passes_the_codec_checks(folder: Path) -> None:
    check_codec(SpeechTokenizerCodec(weights=folder, points=["q1", "q3", "q8"]), seconds=0.3)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_codes_and_audio_are_those_of_the_package(
    n: int, codec: SpeechTokenizerCodec, folder: Path
) -> None:
    model = package.SpeechTokenizer.load_from_checkpoint(
        folder / "config.json", folder / "SpeechTokenizer.pt"
    ).eval()
    audio = example_audio(codec)
    encoded = codec.at(codec.encode(audio, codec.points[-1]), codec.point(f"q{n}"))
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0] * audio.clips))
    assert isinstance(encoded.payload, Tokens)
    clip, length = 1, int(audio.lengths[1])
    with torch.inference_mode():
        codes = model.encode(audio.samples[clip : clip + 1, :, :length], n_q=n)
        expected = model.decode(codes)[0, :, :length]
    stream = encoded.payload.streams[0]
    assert torch.equal(stream.codes[clip, :, : codes.shape[-1]], codes[:, 0])
    torch.testing.assert_close(decoded.samples[clip, :, :length], expected, atol=1e-5, rtol=0)
    assert expected.abs().max() > 1e-4


def test_every_number_of_codebooks_is_a_point_at_its_rate(codec: SpeechTokenizerCodec) -> None:
    audio = example_audio(codec).select([0])
    assert int(audio.lengths[0]) % 320 == 0
    full = codec.encode(audio, codec.points[-1])
    for n, point in enumerate(codec.points, 1):
        (rate,) = rates(codec.at(full, point))[RateKind.NOMINAL]
        assert rate.kbps == pytest.approx(0.5 * n)
        assert point.target_kbps == pytest.approx(0.5 * n)
    assert n == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"codebook_size": 512}, "does not fit codec 'speechtokenizer'"),
        ({"n_q": 9}, "does not fit codec 'speechtokenizer'"),
        ({"strides": [8, 5, 4]}, "does not fit codec 'speechtokenizer'"),
        ({"n_filters": 0}, "n_filters"),
        ({"dimension": 16_384, "n_filters": 16_384}, "more than the"),
        ({"activation": "exec"}, "activation"),
    ],
)
def test_a_config_that_contradicts_the_weights_is_refused(
    change: dict[str, Any], said: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | change))
    (tmp_path / "SpeechTokenizer.pt").symlink_to(folder / "SpeechTokenizer.pt")
    with pytest.raises(WeightsError, match=said):
        SpeechTokenizerCodec(weights=tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="needs the option weights"):
        SpeechTokenizerCodec()
    with pytest.raises(WeightsError, match=r"has no config\.json; fetch it from"):
        SpeechTokenizerCodec(weights=tmp_path)
