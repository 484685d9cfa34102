"""Reference statistics: what is saved, when it is used, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.metrics.base import SetBackend
from rdbench.metrics.registry import backend
from rdbench.metrics.sets.saved import read_saved
from rdbench.types import AudioBatch, SpecError

RATE = 16_000
CLIPS = 24  # which every metric of sets takes


def noise(seed: int, clips: int, gain: float = 0.1) -> torch.Tensor:
    made = torch.randn((clips, 1, RATE), generator=torch.Generator().manual_seed(seed))
    return gain * made


def saved(folder: Path, *more: str, clips: int = CLIPS) -> Path:
    """Statistics of clips of noise, as the command makes them."""
    for number, clip in enumerate(noise(1, clips)):
        soundfile.write(folder / f"{number}.wav", clip[0].numpy(), RATE, subtype="FLOAT")
    out = folder / "noise.safetensors"
    asked = ["reference-stats", str(folder), "--metric", "kernel_logmel", "--out", str(out)]
    done = CliRunner().invoke(app, [*asked, "--sample-rate", str(RATE), *more])
    assert done.exit_code == 0, done.output
    assert f"{2 * clips} windows of {clips} clips at 16000 Hz, logmel" in done.output
    return out


def value(key: str, audio: torch.Tensor, **options: str) -> float:
    metric = backend(key, options=options)
    assert isinstance(metric, SetBackend)
    batch = AudioBatch(audio, torch.full((len(audio),), audio.shape[-1]), RATE)
    groups = [metric.summary([one]) for one in metric.feature(batch)]
    distance = metric.distance(reference=groups, reconstruction=groups)
    return float(distance(np.ones((1, len(groups))))[0])


@pytest.mark.parametrize("key", ["frechet_logmel", "kernel_logmel", "frechet_inf_logmel"])
def test_one_file_serves_every_metric_of_its_embedding(tmp_path: Path, key: str) -> None:
    file = str(saved(tmp_path))
    near, far = (value(key, noise(2, 6, gain), reference=file) for gain in (0.1, 0.05))
    assert abs(near) < 0.1 * far
    assert value(key, noise(2, 6)) == pytest.approx(0.0, abs=1e-6)


def test_its_hash_is_part_of_what_a_value_depends_on(tmp_path: Path) -> None:
    file = saved(tmp_path, "--name", "white noise")
    metric = backend("frechet_logmel", options={"reference": str(file)})
    digest = read_saved(file, key="frechet_logmel").sha256
    assert metric.version == f"1, reference white noise, sha256 {digest}"
    assert metric.files == {file: digest}
    assert backend("frechet_logmel").version == "1"


def test_audio_at_another_rate_is_not_compared(tmp_path: Path) -> None:
    metric = backend("frechet_logmel", options={"reference": str(saved(tmp_path))})
    assert isinstance(metric, SetBackend)
    metric.check_rate(RATE)
    with pytest.raises(SpecError, match=r"is of 16000 Hz, and the clips come at 24000 Hz; save"):
        metric.check_rate(24_000)


@pytest.mark.parametrize("key", ["frechet_logmel", "kernel_logmel"])
def test_what_is_not_there_or_of_something_else_is_one_sentence(tmp_path: Path, key: str) -> None:
    with pytest.raises(SpecError, match=r"absent\.safetensors cannot be read"):
        backend(key, options={"reference": str(tmp_path / "absent.safetensors")})
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"no statistics")
    with pytest.raises(SpecError, match="holds no reference statistics"):
        backend(key, options={"reference": str(other)})


def test_statistics_of_another_embedding_are_refused(tmp_path: Path) -> None:
    file = str(saved(tmp_path))
    weights = tmp_path / "weights.th"
    weights.write_bytes(b"weights")
    with pytest.raises(SpecError, match=r"is of logmel \(1\), not of encodec \(.*sha256"):
        backend("frechet_encodec", options={"reference": file, "weights": str(weights)})


def test_a_reference_of_fewer_clips_than_a_metric_needs_is_refused(tmp_path: Path) -> None:
    file = str(saved(tmp_path, clips=12))
    backend("kernel_logmel", options={"reference": file})
    with pytest.raises(SpecError, match="is of 12 clips, and 24 are needed; save it again"):
        backend("frechet_inf_logmel", options={"reference": file})


def test_a_rate_and_two_clips_are_needed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", noise(1, 1)[0, 0].numpy(), RATE)
    asked = ["reference-stats", str(tmp_path), "--metric", "frechet_logmel"]
    asked += ["--out", str(tmp_path / "x.safetensors")]
    few = "1 of 1 clips are long enough for logmel, and the metric needs references of 2"
    for more, said in ([], "say with --sample-rate"), (["--sample-rate", "16000"], few):
        done = CliRunner().invoke(app, [*asked, *more])
        assert isinstance(done.exception, SpecError)
        assert said in str(done.exception)
