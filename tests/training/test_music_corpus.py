"""The music of `recipes/music_44k.yaml`: excerpts of pieces, and where they come from."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from rdbench.audio.corpus import manifest_corpus
from rdbench.types import AudioError

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "music_corpus.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("music_corpus", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "music_corpus", found)  # where dataclasses look
    spec.loader.exec_module(found)
    monkeypatch.setattr(found, "SECONDS", 0.5)
    return found


def test_a_piece_is_cut_at_equal_distances_and_never_past_its_end(script: ModuleType) -> None:
    script.SECONDS = 20.0
    assert script.starts(110.0) == [0.0, 30.0, 60.0, 90.0]
    assert script.starts(45.0) == [0.0, 25.0]
    assert script.starts(7.5) == [0.0]


def test_a_folder_is_prepared_with_sources_and_twice_alike(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(file: Path, folder: Path) -> None:
        """Two pieces of 1.3 and 0.2 s at 48 kHz, and one that is silent."""
        time = np.arange(62_400) / 48_000
        tone = np.stack([np.sin(2 * np.pi * f * time) for f in (440, 660)], 1)
        (folder / "music" / "end").mkdir(parents=True)
        for name, piece in (("a b", 0.5 * tone), ("end/c", tone[:9_600]), ("rest", 0 * tone)):
            soundfile.write(folder / "music" / f"{name}.wav", piece, 48_000)

    deb = tmp_path / "tunes.deb"
    deb.write_bytes(b"stands for a package")
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    package = script.Package("tunes 1.0", digest, "CC0 1.0", "music", "Somebody")
    monkeypatch.setattr(script, "PACKAGES", (package,))
    monkeypatch.setattr(script, "unpack", unpack)
    first, again = tmp_path / "first", tmp_path / "again"
    rows = script.prepare([deb], first)
    script.prepare([deb], again)

    clips = manifest_corpus(first / "manifest.csv").clips
    assert [(clip.name, clip.group) for clip in clips] == [
        ("tunes_a_b_0.flac", "tunes_a_b"),
        ("tunes_a_b_1.flac", "tunes_a_b"),
        ("tunes_end_c_0.flac", "tunes_end_c"),
    ]
    assert {(row["licence"], row["attribution"]) for row in rows} == {("CC0 1.0", "Somebody")}
    samples, rate = soundfile.read(first / "tunes_a_b_1.flac", dtype="int16")
    assert (rate, samples.shape) == (44_100, (22_050, 2))
    assert rows[1]["sha256"] == hashlib.sha256(samples.tobytes()).hexdigest()
    # 440 Hz on the left, as far into the piece as the manifest says
    time = float(rows[1]["from"]) + np.arange(22_050) / 44_100
    inner = slice(200, -200)
    assert np.allclose(
        samples[inner, 0] / 32_767, 0.5 * np.sin(2 * np.pi * 440 * time)[inner], atol=2e-3
    )
    for row in rows:
        assert (first / row["file"]).read_bytes() == (again / row["file"]).read_bytes()
    assert (first / "manifest.csv").read_bytes() == (again / "manifest.csv").read_bytes()


def test_a_package_that_is_another_is_refused(script: ModuleType, tmp_path: Path) -> None:
    deb = tmp_path / "wesnoth.deb"
    deb.write_bytes(b"of another version")
    with pytest.raises(AudioError, match=r"wesnoth\.deb is not what was prepared before"):
        script.prepare([deb], tmp_path / "out")
    with pytest.raises(AudioError, match="apt-get download"):
        script.prepare([tmp_path / "nowhere.deb"], tmp_path / "out")
