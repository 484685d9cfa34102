"""SQUIM against direct calls of torchaudio's models, with seeded weights in their files' form."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torchaudio

from rdbench.metrics.registry import backend
from rdbench.types import SpecError, WeightsError


@pytest.fixture
def objective(tmp_path, monkeypatch):
    small = partial(
        torchaudio.models.squim_objective_model, feat_dim=16, win_len=64, d_model=16, nhead=2,
        hidden_dim=16, num_blocks=1, rnn_type="LSTM", chunk_size=71,
    )  # fmt: skip
    return _saved("squim_objective_base", small, tmp_path, monkeypatch)


@pytest.fixture
def subjective(tmp_path, monkeypatch):
    convolutions = [(16, 10, 5), (16, 3, 2), (16, 3, 2), (16, 3, 2), (16, 3, 2), (16, 2, 4)]
    speech = partial(
        torchaudio.models.wav2vec2_model, extractor_mode="group_norm",
        extractor_conv_layer_config=convolutions, extractor_conv_bias=False, encoder_embed_dim=24,
        encoder_projection_dropout=0.1, encoder_pos_conv_kernel=16, encoder_pos_conv_groups=2,
        encoder_num_layers=1, encoder_num_heads=2, encoder_attention_dropout=0.1,
        encoder_ff_interm_features=24, encoder_ff_interm_dropout=0.1, encoder_dropout=0.1,
        encoder_layer_norm_first=False, encoder_layer_drop=0.1, aux_num_out=None,
    )  # fmt: skip
    monkeypatch.setattr(torchaudio.models, "wav2vec2_base", speech)
    small = partial(
        torchaudio.models.squim_subjective_model,
        ssl_type="wav2vec2_base", feat_dim=24, proj_dim=8, att_dim=5,
    )  # fmt: skip
    return _saved("squim_subjective_base", small, tmp_path, monkeypatch)


def _saved(name, small, folder, monkeypatch):
    """A small model of the real class, and its file; the package's function now makes such."""
    monkeypatch.setattr(torchaudio.models, name, small)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = small().eval()
    torch.save(model.state_dict(), folder / "model.pth")
    return folder / "model.pth", model


def test_estimates_are_the_models_and_share_one_pass(objective, voices, by_model, monkeypatch):
    from rdbench.metrics.neural.opinion.squim import SquimObjective

    path, model = objective
    clips = [voices(0, 0.9), voices(1, 0.6)]
    with torch.no_grad():
        expected = [[float(one) for one in model(torch.from_numpy(c)[None])] for c in clips]
    for place, key in enumerate(SquimObjective.keys):
        found = by_model(key, None, clips, weights=str(path))
        assert [one.value for one in found] == pytest.approx([e[place] for e in expected], abs=1e-4)

    heard = []
    real = SquimObjective.hear
    monkeypatch.setattr(SquimObjective, "hear", lambda self, x: heard.append(1) or real(self, x))
    audio = _batch(clips[0])
    for key in SquimObjective.keys:
        backend(key, options={"weights": str(path)}).score(None, reconstruction=audio)
    assert len(heard) == 1


def _batch(clip):
    from rdbench.types import AudioBatch

    return AudioBatch(torch.from_numpy(clip)[None, None], torch.tensor([len(clip)]), 16000)


def test_opinion_is_that_of_the_model_on_both(subjective, voices, by_model) -> None:
    path, model = subjective
    first, second = voices(0, 0.6), voices(1, 0.6)
    with torch.no_grad():
        expected = model(torch.from_numpy(second)[None], torch.from_numpy(first)[None]).item()
    found = by_model("squim_mos", [first], [second], weights=str(path))[0]
    assert found.value == pytest.approx(expected, abs=1e-4)


def test_another_file_or_none_is_one_sentence(objective, tmp_path, voices, by_model) -> None:
    with pytest.raises(SpecError, match=r"needs the option weights: the file squim_obj"):
        backend("squim_pesq")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="does not fit metric 'squim_stoi'"):
        by_model("squim_pesq", None, [voices(0, 0.6)], weights=str(tmp_path / "other.pth"))
    with pytest.raises(SpecError, match="there is no model file"):
        backend("squim_pesq", options={"weights": str(tmp_path / "none.pth")})
