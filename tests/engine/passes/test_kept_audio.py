"""Audio that a run keeps, and scores that are made from it without decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from rdbench.engine.measure.kept import FROM_KEPT
from rdbench.engine.run import RunOptions, RunSummary, run_benchmark
from rdbench.spec.model import BenchmarkSpec
from rdbench.store.audio import kept_audio, read_audio
from rdbench.store.reader import read_rows

RATE = 16000
SYSTEMS = ("identity", "fakes:Quantizer", "fakes:InPool")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept_clips")
    generator = np.random.default_rng(0)
    for name in ("one.wav", "two.wav"):
        samples = 0.2 * generator.standard_normal(RATE).clip(-4, 4)
        soundfile.write(folder / name, samples, RATE, subtype="PCM_16")
    return folder


def run(
    clips: Path,
    folder: Path,
    *codecs: str,
    metrics: tuple[str, ...] = ("si_sdr",),
    keep: bool = True,
    device: str = "cpu",
) -> RunSummary:
    systems: list[dict[str, Any]] = [{"codec": codec} for codec in codecs or SYSTEMS]
    spec = BenchmarkSpec.model_validate(
        {
            "name": "kept",
            "corpus": {"kind": "folder", "path": str(clips)},
            "protocol": {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": 1.0},
            "metrics": {"default": list(metrics)},
            "systems": systems,
            "costs": {"enabled": False},
        }
    )
    options = RunOptions(device=device, workers=1, allow_code=True, keep_audio=keep)
    return run_benchmark(spec, folder, options)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_every_reconstruction_and_reference_is_kept(
    clips: Path, tmp_path: Path, device: str
) -> None:
    run(clips, tmp_path, device=device)
    listed = kept_audio(tmp_path)
    counts = listed.groupby("system").size().to_dict()
    assert counts == {"": 2, "identity": 2, "Quantizer": 4, "InPool": 4}
    assert all(Path(path).parent == tmp_path / "audio" for path in listed["path"])
    by_system = listed[listed["clip"] == "one.wav"].groupby("system")["path"].agg(list)
    reference, _ = read_audio(by_system[""][0])
    original, _ = soundfile.read(clips / "one.wav", dtype="float32")
    np.testing.assert_array_equal(reference[0], original)
    np.testing.assert_array_equal(read_audio(by_system["identity"][0])[0], reference)
    here, there = (
        {str(read_audio(path)[0].tobytes()) for path in by_system[name]}
        for name in ("Quantizer", "InPool")
    )
    assert here == there


def test_scores_do_not_depend_on_whether_audio_is_kept(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path / "kept")
    run(clips, tmp_path / "plain", keep=False)
    pd.testing.assert_frame_equal(read_rows(tmp_path / "kept"), read_rows(tmp_path / "plain"))
    assert kept_audio(tmp_path / "plain").empty


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_new_metric_is_scored_from_kept_audio_without_decoding(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    codecs = ("fakes:Counted", "fakes:CountedInPool")
    mark = tmp_path / "decoded"
    monkeypatch.setenv("FAKES_MARK", str(mark))
    run(clips, tmp_path / "kept", *codecs, device=device)
    assert mark.read_text() == "x" * 8
    metrics = ("si_sdr", "lsd", "snr")
    run(clips, tmp_path / "plain", *codecs, metrics=metrics, keep=False)
    mark.unlink()
    summary = run(clips, tmp_path / "kept", *codecs, metrics=metrics, keep=False, device=device)
    assert summary.failed == 0
    assert not mark.exists()
    rows, plain = read_rows(tmp_path / "kept"), read_rows(tmp_path / "plain")
    rescored = rows["key"].isin(["lsd", "snr"])
    assert set(rows.loc[rescored, "reason"]) == {FROM_KEPT}
    assert set(rows.loc[~rescored, "reason"]) == {""}
    np.testing.assert_allclose(rows["value"], plain["value"], rtol=1e-5, atol=1e-5)


def test_a_finished_run_is_decoded_again_when_its_audio_is_asked_for(
    clips: Path, tmp_path: Path
) -> None:
    run(clips, tmp_path, keep=False)
    before = read_rows(tmp_path)
    summary = run(clips, tmp_path)
    assert summary.written == len(kept_audio(tmp_path)) == 12
    pd.testing.assert_frame_equal(before, read_rows(tmp_path))
    assert run(clips, tmp_path).written == 0


def test_a_deleted_file_is_made_again(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path)
    for path in kept_audio(tmp_path)["path"][:5]:
        Path(path).unlink()
    assert len(kept_audio(tmp_path)) == 7
    assert run(clips, tmp_path).written == 5
    assert len(kept_audio(tmp_path)) == 12


def test_audio_of_a_dropped_system_is_not_listed(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path)
    run(clips, tmp_path, "identity", keep=False)
    assert set(kept_audio(tmp_path)["system"]) == {"", "identity"}
    run(clips, tmp_path)
    assert len(kept_audio(tmp_path)) == 12


def test_a_clipped_damaged_or_swapped_file_is_decoded_again_for_a_new_metric(
    clips: Path, tmp_path: Path
) -> None:
    run(clips, tmp_path, "fakes:Loud", "fakes:Quantizer")
    other = 0.1 * np.random.default_rng(1).standard_normal(RATE)
    for number, path in enumerate(kept_audio(tmp_path).query("system == 'Quantizer'")["path"]):
        Path(path).write_bytes(b"fLaC")
        if number % 2:
            soundfile.write(path, other, RATE, subtype="PCM_24")
    run(clips, tmp_path, "fakes:Loud", "fakes:Quantizer", metrics=("si_sdr", "snr"), keep=False)
    rows = read_rows(tmp_path)
    assert set(rows["reason"]) == {""}
    assert set(rows["status"]) == {"ok"}


def test_what_cannot_be_decoded_has_no_audio(clips: Path, tmp_path: Path) -> None:
    codecs = ("identity", "fakes:Raises", "fakes:NotFinite")
    summary = run(clips, tmp_path, *codecs, device="cpu:0")
    listed = kept_audio(tmp_path)
    assert "Raises" not in set(listed["system"])
    assert len(listed[listed["system"] == "NotFinite"]) == 2
    assert summary.failed == (read_rows(tmp_path)["status"] == "failed").sum()
