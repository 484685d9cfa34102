"""`rdbench import-files` as a user meets it: what it says, what it writes, how it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import Result
from engine_runs import RATE, make_clips
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.codecs import registry as codecs
from rdbench.metrics import registry as metrics
from rdbench.spec.load import load_spec
from rdbench.types import RdbenchError


def call(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(app, ["import-files", *map(str, arguments)])
    if isinstance(done.exception, RdbenchError):  # `rdbench` says it in one sentence, code 2
        raise done.exception
    return done


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five clips, and reconstructions of them that are as they should be."""
    monkeypatch.chdir(tmp_path)
    make_clips(tmp_path / "reference", list("abcde"))
    for folder in ("decoded", "bits"):
        (tmp_path / folder).mkdir()
    for clip in (tmp_path / "reference").iterdir():
        samples, _ = soundfile.read(clip)
        soundfile.write(tmp_path / "decoded" / f"{clip.stem}.flac", samples + 0.001, RATE)
        (tmp_path / "bits" / f"{clip.stem}.bin").write_bytes(bytes(750))
    return tmp_path


def test_good_folders_become_a_spec_that_runs(folders: Path) -> None:
    done = call("reference", "6k=decoded", "--bitstreams", "bits", "--name", "mine")
    assert done.exit_code == 0, done.output
    row = done.output.splitlines()[1].split()
    assert row == ["6k", "5/5", "0", str(RATE), "0", "0.0", "6.00"]
    ran = CliRunner().invoke(
        app, ["run", "mine.yaml", "--out", "run", "--quiet", "--device", "cpu"]
    )
    assert ran.exit_code == 0, ran.output
    Path("mine.yaml").write_text("mine alone")
    again = call("reference", "decoded", "--name", "mine")
    assert again.exit_code == 0
    assert "mine.yaml was there already and is as it was; --force replaces it" in again.output
    assert Path("mine.yaml").read_text() == "mine alone"
    call("reference", "decoded", "--name", "mine", "--force")
    assert load_spec(
        Path("mine.yaml"), metric_keys=metrics.keys(), codec_names=codecs.names()
    ).systems[0].name == "mine"  # fmt: skip


def test_a_folder_too_high_or_too_low_is_named(folders: Path) -> None:
    (folders / "all").mkdir()
    (folders / "decoded").rename(folders / "all" / "24k")
    done = call("reference", "all")
    assert done.exit_code == 1
    assert "all: what is named like the clips lies in all/24k; give that as" in done.output
    (folders / "clips").mkdir()
    (folders / "reference").rename(folders / "clips" / "speech")
    done = call("clips", "all/24k")
    assert "24k: the files are named as the clips in 'speech' are; give that" in done.output
    done = call(".", "all/24k")
    assert "as the clips in 'clips/speech' are; give that folder as REFERENCE" in done.output
    with pytest.raises(RdbenchError, match="holds the clips themselves"):
        call("all/24k", "all/24k")


def test_everything_that_is_wrong_is_a_finding(folders: Path) -> None:
    decoded = folders / "decoded"
    (decoded / "a.flac").unlink()
    (decoded / "b.mp3").write_bytes(b"a second file")
    wave = soundfile.read(folders / "reference" / "c.wav")[0]
    soundfile.write(decoded / "c.flac", np.concatenate([wave, np.zeros(100)]), RATE)
    soundfile.write(decoded / "d.flac", np.concatenate([np.zeros(40), wave])[:RATE], 2 * RATE)
    soundfile.write(decoded / "z.flac", wave, RATE)
    done = call("reference", "decoded")
    assert done.exit_code == 1
    for sentence in (
        "decoded: a.wav: there is no reconstruction of the clip 'a.wav'",
        "2 files for the clip 'b.wav'",
        "d.wav: ",
        "lasts 0.5000 s",
        "z.flac belongs to no clip",
        "1 of 2 reconstructions are +100 samples longer than their clips",
    ):
        assert sentence in done.output, done.output
    assert "2/5" in done.output
    assert (folders / "mycodec.yaml").is_file()


def test_a_delay_is_estimated_and_containers_are_told(folders: Path) -> None:
    for clip in (folders / "reference").iterdir():
        samples, _ = soundfile.read(clip)
        late = np.concatenate([np.zeros(25), samples])
        soundfile.write(folders / "decoded" / f"{clip.stem}.flac", late, RATE)
        (folders / "bits" / f"{clip.stem}.bin").write_bytes(b"OggS" + bytes(700))
    done = call("reference", "decoded", "--bitstreams", "bits")
    assert done.exit_code == 1
    assert "25.0 samples late (median); declare `delay`" in done.output
    assert "set `container: true`" in done.output
    right = ("--bitstreams", "bits", "--container", "--delay", "25", "-o", "right.yaml")
    assert call("reference", "decoded", *right).exit_code == 0
    assert "delay: 25" in (folders / "right.yaml").read_text()


def test_audio_of_other_clips_under_these_names_is_a_finding(folders: Path) -> None:
    rng = np.random.default_rng(0)
    for clip in (folders / "reference").iterdir():
        other = 0.1 * rng.standard_normal(len(soundfile.read(clip)[0]))
        soundfile.write(folders / "decoded" / f"{clip.stem}.flac", other, RATE)
    done = call("reference", "decoded")
    assert done.exit_code == 1
    assert "5 of 5 reconstructions do not resemble the waveform of their clip" in done.output


def test_bits_of_another_point_are_refused(folders: Path) -> None:
    for name in ("low", "high"):
        (folders / "made" / name).mkdir(parents=True)
        (folders / "bits" / name).mkdir()
    bits = ("--bitstreams", "bits/high", "--bitstreams", "bits/low")
    with pytest.raises(RdbenchError, match="bits/high is given for the point 'low', and there is"):
        call("reference", "made/low", "made/high", *bits)


def test_small_numbers_and_odd_names_of_points_make_a_spec_that_loads(folders: Path) -> None:
    numbers = ("--stated-kbps", "0.00001", "--tolerance", "0.00001")
    call("reference", "p\x7f=decoded", *numbers, "--name", "mine")
    spec = load_spec(folders / "mine.yaml", metric_keys=metrics.keys(), codec_names=codecs.names())
    options = spec.systems[0].options
    assert options["stated_kbps"] == {"p\x7f": 1e-5}
    assert options["tolerance_seconds"] == 1e-5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["decoded", "--name", "../x"], "use printable signs without slashes"),
        (["decoded", "--name", ""], "use printable signs"),
        (["p\udce9=decoded"], "is no UTF-8 and cannot stand in a spec"),
    ],
)
def test_names_that_no_spec_can_have_are_refused(
    folders: Path, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(RdbenchError, match=sentence):
        call("reference", *arguments)


@pytest.mark.parametrize("column", ["file", "bytes"])
def test_a_column_of_bytes_that_stands_twice_is_refused(folders: Path, column: str) -> None:
    (folders / "sizes.csv").write_text(f"file,bytes,{column}\na.wav,750,3\n")
    with pytest.raises(RdbenchError, match=f"has the column '{column}' twice"):
        call("reference", "decoded", "--byte-counts", "sizes.csv")


def test_columns_without_a_name_move_no_number(folders: Path) -> None:
    rows = "".join(f"{name}.wav,,,750,3\n" for name in "abcde")
    (folders / "sizes.csv").write_text(f"file,,,bytes,frames\n{rows}")
    done = call("reference", "decoded", "--byte-counts", "sizes.csv")
    assert done.output.splitlines()[1].split()[-1] == "6.00"


def test_more_frames_than_samples_and_hours_for_seconds_are_refused(folders: Path) -> None:
    (folders / "tokens").mkdir()
    for name in "abcde":
        np.savez_compressed(folders / "tokens" / f"{name}.npz", np.zeros((1, 2**26), np.int8))
    long = np.zeros(60 * RATE)
    soundfile.write(folders / "decoded" / "a.flac", long, RATE)
    done = call("reference", "decoded", "--tokens", "tokens", "--codebook-size", "7")
    assert "has 67108864 frames, and its clip has" in done.output
    done = call("reference", "decoded", "-o", "other.yaml")
    assert "lasts 60.0000 s, and at most" in done.output


def test_a_users_mistake_is_a_sentence(folders: Path) -> None:
    for arguments, sentence in (
        (["reference", "nowhere"], "there is no folder 'nowhere'"),
        (["nowhere", "decoded"], "there is no folder 'nowhere'"),
        (["reference", "decoded", "decoded"], "two folders would be the point 'decoded'"),
        (["reference", "decoded", "bits", "--stated-kbps", "6"], "--stated-kbps is given 1 times"),
        (["reference", "decoded", "--decoded-from", "noise"], "'decoded_from' is 'noise'"),
    ):
        with pytest.raises(RdbenchError, match=sentence):
            call(*arguments)
    assert not list(folders.glob("*.yaml"))
