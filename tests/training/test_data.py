"""Crops: deterministic, in proportion to length, and never from unusable audio."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from rdbench.audio.corpus import folder_corpus
from rdbench.training.data import CropData
from rdbench.types import AudioError, ChangedError

RATE = 8000


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> None:
    soundfile.write(path, samples, rate, subtype=subtype)


def noise(seconds: float, seed: int = 0, channels: int = 1, rate: int = RATE) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return 0.1 * generator.standard_normal((round(seconds * rate), channels))


def data(folder: Path, **options: object) -> CropData:
    values = {"sample_rate": RATE, "channels": 1, "crop": 1000} | options
    return CropData(folder_corpus(folder), **values)  # type: ignore[arg-type]


def test_crops_depend_on_seed_step_and_rank_alone(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path / f"{seed}.wav", noise(1.0, seed))
    crops = data(tmp_path)
    first = crops.batch(seed=1, step=5, size=4)
    assert first.shape == (4, 1, 1000)
    crops.batch(seed=1, step=6, size=4)
    assert torch.equal(first, crops.batch(seed=1, step=5, size=4))
    assert torch.equal(first, data(tmp_path, cache_mib=0).batch(seed=1, step=5, size=4))
    for other in ({"seed": 2}, {"step": 6}, {"rank": 1}):
        changed = {"seed": 1, "step": 5, "rank": 0} | other
        assert not torch.equal(first, crops.batch(size=4, **changed))


def test_a_clip_that_is_overwritten_is_trained_on_no_more(tmp_path: Path) -> None:
    write(tmp_path / "ramp.wav", np.linspace(0.1, 0.9, 4000))
    made = data(tmp_path, cache_mib=0)
    made.batch(seed=1, step=5, size=4)
    for path in tmp_path.glob("*.wav"):
        content = bytearray(path.read_bytes())
        content[1000] ^= 1
        path.write_bytes(content)
    with pytest.raises(ChangedError, match="was changed while the run went on"):
        made.batch(seed=1, step=5, size=4)


def test_a_crop_is_a_piece_of_a_clip(tmp_path: Path) -> None:
    write(tmp_path / "ramp.wav", np.linspace(0.1, 0.9, 4000))
    for crop in data(tmp_path).batch(seed=0, step=0, size=8)[:, 0]:
        steps = crop.diff()
        assert float(crop[0]) >= 0.09
        torch.testing.assert_close(steps, torch.full_like(steps, 0.8 / 3999), atol=4e-5, rtol=0)


def test_long_clips_are_chosen_more_often(tmp_path: Path) -> None:
    write(tmp_path / "long.wav", np.full(9 * RATE, 0.5))
    write(tmp_path / "short.wav", np.full(RATE, 0.1))
    levels = data(tmp_path).batch(seed=0, step=0, size=400).mean((1, 2))
    assert 0.85 < float((levels > 0.3).float().mean()) < 0.95


def test_other_rates_and_layouts_are_converted(tmp_path: Path) -> None:
    write(tmp_path / "stereo.wav", noise(1.0, channels=2, rate=16000), 16000)
    assert data(tmp_path).batch(seed=0, step=0, size=2).shape == (2, 1, 1000)
    assert data(tmp_path, channels=2).batch(seed=0, step=0, size=2).shape == (2, 2, 1000)


def test_unusable_clips_are_left_out_with_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "good.wav", noise(1.0))
    write(tmp_path / "short.wav", noise(0.05))
    write(tmp_path / "silent.wav", np.zeros(RATE))
    broken = noise(1.0)
    broken[100] = np.nan
    write(tmp_path / "nan.wav", broken, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no audio")
    with caplog.at_level(logging.WARNING):
        crops = data(tmp_path)
    assert crops.clips == 1
    notes = "\n".join(caplog.messages)
    for name in ("short.wav", "silent.wav", "nan.wav", "text.wav"):
        assert name in notes
    assert "good.wav" not in notes
    assert bool(torch.isfinite(crops.batch(seed=0, step=0, size=4)).all())


def test_a_corpus_of_silence_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "silent.wav", np.zeros(RATE))
    with pytest.raises(AudioError, match="no clip to train on"):
        data(tmp_path)


def test_silent_parts_are_drawn_again(tmp_path: Path) -> None:
    audio = np.zeros((8 * RATE, 1))
    audio[: RATE * 2] = noise(2.0)
    write(tmp_path / "half.wav", audio)
    levels = data(tmp_path).batch(seed=0, step=0, size=64).square().mean((1, 2)).sqrt()
    assert float(levels.min()) > 1e-3


def test_the_hash_names_the_audio(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise(1.0))
    first = data(tmp_path).sha256
    assert data(tmp_path).sha256 == first
    write(tmp_path / "a.wav", noise(1.0, seed=1))
    assert data(tmp_path).sha256 != first
