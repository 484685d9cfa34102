"""`rdbench init`: what it finds out of clips, and that what it writes is a spec that runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import Result
from typer.testing import CliRunner

import rdbench
from rdbench.cli.main import app
from rdbench.types import RdbenchError, SpecError


def call(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(app, ["init", *map(str, arguments)])
    if isinstance(done.exception, RdbenchError):  # `rdbench` says it in one sentence, code 2
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def write(path: Path, rate: int, seconds: float, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (round(rate * seconds), channels))
    soundfile.write(path, noise, rate)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_rate_layout_length_and_groups_are_found_out(tmp_path: Path) -> None:
    for place in ("anna/1.wav", "anna/2.wav", "bert/1.wav"):
        write(tmp_path / "clips" / place, 24000, 3.5)
    write(tmp_path / "clips" / "bert" / "2.wav", 8000, 3.5)
    (tmp_path / "clips" / "bert" / "broken.wav").write_bytes(b"RIFF")
    done = call("clips", "--domain", "speech")
    assert "4 clips of 0.2 minutes; speech at 24000 Hz, mono; 1 that cannot be read" in done.output
    spec = rdbench.read_spec("mine.yaml")
    assert (spec.name, spec.corpus_path) == ("mine", tmp_path / "clips")
    assert (spec.corpus.domain, spec.corpus.group_by) == ("speech", "folder")
    wanted = spec.protocol.for_domain("speech")
    assert (wanted.sample_rate, wanted.channels, wanted.excerpt_seconds) == (24000, "mono", 3.0)
    keys = [metric.key for metric in spec.metrics_for("speech")]
    assert keys == ["pesq_wb", "estoi", "visqol_speech", "si_sdr", "mel_dac_24k"]
    text = (tmp_path / "mine.yaml").read_text()
    assert "of all but 1 clips, which are resampled" in text
    assert text.isascii()


def test_a_manifest_in_the_folder_is_read_and_its_domains_differ(tmp_path: Path) -> None:
    write(tmp_path / "clips" / "a.wav", 16000, 1.0)
    write(tmp_path / "clips" / "b.wav", 48000, 1.0, channels=2)
    (tmp_path / "clips" / "manifest.csv").write_text("file,domain\na.wav,speech\nb.wav,music\n")
    call("clips", "-o", tmp_path / "both.yaml")
    spec = rdbench.read_spec("both.yaml")
    assert spec.corpus.kind == "manifest"
    assert dict(spec.protocol.sample_rate) == {"speech": 16000, "music": 48000}
    assert dict(spec.protocol.channels) == {"speech": "mono", "music": "stereo"}
    assert spec.protocol.excerpt_seconds is None
    opus = {one.domains: one.points for one in spec.systems if one.codec == "opus"}
    assert opus[("speech",)] == (6, 8, 12, 16, 24, 32)
    assert opus[("music",)] == (32, 48, 64, 96, 128)
    call("clips", "--domain", "music", "-o", "music.yaml")
    assert rdbench.read_spec("music.yaml").corpus.domains == ("music",)
    with pytest.raises(SpecError, match="has no domain 'musik'; did you mean 'music'"):
        call("clips", "--domain", "musik", "-o", "other.yaml")


def test_what_it_writes_runs_with_a_codec_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path / "clips" / "a.wav", 16000, 1.0)
    (tmp_path / "beside.py").write_text(
        "from rdbench.codecs.packets.flac import Flac\nclass Mine(Flac):\n    pass\n"
    )
    done = call("clips", "--codec", "beside:Mine", "--codec", "runs/vae_6k.safetensors")
    assert "rdbench run mine.yaml --allow-code" in done.output
    spec = rdbench.read_spec("mine.yaml")
    mine, weights = spec.systems[:2]
    assert (mine.codec, mine.name) == ("beside:Mine", "Mine")
    assert spec.options_for(weights) == {"weights": str(tmp_path / "runs" / "vae_6k.safetensors")}
    run = rdbench.run("mine.yaml", allow_code=True, workers=1, costs="none")
    scores = run.frame().query("metric == 'si_sdr'").set_index("system")["value"]
    assert scores["Mine"] > 60  # FLAC at 16 bits
    assert set(run.failures()["system"]) == {"vae_6k"}  # there is no such file


def test_nothing_is_replaced_and_what_is_no_codec_is_answered(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("mine")
    with pytest.raises(SpecError, match=r"mine.yaml is there already; .* --force"):
        call()
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    call("--force")
    assert rdbench.read_spec("mine.yaml").corpus.kind == "embedded"
    with pytest.raises(SpecError, match=r"'opsu' is no codec .*did you mean 'opus'"):
        call("--codec", "opsu", "-o", "other.yaml")
    assert not (tmp_path / "other.yaml").exists()
