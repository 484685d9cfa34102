"""Similarity of voices against a direct call of the package."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rdbench.metrics.registry import backend
from rdbench.types import Status

KEY = "speaker_xvector"


def test_values_are_the_packages_and_no_clip_depends_on_another(saved, voices, by_model) -> None:
    from transformers import Wav2Vec2FeatureExtractor, WavLMForXVector

    folder = saved("xvector")
    model = WavLMForXVector.from_pretrained(folder).eval()
    extract = Wav2Vec2FeatureExtractor.from_pretrained(folder)

    def vector(clip: np.ndarray) -> torch.Tensor:
        made = extract(clip, sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            return model(made.input_values).embeddings[0]

    pairs = [(voices(0, 1.2), voices(1, 1.2)), (voices(2, 0.8), voices(3, 0.8))]
    expected = [
        float(torch.nn.functional.cosine_similarity(vector(a), vector(b), dim=0)) for a, b in pairs
    ]
    first, second = zip(*pairs, strict=True)
    found = by_model(KEY, list(first), list(second), weights=str(folder))
    assert [one.value for one in found] == pytest.approx(expected, abs=1e-5)
    assert max(expected) < 0.9999
    same = by_model(KEY, list(first), list(first), weights=str(folder))
    assert [one.value for one in same] == pytest.approx([1.0, 1.0])


def test_channels_are_averaged_and_silence_has_no_voice(saved, voices, by_model) -> None:
    options = {"weights": str(saved("xvector"))}
    a, b, c = (voices(seed, 0.6) for seed in range(3))
    left, right = (by_model(KEY, [a], [one], **options)[0].value for one in (b, c))
    stereo = by_model(KEY, [np.stack([a, a])], [np.stack([b, c])], **options)[0]
    assert stereo.value == pytest.approx((left + right) / 2, abs=1e-6)
    silent = by_model(KEY, [0 * a], [a], **options)[0]
    assert (silent.status, silent.reason) == (Status.UNDEFINED, "the reference is silent")
    broken = by_model(KEY, [a, a], [a * np.nan, a], **options)
    assert [one.status for one in broken] == [Status.FAILED, Status.OK]


def test_the_hash_is_of_all_files_that_are_read(saved, tmp_path) -> None:
    import shutil

    folder = shutil.copytree(saved("xvector"), tmp_path / "model")
    before = backend(KEY, options={"weights": str(folder)}).model_sha256
    (folder / "README.md").write_text("not read")
    assert backend(KEY, options={"weights": str(folder)}).model_sha256 == before
    said = (folder / "preprocessor_config.json").read_text()
    (folder / "preprocessor_config.json").write_text(said.replace("false", "true"))
    assert backend(KEY, options={"weights": str(folder)}).model_sha256 != before
