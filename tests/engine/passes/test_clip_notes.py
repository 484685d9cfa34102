"""What is worth knowing of clips is told once, and reaches whoever reads the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from engine_runs import RATE, Listener, everything, fake, make_clips, rows, run

from rdbench.store.reader import read_notes
from rdbench.store.validate import validate_run


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good clip, one at full scale, and a silent one."""
    folder = make_clips(tmp_path_factory.mktemp("noted"), ["good"])
    tone = np.sin(np.arange(RATE) / 5)
    soundfile.write(folder / "clipped.wav", (4 * tone).clip(-1, 1), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    return folder


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_each_note_is_one_row_however_often_a_clip_is_measured(
    clips: Path, tmp_path: Path, device: str
) -> None:
    listener = Listener()
    systems = ({"codec": "identity"}, fake("Quantizer"))
    protocol = {"protocol": {"sample_rate": 2 * RATE, "excerpt_seconds": None}}
    run(clips, tmp_path, *systems, spec=protocol, device=device, progress=listener)
    notes = read_notes(tmp_path)
    found = set(zip(notes["clip"], notes["key"], strict=True))
    names = {"good.wav", "clipped.wav", "silent.wav"}
    assert found == {
        ("clipped.wav", "clipped"), ("silent.wav", "silent"),
        *((name, "upsampled") for name in names),
    }  # fmt: skip
    assert len(notes) == len(found)
    assert notes["reason"].str.len().gt(10).all()
    assert "note" not in set(rows(tmp_path)["kind"])
    assert "clipped: 1 clip (clipped.wav)" in listener.said

    before = everything(tmp_path)
    again = run(
        clips, tmp_path, *systems, metrics=("snr", "lsd"), spec=protocol, device=device,
        progress=(second := Listener()),
    )  # fmt: skip
    assert again.written == len(rows(tmp_path, key="lsd"))
    pd.testing.assert_frame_equal(notes, read_notes(tmp_path))
    kinds = everything(tmp_path)["kind"]
    assert (kinds == "note").sum() == (before["kind"] == "note").sum() == len(notes)
    assert second.said == []
    assert validate_run(tmp_path).problems == ()


def test_another_protocol_tells_what_is_so_under_it(clips: Path, tmp_path: Path) -> None:
    for rate, upsampled in ((2 * RATE, True), (RATE, False)):
        protocol = {"protocol": {"sample_rate": rate, "excerpt_seconds": None}}
        run(clips, tmp_path, {"codec": "identity"}, spec=protocol)
        assert ("upsampled" in set(read_notes(tmp_path)["key"])) is upsampled
        assert {"clipped", "silent"} <= set(read_notes(tmp_path)["key"])


def test_audio_that_is_there_twice_is_noted_of_the_second(tmp_path: Path) -> None:
    """Under another path, or from a moment that is no other sample."""
    corpus = make_clips(tmp_path / "clips", ["a", "b"], seconds=2.0)
    shutil.copy(corpus / "a.wav", corpus / "copy.wav")
    lines = [
        "a.wav,,",
        "a.wav,1e-12,",
        "a.wav,0.5,",
        "b.wav,,1",
        "b.wav,,1.000000000001",
        "copy.wav,,",
    ]
    (corpus / "clips.csv").write_text("\n".join(["file,start,duration", *lines]) + "\n")
    listener = Listener()
    run(corpus / "clips.csv", tmp_path / "run", {"codec": "identity"}, progress=listener)
    notes = read_notes(tmp_path / "run")
    found = notes[notes["key"] == "repeated"].set_index("clip")["reason"]
    assert sorted(found.index) == ["a.wav#1e-12+end", "b.wav#0+1.000000000001", "copy.wav"]
    assert found["copy.wav"].startswith("the same audio as a.wav: it counts twice")
    assert found["b.wav#0+1.000000000001"].startswith("the same audio as b.wav#0+1:")
    assert any(line.startswith("repeated: 3 clips (") for line in listener.said)
