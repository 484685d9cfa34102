"""The clips that ship with rdbench are those that its script renders."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rdbench.audio.corpus import EMBEDDED
from rdbench.audio.render_embedded import UTTERANCES, Utterance, espeak_version, main, speak
from rdbench.audio.synthesizer import PIECES, RATE, Piece

STEP = 2.0**-15


def shipped(name: str) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(EMBEDDED / f"{name}.flac", always_2d=True)
    return samples.T, rate


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.name)
def test_the_synthesizer_plays_what_ships(piece: Piece) -> None:
    samples, rate = shipped(piece.name)
    assert rate == RATE
    rendered = piece.render()
    assert rendered.shape == samples.shape
    assert np.abs(rendered - samples).max() <= 1.01 * STEP  # rounding, and one libm's sine


@pytest.mark.parametrize("utterance", UTTERANCES, ids=lambda utterance: utterance.name)
def test_espeak_says_what_ships(utterance: Utterance) -> None:
    with (EMBEDDED / "manifest.csv").open(newline="") as stream:
        sources = {row["file"]: row["source"] for row in csv.DictReader(stream)}
    made_with = sources[f"{utterance.name}.flac"].split()[1]
    if espeak_version() != made_with:
        pytest.skip(f"espeak-ng is {espeak_version()}; the clips were made with {made_with}")
    samples, rate = shipped(utterance.name)
    rendered, rendered_rate = speak(utterance)
    assert (rate, samples.shape) == (rendered_rate, rendered.shape)
    assert np.abs(rendered - samples).max() <= 1.01 * STEP


def test_the_clips_are_small_and_within_full_scale() -> None:
    files = sorted(EMBEDDED.glob("*.flac"))
    assert sum(file.stat().st_size for file in files) <= 4_000_000
    for file in files:
        samples, rate = soundfile.read(file, always_2d=True)
        assert soundfile.info(file).subtype == "PCM_16"
        assert 3.2 <= len(samples) / rate <= 4.0
        assert 0.5 < np.abs(samples).max() < 0.8
        level = 20 * np.log10(np.sqrt(np.square(samples).mean()))
        assert -30 < level < -12


def test_the_script_says_how_it_is_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([str(tmp_path / "out")]) == 1
    assert "espeak-ng is not installed" in capsys.readouterr().err
