"""UTMOS, SCOREQ, NISQA and Audiobox aesthetics against direct calls of their packages.

The models are of the packages' classes, some of their sizes smaller, with seeded weights in a file
of the published form.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rdbench.metrics.registry import backend
from rdbench.types import SpecError, Status, WeightsError

WAV2VEC = {
    "encoder_layers": 1,
    "encoder_ffn_embed_dim": 16,
    "conv_pos": 16,
    "conv_feature_layers": "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] + [(16, 2, 2)]",
}
NISQA = {
    "cnn_pool_1": [24, 7], "cnn_pool_2": [12, 5], "cnn_pool_3": [6, 3], "cnn_dropout": 0.2,
    "cnn_kernel_size": [3, 3], "cnn_c_out_1": 4, "cnn_c_out_2": 4, "cnn_c_out_3": 8,
    "td_sa_d_model": 8, "td_sa_nhead": 1, "td_sa_h": 8, "td_sa_num_layers": 1,
    "td_sa_dropout": 0.1, "pool_att_h": 8, "pool_att_dropout": 0.1, "ms_n_fft": 4096,
    "ms_hop_length": 0.01, "ms_win_length": 0.02, "ms_n_mels": 48, "ms_fmax": 20000,
    "ms_seg_length": 15, "ms_seg_hop_length": 4, "ms_max_segments": 40,
}  # fmt: skip


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


def values(scores) -> list[float]:
    return [one.value for one in scores]


def surplus(state: dict, prefix: str) -> dict:
    """As published files are: with what only training uses."""
    return state | {f"{prefix}mask_emb": torch.zeros(4)}


def test_utmos_is_that_of_the_package(tmp_path, monkeypatch, voices, by_model) -> None:
    package = pytest.importorskip("utmos_pytorch.utmos_torch", reason="pip install 'rdbench[mos]'")
    config = package.Wav2Vec2Config
    monkeypatch.setattr(package, "Wav2Vec2Config", lambda: config(**WAV2VEC))
    file = tmp_path / "utmos.pt"
    state = package.UTMOSModel().state_dict()
    torch.save(surplus(state, "feature_extractors.0.ssl_model."), file)
    theirs, clips = package.UTMOSScoreTorch(str(file)), [voices(0, 0.8), voices(1, 0.6)]
    expected = [float(theirs.score(torch.from_numpy(clip))) for clip in clips]
    assert abs(expected[0] - expected[1]) > 1e-4
    assert values(by_model("utmos", None, clips, weights=str(file))) == pytest.approx(
        expected, abs=1e-5
    )
    torch.save({k: v for k, v in state.items() if "decoder_rnn" not in k}, file)
    with pytest.raises(WeightsError, match=r"does not fit metric 'utmos': of .* missing"):
        by_model("utmos", None, clips, weights=str(file))


@pytest.mark.parametrize(("mode", "key"), [("nr", "scoreq"), ("ref", "scoreq_ref")])
def test_scoreq_is_that_of_the_package(
    mode, key, *, tmp_path, monkeypatch, voices, by_model
) -> None:
    package = pytest.importorskip(
        "scoreq_pytorch.scoreq_torch", reason="pip install 'rdbench[mos]'"
    )
    config = package.Wav2Vec2Config
    monkeypatch.setattr(package, "Wav2Vec2Config", lambda: config(**WAV2VEC))
    file = tmp_path / "scoreq.pt"
    torch.save(surplus(package.SCOREQModel(mode).model.state_dict(), "ssl_model."), file)
    theirs = package.SCOREQScoreTorch(str(file), mode=mode)
    first, second = [voices(0, 0.81), voices(1, 0.6)], [voices(2, 0.81), voices(3, 0.6)]
    expected = [
        float(theirs.score(*(torch.from_numpy(one) for one in pair[: 1 + (mode == "ref")])))
        for pair in zip(second, first, strict=True)
    ]
    references = first if mode == "ref" else None
    found = by_model(key, references, second, weights=str(file))
    assert values(found) == pytest.approx(expected, abs=1e-5)
    assert abs(expected[0] - expected[1]) > 1e-5


def test_nisqa_is_that_of_torchmetrics_and_ends_where_its_windows_do(
    tmp_path, monkeypatch, voices, by_model
) -> None:
    pytest.importorskip("torchmetrics", reason="pip install 'rdbench[mos]'")
    from torchmetrics.functional.audio import nisqa

    file = tmp_path / "nisqa.tar"
    state = nisqa._NISQADIM(NISQA).state_dict()
    torch.save({"args": NISQA, "model_state_dict": state, "epoch": 1}, file)
    monkeypatch.setattr(nisqa, "NISQA_DIR", str(tmp_path))
    nisqa._load_nisqa_model.cache_clear()
    clips = [voices(0, 0.8, 48000), voices(1, 1.1, 48000), voices(2, 0.8, 48000)]
    expected = [
        nisqa.non_intrusive_speech_quality_assessment(torch.from_numpy(clip), 48000).tolist()
        for clip in clips
    ]
    nisqa._load_nisqa_model.cache_clear()
    keys = ("nisqa", "noisiness", "discontinuity", "coloration", "loudness")
    for place, key in enumerate(keys):
        full = key if key == "nisqa" else f"nisqa_{key}"
        found = by_model(full, None, clips, weights=str(file))
        assert values(found) == pytest.approx([one[place] for one in expected], abs=1e-5)
    longest = NISQA["ms_max_segments"] * 4 + 13
    ends = [voices(0, 0.01 * count, 48000)[: 480 * count + 479] for count in (longest, longest + 1)]
    last, past = (by_model("nisqa", None, [one], weights=str(file))[0] for one in ends)
    assert (last.status, past.status) == (Status.OK, Status.UNDEFINED)
    torch.save({"weights": 1}, file)
    with pytest.raises(WeightsError, match="is not NISQA's file of weights"):
        by_model("nisqa", None, clips, weights=str(file))


def test_audiobox_is_that_of_the_package(tmp_path, monkeypatch, voices, by_model) -> None:
    pytest.importorskip("audiobox_aesthetics", reason="pip install 'rdbench[aesthetics]'")
    from audiobox_aesthetics import infer
    from audiobox_aesthetics.model import aes

    small = dict(vars(aes.DEFAULT_AUDIO_CFG)) | {
        "encoder_layers": 1, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 16,
        "encoder_attention_heads": 2, "conv_pos": 16, "conv_pos_groups": 2,
        "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2",
    }  # fmt: skip
    monkeypatch.setattr(aes, "DEFAULT_AUDIO_CFG", aes.WavLMConfig(small))
    scales = {axis: {"mean": 5.0 + n, "std": 1.0 + n} for n, axis in enumerate(aes.AXES_NAME)}
    model = aes.AesMultiOutput(nth_layer=2, target_transform=scales).eval()
    model.save_pretrained(tmp_path)
    predictor = infer.AesPredictor.__new__(infer.AesPredictor)
    predictor.device, predictor.sample_rate, predictor.data_col = "cpu", 16000, "path"
    predictor.model = model
    predictor.target_transform = {axis: aes.Normalize(**said) for axis, said in scales.items()}
    clips = [voices(0, 11.0), voices(1, 1.0)]
    expected = [
        predictor.forward([{"path": torch.from_numpy(clip)[None], "sample_rate": 16000}])[0]
        for clip in clips
    ]
    for key, axis in (("quality", "PQ"), ("complexity", "PC"), ("enjoyment", "CE"),
                      ("usefulness", "CU")):  # fmt: skip
        found = by_model(f"audiobox_{key}", None, clips, weights=str(tmp_path))
        assert values(found) == pytest.approx([one[axis] for one in expected], abs=1e-4)
    said = json.loads((tmp_path / "config.json").read_text())
    del said["target_transform"]
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(WeightsError, match="no configuration of Audiobox"):
        by_model("audiobox_quality", None, clips, weights=str(tmp_path))


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("utmos", "utmos_state_dict.pt"),
        ("scoreq", "scoreq_natural_nr_state_dict.pt"),
        ("scoreq_ref", "scoreq_natural_ref_state_dict.pt"),
        ("nisqa", "nisqa.tar"),
        ("audiobox_quality", "config.json and model.safetensors"),
    ],
)
def test_without_weights_it_says_which_file_and_from_where(key: str, file: str) -> None:
    with pytest.raises(SpecError, match=rf"metric '{key}' needs the option weights: .*{file}"):
        backend(key)
    with pytest.raises(SpecError, match="there is no model file"):
        backend(key, options={"weights": str(Path("none") / "there.pt")})
