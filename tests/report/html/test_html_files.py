"""The report's folder: what it holds, what it may hold, and what it never writes over."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from report_runs import HOSTILE, Strange
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.report.config import ReportConfig, SystemLook
from rdbench.report.html.files import script_json
from rdbench.report.html.tables import sort_value
from rdbench.report.html.traces import binned
from rdbench.report.html.write import write_html
from rdbench.report.tables.table import Cell
from rdbench.store.audio import kept_audio, read_audio
from rdbench.store.traces import read_traces
from rdbench.types import RdbenchError, StoreError


def value_of(path: Path) -> object:
    """What a file of data hands to the page."""
    found = re.fullmatch(r"rdbench\.take\(\"[a-z0-9/-]+\",(.*)\);\n", path.read_text())
    assert found
    return json.loads(found[1])


@given(st.text())
def test_text_in_a_script_is_the_same_text_and_never_markup(text: str) -> None:
    written = script_json({"name": text})
    assert not set(written) & set("<>&\u2028\u2029")
    assert written.isascii()
    assert json.loads(written) == {"name": text}


def test_not_a_number_is_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json(float("nan"))


@pytest.mark.parametrize(
    ("text", "number"),
    [("−1.50", "-1.5"), ("1,234", "1234"), ("2.79 M", "2.79e+06"), ("+3.0 %", "3"), ("–", ""),
     ("38/40", ""), ("Opus", ""), ("inf", "")],
)  # fmt: skip
def test_cells_sort_by_their_number(text: str, number: str) -> None:
    assert sort_value(Cell(text)) == number


def test_the_page_runs_no_script_but_its_own_files(tmp_path: Path) -> None:
    run = Strange(systems=HOSTILE[:5], clips=HOSTILE, metrics=HOSTILE[:2])
    page = write_html(run.write(tmp_path / "run"), tmp_path / "report")[0].read_text()
    scripts = re.findall(r"<script[^>]*>", page)
    assert scripts
    assert all(re.fullmatch(r'<script defer src="(assets|data)/[a-z.]+">', s) for s in scripts)
    assert page.count("<img") == 0
    assert not re.search(r"\son[a-z]+=\"", page.replace("&#34;", ""))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "script-src 'self';" in policy[1]
    assert "connect-src 'none'" in policy[1]


def test_file_names_are_numbers(tmp_path: Path) -> None:
    run = Strange(systems=HOSTILE[:3], clips=HOSTILE[:3], audio=True).write(tmp_path / "run")
    report = tmp_path / "report"
    for path in write_html(run, report):
        inside = path.relative_to(report).as_posix()
        assert re.fullmatch(
            r"index\.html|assets/[a-z.]+|data/overview\.js|data/scores/\d+-\d+\.js"
            r"|data/clips/\d+\.js|data/audio/\d+/(\d+|reference)\.js",
            inside,
        )


def test_a_report_written_again_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    report = tmp_path / "report"
    many = Strange(clips=tuple("abcdef"), audio=True).write(tmp_path / "many")
    few = Strange(clips=("a",)).write(tmp_path / "few")
    write_html(many, report)
    files = write_html(few, report)
    there = {path for path in report.rglob("*") if path.is_file() and path.name[0] != "."}
    assert there == set(files)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    run = Strange().write(tmp_path / "run")
    other = tmp_path / "thesis"
    (other / "data").mkdir(parents=True)
    (other / "data" / "chapter.txt").write_text("years of work")
    with pytest.raises(StoreError, match="no report of rdbench"):
        write_html(run, other)
    assert (other / "data" / "chapter.txt").read_text() == "years of work"
    assert [path.name for path in other.rglob("*")] == ["data", "chapter.txt"]


def test_audio_is_the_kept_audio_at_16_bits(tmp_path: Path) -> None:
    run = Strange(clips=("a.wav",), systems=("one",), points=("8",), audio=True)
    folder = run.write(tmp_path / "run")
    write_html(folder, tmp_path / "report")
    (kept,) = kept_audio(folder).query("system == 'one'")["path"]
    text = value_of(tmp_path / "report" / "data" / "audio" / "0" / "0.js")
    assert isinstance(text, str)
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(text)), dtype="float64")
    samples, kept_rate = read_audio(Path(kept))
    assert rate == kept_rate == 16_000
    assert np.abs(heard - samples[0]).max() <= 0.5 / 2**15 + 1e-9


def test_a_damaged_file_of_audio_is_left_out_and_the_rest_stays(tmp_path: Path) -> None:
    folder = Strange(audio=True).write(tmp_path / "run")
    broken = kept_audio(folder).query("system == 'one' and point == '8' and clip == 'a.wav'")
    Path(broken["path"].iloc[0]).write_bytes(b"fLaC, but no more")
    write_html(folder, tmp_path / "report")
    clip = value_of(tmp_path / "report" / "data" / "clips" / "0.js")
    assert isinstance(clip, dict)
    assert clip["reference"] is True
    assert clip["audio"] == [1, 2, 3]


def test_numbers_have_digits_enough_to_be_rounded_once(tmp_path: Path) -> None:
    value = 5.624996  # 5.62; by way of 5.6250 it would be 5.63
    run = Strange(systems=("one",), points=("8",), clips=("a",), first=value)
    write_html(run.write(tmp_path / "run"), tmp_path / "report")
    data = tmp_path / "report" / "data"
    overview = value_of(data / "overview.js")
    assert isinstance(overview, dict)
    assert overview["domains"][0]["metrics"]["0"]["0"][0] == value
    assert overview["domains"][0]["rates"]["headline"]["0"][1] == 8.0
    assert value_of(data / "scores" / "0-0.js") == [[value]]
    clip = value_of(data / "clips" / "0.js")
    assert isinstance(clip, dict)
    assert clip["scores"]["0"] == [value]


def test_a_configuration_renames_and_hides(tmp_path: Path) -> None:
    folder = Strange(systems=("one", "two", "three"), audio=True).write(tmp_path / "run")
    config = ReportConfig(
        systems={"one": SystemLook(label="First", curve="new"), "two": SystemLook(hide=True)}
    )
    write_html(folder, tmp_path / "report", config=config)
    overview = value_of(tmp_path / "report" / "data" / "overview.js")
    assert isinstance(overview, dict)
    names = [point["name"] for point in overview["points"]]
    assert names == ["First 8", "First 16", "three 8", "three 16"]
    clip = value_of(tmp_path / "report" / "data" / "clips" / "0.js")
    assert isinstance(clip, dict)
    assert clip["audio"] == [0, 1, 2, 3]  # audio follows a system to its new curve


@given(
    st.lists(st.floats(0.001, 2.0), min_size=1, max_size=200),
    st.lists(st.floats(0.0, 1e5), min_size=200, max_size=200),
    st.integers(1, 100),
)
def test_stretches_hold_all_bits_of_the_frames(
    lengths: list[float], bits: list[float], stretches: int
) -> None:
    begins = np.cumsum([0.0, *lengths[:-1]])
    given_bits = np.array(bits[: len(begins)])
    step, kbps = binned(begins, given_bits, stretches=stretches)
    assert len(kbps) <= stretches
    assert step > 0
    assert 1000 * step * kbps.sum() == pytest.approx(given_bits.sum(), rel=1e-6, abs=1e-6)


def test_streams_that_begin_together_count_as_one() -> None:
    step, kbps = binned(np.array([0.0, 0.0, 0.1, 0.2]), np.array([50.0, 50.0, 100.0, 200.0]))
    assert step == pytest.approx(0.1)
    assert kbps == pytest.approx([1.0, 1.0, 2.0])


def test_rate_over_time_is_that_of_the_run(heard: Path) -> None:
    traces = read_traces(heard.parent)
    clips = sorted(set(traces["clip"]))
    traces = traces[(traces["system"] == "opus") & (traces["axis"] == "frame")]
    for number, clip in enumerate(clips):
        shown = value_of(heard / "data" / "clips" / f"{number}.js")
        assert isinstance(shown, dict)
        for index, point in enumerate(("8", "16", "32")):
            found = shown["traces"][str(index)]
            assert found["kind"] == "payload"
            bits = traces[(traces["clip"] == clip) & (traces["point"] == point)]["bits"].sum()
            levels = np.frombuffer(base64.b64decode(found["levels"]), "<u2") / 65535
            sent = 1000 * found["step"] * found["top"] * levels.sum()
            assert sent == pytest.approx(bits, rel=1e-3)


def test_the_command_writes_the_page_and_says_where(tmp_path: Path) -> None:
    folder = Strange().write(tmp_path / "run")
    told = CliRunner().invoke(app, ["report", str(folder), "--html"])
    assert told.exit_code == 0, told.output
    page = folder / "report" / "index.html"
    assert str(page) in told.output.replace("\n", "")
    assert page.is_file()
    with pytest.raises(RdbenchError, match="give a folder that `rdbench run` has made"):
        write_html(tmp_path / "nowhere")
