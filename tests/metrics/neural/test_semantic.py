"""Similarity of speech features against direct calls, and what time does to both scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rdbench.metrics.neural.semantic import similarities
from rdbench.metrics.registry import backend
from rdbench.types import SpecError


def test_values_are_those_of_the_packages_features(saved, voices, by_model) -> None:
    from transformers import HubertModel, Wav2Vec2FeatureExtractor

    folder = saved("hubert")
    model = HubertModel.from_pretrained(folder).eval()
    extract = Wav2Vec2FeatureExtractor.from_pretrained(folder)

    def features(clip: np.ndarray) -> torch.Tensor:
        made = extract(clip, sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            hidden = model(made.input_values, output_hidden_states=True).hidden_states[1][0]
        return torch.nn.functional.normalize(hidden, dim=-1)

    pairs = [(voices(0, 0.9), voices(1, 0.9)), (voices(2, 0.5), voices(3, 0.5))]
    options = {"weights": str(folder), "layer": 1}
    first, second = (list(side) for side in zip(*pairs, strict=True))
    for key, expected in {
        "semantic_similarity": [
            float((features(a) * features(b)).sum(-1).mean()) for a, b in pairs
        ],
        "speech_bert_score": [
            float((features(b) @ features(a).T).amax(1).mean()) for a, b in pairs
        ],
    }.items():
        found = by_model(key, first, second, **options)
        assert [one.value for one in found] == pytest.approx(expected, abs=1e-5)
        assert max(expected) < 0.9999
        assert by_model(key, first, first, **options)[0].value == pytest.approx(1.0)


def test_time_counts_for_one_of_the_two() -> None:
    features = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    late = similarities(features, features.roll(1, 0))
    assert float(late.amax(0).mean()) == pytest.approx(1.0)
    assert float(late.diagonal().mean()) < 0.5


@pytest.mark.parametrize("layer", [None, 3, -1, "1", True])
def test_a_layer_that_the_model_has_must_be_named(saved, layer) -> None:
    options = {"weights": str(saved("hubert"))} | ({} if layer is None else {"layer": layer})
    with pytest.raises(SpecError, match=r"the option layer is .*; name one from 0 to 2"):
        backend("speech_bert_score", options=options)
