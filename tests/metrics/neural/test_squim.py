"""SQUIM against direct calls of torchaudio's models, with seeded weights in their files' form."""

from __future__ import annotations

import pytest
import torch

from rdbench.metrics.registry import backend
from rdbench.types import SpecError, WeightsError


@pytest.fixture(scope="module")
def objective(tmp_path_factory):
    return _saved("squim_objective_base", tmp_path_factory.mktemp("squim") / "objective.pth")


@pytest.fixture(scope="module")
def subjective(tmp_path_factory):
    return _saved("squim_subjective_base", tmp_path_factory.mktemp("squim") / "subjective.pth")


def _saved(build, path):
    import torchaudio

    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = getattr(torchaudio.models, build)().eval()
    torch.save(model.state_dict(), path)
    return path, model


def test_estimates_are_the_models_and_share_one_pass(objective, voices, by_model, monkeypatch):
    from rdbench.metrics.neural.squim import SquimObjective

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


@pytest.mark.slow
def test_opinion_is_that_of_the_model_on_both(subjective, voices, by_model) -> None:
    path, model = subjective
    first, second = voices(0, 0.6), voices(1, 0.6)
    with torch.no_grad():
        expected = model(torch.from_numpy(second)[None], torch.from_numpy(first)[None]).item()
    found = by_model("squim_mos", [first], [second], weights=str(path))[0]
    assert found.value == pytest.approx(expected, abs=1e-4)


def test_another_file_or_none_is_one_sentence(objective, tmp_path, voices, by_model) -> None:
    with pytest.raises(SpecError, match=r"needs the option weights: the file squim_objective_dns20"):
        backend("squim_pesq")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="does not fit metric 'squim_stoi'"):
        by_model("squim_pesq", None, [voices(0, 0.6)], weights=str(tmp_path / "other.pth"))
    with pytest.raises(SpecError, match="there is no model file"):
        backend("squim_pesq", options={"weights": str(tmp_path / "none.pth")})
