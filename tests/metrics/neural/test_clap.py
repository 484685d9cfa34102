"""CLAP scores of a small model of the real class, against direct calls of the package."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rdbench.metrics.registry import backend
from rdbench.types import Score, Status, WeightsError

transformers = pytest.importorskip("transformers", reason="pip install 'rdbench[transformers]'")
RATE = 48_000
TEXTS = ("rain on a tin roof", "a dog")


@pytest.fixture(scope="module")
def clips(voices: Callable[..., np.ndarray]) -> list[np.ndarray]:
    """One of two windows, and one that is repeated until it fills one."""
    return [voices(0, 15.5, RATE), voices(1, 3.0, RATE)]


def cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(first.double(), second.double()).mean())


def heard(folder: Path, *windows: np.ndarray) -> torch.Tensor:
    """The package's own way from windows to embeddings."""
    model = transformers.ClapModel.from_pretrained(folder).eval()
    extractor = transformers.ClapFeatureExtractor.from_pretrained(folder)
    given = extractor(list(windows), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        return model.get_audio_features(given["input_features"]).pooler_output


def spelt(folder: Path, text: str) -> torch.Tensor:
    """The same of a text, by the tokenizer of transformers."""
    model = transformers.ClapModel.from_pretrained(folder).eval()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    given = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        return model.get_text_features(
            given["input_ids"], attention_mask=given["attention_mask"]
        ).pooler_output


def test_scores_are_mean_cosines_of_what_the_package_makes(
    saved: Callable[[str], Path], clips: list[np.ndarray], by_model: Callable[..., list[Score]]
) -> None:
    folder = saved("clap")
    long, short = clips
    windows = (long[: 10 * RATE], long[5 * RATE : 15 * RATE])
    embedded = heard(folder, *windows), heard(folder, short)
    texts = [spelt(folder, text) for text in TEXTS]
    options = {"weights": str(folder)}
    found = by_model("clap_text", clips, clips, list(TEXTS), **options)
    expected = [cosine(a, t) for a, t in zip(embedded, texts, strict=True)]
    assert [one.value for one in found] == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 3) for value in expected}) == 2

    worse = [0.1 * clip + 0.1 * clip**2 for clip in clips]
    found = by_model("clap_audio", clips, worse, **options)
    changed = heard(folder, *(0.1 * one + 0.1 * one**2 for one in windows))
    assert found[0].value == pytest.approx(cosine(embedded[0], changed), abs=1e-5)
    assert found[0].value < 1
    same = by_model("clap_audio", clips, clips, **options)
    assert [one.value for one in same] == pytest.approx([1.0, 1.0])


def test_texts_that_are_absent_or_too_long_have_no_score(
    saved: Callable[[str], Path], clips: list[np.ndarray], by_model: Callable[..., list[Score]]
) -> None:
    short = clips[1:] * 2
    missing = Score.undefined("it has no text")
    found = by_model(
        "clap_text", short, short, [missing, "a dog " * 300], weights=str(saved("clap"))
    )
    assert [one.status for one in found] == [Status.UNDEFINED] * 2
    assert found[0].reason == "it has no text"
    assert "tokens, and the model reads 512" in found[1].reason


def test_what_spells_a_text_is_wanted_by_the_score_that_reads_one(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(saved("clap"), tmp_path / "clap")
    (folder / "tokenizer.json").unlink()
    options: dict[str, Any] = {"weights": str(folder)}
    backend("clap_audio", options=options)
    with pytest.raises(WeightsError, match=r"has no tokenizer\.json; copy it from where"):
        backend("clap_text", options=options)
