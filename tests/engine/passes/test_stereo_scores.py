"""A stereo clip's ViSQOL is that of its downmix, by either backend, and its SNR an average."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from engine_runs import rows, run

from rdbench.codecs.anchors import LowPass
from rdbench.types import CODES, AudioBatch

RATE = 48000


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """A voice at two levels, and in one channel the hiss that a low-pass takes."""
    generator = np.random.default_rng(3)
    time = np.arange(RATE + RATE // 4) / RATE
    voice = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 12))
    hiss = generator.standard_normal(len(time))
    return (0.05 * np.stack([voice, 0.3 * voice + hiss])).astype(np.float32)


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_visqol_is_of_the_downmix(backend: str, clip: np.ndarray, tmp_path: Path) -> None:
    from visqol import VisqolApi

    corpus = tmp_path / "clips"
    corpus.mkdir()
    soundfile.write(corpus / "clip.wav", clip.T, RATE, subtype="FLOAT")
    run(
        corpus, tmp_path / "run", {"codec": "lowpass", "points": [3500]},
        spec={
            "protocol": {"sample_rate": RATE, "channels": "stereo", "excerpt_seconds": None},
            "metrics": {"default": [{"key": "visqol_audio", "backend": backend}]},
        },
    )  # fmt: skip
    (found,) = rows(tmp_path / "run", key="visqol_audio").itertuples()

    codec = LowPass(points=[3500])
    batch = AudioBatch(torch.from_numpy(clip)[None], torch.tensor([clip.shape[-1]]), RATE)
    encoded = codec.encode(batch, codec.points[0])
    coded = codec.decode(codec.decoder_input(encoded, CODES, [0])).samples[0].numpy()
    api = VisqolApi()
    api.create(mode="audio")

    def package(reference: np.ndarray, reconstruction: np.ndarray) -> float:
        return float(api.measure_from_arrays(reference, reconstruction, RATE).moslqo)

    assert found.value == pytest.approx(package(clip.mean(axis=0), coded.mean(axis=0)), abs=1e-6)
    apart = [package(*pair) for pair in zip(clip, coded, strict=True)]
    assert abs(found.value - sum(apart) / 2) > 0.1
