"""Kept audio: what a file holds, and which files a run lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from rdbench.store.audio import Kept, kept_audio, kept_files, open_audio, read_audio, write_audio
from rdbench.store.schema import Kind, Row
from rdbench.store.writer import RunWriter
from rdbench.types import Status, StoreError


def row(unit_key: str, **changes: object) -> Row:
    values: dict[str, object] = {
        "unit_key": unit_key, "system": "opus", "curve": "opus", "point": "6", "variant": "codes",
        "clip": "a/b.wav", "domain": "speech", "group": "g", "seconds": 1.0, "kind": Kind.AUDIO,
        "key": "flac", "value": 0.5, "unit": "full scale", "backend": "", "status": Status.OK,
        "reason": "",
    }  # fmt: skip
    return Row(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_is_what_was_written_rounded_to_24_bits(tmp_path: Path, channels: int) -> None:
    generator = np.random.default_rng(0)
    samples = (0.3 * generator.standard_normal((channels, 5000))).clip(-1, 1).astype(np.float32)
    peak = write_audio(tmp_path, "key", samples, 44100)
    found, rate = read_audio(tmp_path / "key.flac")
    assert soundfile.info(tmp_path / "key.flac").subtype == "PCM_24"
    assert rate == 44100
    assert peak == np.abs(samples).max()
    top = (2**23 - 1) / 2**23
    expected = np.minimum(np.rint(samples.astype(np.float64) * 2**23) / 2**23, top)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_samples_on_the_24_bit_grid_come_back_bit_for_bit(tmp_path: Path) -> None:
    steps = np.random.default_rng(1).integers(-(2**23), 2**23, (1, 4000))
    samples = (steps / 2**23).astype(np.float32)
    write_audio(tmp_path, "key", samples, 16000)
    np.testing.assert_array_equal(read_audio(tmp_path / "key.flac")[0], samples)


def test_beyond_full_scale_a_file_is_clipped_and_says_so(tmp_path: Path) -> None:
    samples = np.array([[0.5, 1.25, -1.5, 0.25]], dtype=np.float32)
    peak = write_audio(tmp_path, "key", samples, 16000)
    assert peak == 1.5
    assert not Kept(tmp_path / "key.flac", peak).exact
    np.testing.assert_allclose(read_audio(tmp_path / "key.flac")[0], [[0.5, 1, -1, 0.25]], 2**-22)


def test_a_run_lists_files_that_are_there_and_asked_for(tmp_path: Path) -> None:
    samples = np.zeros((1, 400), dtype=np.float32)
    with RunWriter(tmp_path) as writer:
        folder = open_audio(tmp_path)
        for key in ("kept", "reference", "stale", "no_row"):
            write_audio(folder, key, samples, 16000)
        named = {"system": "", "curve": "", "point": "", "variant": ""}
        writer.append([row("kept"), row("reference", **named), row("stale"), row("gone")])
        writer.append([row("score", kind=Kind.METRIC, key="stoi")])
        writer.retire({"stale"})
    listed = kept_audio(tmp_path)
    assert list(listed.columns) == ["system", "curve", "point", "variant", "clip", "path"]
    assert listed["system"].tolist() == ["", "opus"]
    assert [Path(path).name for path in listed["path"]] == ["reference.flac", "kept.flac"]
    assert set(kept_files(tmp_path)) == {"kept", "reference"}


def test_a_run_without_audio_lists_none(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        writer.append([row("score", kind=Kind.METRIC, key="stoi")])
    assert kept_audio(tmp_path).empty
    assert kept_files(tmp_path) == {}


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.flac").write_bytes(b"fLaC" + bytes(50))
    with pytest.raises(StoreError, match="delete it and run again"):
        read_audio(tmp_path / "bad.flac")
