"""`rdbench score` on files: a pair, two folders, a folder alone, and what cannot be scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.types import RdbenchError

RATE = 16000


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """`clips` and `made` with a good pair, one of another rate, and three that do not go."""
    generator = np.random.default_rng(0)
    for name, ours, theirs in (
        ("good", RATE, RATE),
        ("rate", RATE, RATE // 2),
        ("long", RATE, RATE),
        ("alone", RATE, 0),
        ("stranger", 0, RATE),
    ):
        wave = 0.1 * generator.standard_normal(RATE)
        for folder, rate, end in (("clips", ours, "wav"), ("made", theirs, "flac")):
            (tmp_path / folder).mkdir(exist_ok=True)
            if rate:
                samples = wave[:: RATE // rate]
                if (folder, name) == ("made", "long"):
                    samples = np.tile(samples, 2)
                soundfile.write(tmp_path / folder / f"{name}.{end}", samples, rate)
    return tmp_path


def score(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["score", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_a_pair_is_scored_and_says_what_it_could_not(folders: Path) -> None:
    keys = ("-m", "si_sdr", "-m", "stereo_level")
    code, shown = score(folders / "clips/good.wav", folders / "made/good.flac", *keys)
    assert code == 0
    lines = {line.split()[0]: line.split() for line in shown.splitlines()}
    assert float(lines["si_sdr"][1]) > 60
    assert lines["si_sdr"][2:] == ["dB", "higher"]
    assert lines["stereo_level"][1] == "–"
    assert "stereo_level: 1 channel, and a stereo image is that of two" in shown


def test_folders_are_matched_by_name_and_the_rest_has_reasons(folders: Path) -> None:
    table = folders / "scores.csv"
    code, shown = score(folders / "clips", folders / "made", "-m", "snr", "--csv", table)
    assert code == 1
    assert " 2/5" in next(line for line in shown.splitlines() if line.startswith("snr"))
    for reason in (
        "alone.wav: there is no reconstruction of the clip 'alone.wav'",
        "long.wav: the reconstruction lasts 2.0000 s and the reference 1.0000 s",
        "stranger.flac: there is no reference of this name",
        "1 × resampled from 8000 Hz",
    ):
        assert reason in shown
    rows = pd.read_csv(table, keep_default_na=False)
    assert len(rows) == 5 * 2  # with the residual delay
    assert dict(rows["status"].value_counts()) == {"failed": 6, "ok": 4}


def test_a_folder_alone_has_scores_without_a_reference(folders: Path) -> None:
    code, shown = score(folders / "clips")
    assert code == 0
    assert [line.split()[0] for line in shown.splitlines()] == ["metric", "true_peak", "bandwidth"]
    assert "4/4" in shown


def test_a_file_that_is_no_audio_fails_with_its_reason(folders: Path) -> None:
    (folders / "made/good.flac").write_bytes(b"no audio")
    code, shown = score(folders / "clips/good.wav", folders / "made/good.flac", "-m", "snr")
    assert code == 1
    assert "cannot be read" in shown


def test_a_metric_is_given_its_options_and_says_how_where_it_needs_one(folders: Path) -> None:
    pair = (folders / "clips/good.wav", folders / "made/good.flac")
    for given, sentence in (
        (("-m", "utmos"), r"needs the option weights: .*or by `--option utmos.weights=…`"),
        (("-m", "utmos", "--option", "utmos.weights=none.pt"), r"no model file .*none\.pt"),
        (("-m", "snr", "--option", "snr.loudness=3"), "'snr' has no option 'loudness'"),
        (("-m", "snr", "--option", "srn.a=3"), r"no metric 'srn' is asked for; did you mean 'snr'"),
        (("-m", "snr", "--option", "snr"), "is not of the form NAME.KEY=VALUE"),
    ):
        with pytest.raises(RdbenchError, match=sentence):
            score(*pair, *given)


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ("clips", "made/good.flac", "clips is a folder, and the other is none"),
        ("clips/good.wav", "made", "made is a folder, and the other is none"),
        ("clips/good.wav", "made/none.wav", "none.wav is not there"),
    ],
)
def test_what_does_not_go_together_is_refused(
    folders: Path, first: str, second: str, sentence: str
) -> None:
    with pytest.raises(RdbenchError, match=sentence):
        score(folders / first, folders / second)
