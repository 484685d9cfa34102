"""Run folders of somebody else: every command answers or refuses, and writes nowhere else.

The long version is `python benchmarks/reliability.py --folders 10000`. What was ever found stays as
a test of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from foreign_changes import KINDS, scattered
from foreign_folders import Outside, command, subject
from fuzz import LIMIT_BYTES, fuzz
from matplotlib.figure import Figure
from sound_run import make_sound, rows

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.listeners.ratings import import_scores
from rdbench.analysis.runs import read_run
from rdbench.engine.intake import _Scratch
from rdbench.rate.trace import Trace
from rdbench.report.config import ReportConfig
from rdbench.report.figures.write import figure_files
from rdbench.report.html.files import ReportFolder
from rdbench.report.html.write import write_html
from rdbench.report.listening.write import ListeningTest, write_test
from rdbench.report.tables.run_tables import RunTables, run_tables
from rdbench.report.tables.write import write_tables
from rdbench.store.atomic import make_folder
from rdbench.store.audio import kept_audio, open_audio, read_audio, write_audio
from rdbench.store.lock import session_of
from rdbench.store.manifest import read_manifest
from rdbench.store.schema import Kind, Quantity, Row
from rdbench.store.status import run_status
from rdbench.store.traces import read_traces
from rdbench.store.validate import validate_run
from rdbench.store.writer import RunWriter
from rdbench.types import RateKind, RdbenchError, StoreError

CASES = 12


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sound(tmp_path_factory.mktemp("sound"))


@dataclass(frozen=True)
class Made:
    """What is written of a sound run."""

    row: Row
    tables: RunTables
    answers: Path


@pytest.fixture(scope="module")
def made(sound: Path) -> Made:
    found = read_run(sound)
    tables = run_tables(run_points(found), found.manifest, run=found)
    return Made(rows()[0][0], tables, sound.parent / "answers.csv")


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    files = Outside(tmp_path / "outside")
    yield files.folder
    files.check()


def test_changed_folders_are_answered_or_refused_by_every_command() -> None:
    result = fuzz(subject(), range(CASES), contents=[b"7 %d" % case for case in range(CASES)])
    assert result.cases == CASES
    assert not result.crashes, result.crashes[0]
    assert not result.hangs, result.hangs[0]
    assert result.peak_bytes < LIMIT_BYTES


# -- what is read: sizes


def set_manifest(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = run / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewritten(run: Path, folder: str, change: Callable[[pa.Table], pa.Table]) -> Path:
    """Changes a part of a folder; its name stays true."""
    (path,) = (run / folder).glob("*.parquet")
    table = change(pq.read_table(path))
    path.unlink()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    made = path.with_name(f"part-00000001-{hashlib.sha256(content).hexdigest()[:16]}.parquet")
    made.write_bytes(content)
    return made


def refused(read: Callable[[], Any], said: str = ".") -> None:
    with pytest.raises(RdbenchError, match=said) as caught:
        read()
    assert "\n" not in str(caught.value)


def test_a_plan_of_more_rows_than_any_run_is_refused_at_once(run: Path) -> None:
    """3.4 MB asked for 6·10⁸ rows, and 8.4 GB."""

    def plan(manifest: dict[str, Any]) -> None:
        clips = manifest["corpus"]["clips"]
        manifest["corpus"]["clips"] = clips * 2500
        manifest["plan"] = [
            entry | {"each": [["metric", f"m{i}", ""] for i in range(500)]}
            for entry in manifest["plan"] * 3
        ]

    set_manifest(run, plan)
    began = time.process_time()
    refused(lambda: run_status(run), "asks for more than")
    refused(lambda: run_points(read_run(run)), "asks for more than")
    assert any("asks for more than" in problem for problem in validate_run(run).problems)
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("systems", []), ("systems", {"opus": []}), ("metrics", {"pesq_wb": 3}), ("plan", {}),
        ("plan", [[]]), ("plan", "x"), ("name", 3), ("description", ["x"]), ("protocol", "x"),
        ("corpus", []), ("corpus", {"clips": {}}), ("corpus", {"clips": [3]}), ("variants", [1]),
        ("corpus", {"clips": [{"name": 3}]}), ("finished", 1.5), ("description", "x" * 70_000),
        ("spec", "x"), ("hardware", [[[]]]), ("schema_version", "2"), ("schema_version", 2.0),
        ("schema_version", True), ("schema_version", 10**3000), ("versions", None),
    ],
)  # fmt: skip
def test_a_manifest_of_other_types_is_damaged_for_every_reader(
    run: Path, key: str, value: Any
) -> None:
    set_manifest(run, lambda manifest: manifest.update({key: value}))
    if value is None:
        assert read_manifest(run)["name"] == "sound"
        return
    for read in (read_manifest, run_status, read_run):
        refused(lambda read=read: read(run), "is damaged|schema version")


@pytest.mark.parametrize("text", ["[" * 5000, '{"a":' * 5000, "[[[[[]]]]]" * 3, '{"a": 1e9999}'])
def test_a_manifest_that_is_another_json_is_damaged(run: Path, text: str) -> None:
    (run / "manifest.json").write_text(text)
    refused(lambda: read_manifest(run), "is damaged")


def test_nesting_numbers_and_values_of_a_manifest_are_bounded(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    set_manifest(run, lambda manifest: manifest.update(spec={"deep": deep}))
    refused(lambda: read_manifest(run), "nested more than")
    set_manifest(run, lambda manifest: manifest.update(spec={"number": 10**400}))
    refused(lambda: read_manifest(run), "not the JSON that rdbench writes")
    set_manifest(run, lambda manifest: manifest.update(spec={"number": 10**200}))
    assert read_manifest(run)["spec"]["number"] == 1e200
    monkeypatch.setattr("rdbench.store.manifest.MAX_VALUES", 50)
    refused(lambda: read_manifest(run), "more than 50 values")


def test_half_a_surrogate_pair_is_named_as_rows_name_it(run: Path) -> None:
    path = run / "manifest.json"
    path.write_text(path.read_text().replace('"sound"', '"so\\udcffund"'))
    assert read_manifest(run)["name"] == "so\\udcffund"


def test_traces_of_long_names_or_many_entries_are_refused(run: Path, monkeypatch: Any) -> None:
    """9.7 KB of traces took 5.7 GB."""
    monkeypatch.setattr("rdbench.store.traces.MAX_ENTRIES", 10)
    refused(lambda: read_traces(run), "more than 10 rows")
    monkeypatch.undo()

    def named(table: pa.Table) -> pa.Table:
        place = table.column_names.index("clip")
        return table.set_column(place, "clip", pa.array(["w" * 5000] * len(table)))

    rewritten(run, "measurements", named)
    refused(lambda: read_traces(run), "names of more than")


def test_rows_so_scattered_that_arrays_would_take_all_memory_are_refused(run: Path) -> None:
    rng = np.random.default_rng(3)

    def scatter(table: pa.Table) -> pa.Table:
        return scattered(table, rng)

    rewritten(run, "measurements", scatter)
    refused(lambda: read_run(run), "split the run")


@pytest.mark.parametrize("kind", ["measurements", "traces", "features"])
@pytest.mark.parametrize("what", ["garbage", "other columns", "nulls", "nested"])
def test_a_part_that_is_none_is_named_by_validate_whether_rows_tell_of_it_or_not(
    run: Path, kind: str, what: str
) -> None:
    """A trace part of garbage, of which no row told, was whole to `validate`."""
    content = np.random.default_rng(0).bytes(1000)
    if what != "garbage":
        (path,) = (run / kind).glob("*.parquet")
        table = pq.read_table(path)
        name = table.column_names[-1]
        table = table.drop_columns([name])
        if what == "nulls":
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
        elif what == "nested":
            table = table.append_column(name, pa.array([[1]] * len(table)))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        content = sink.getvalue().to_pybytes()
    name = f"part-00000000-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    (run / kind / name).write_bytes(content)
    problems = validate_run(run).problems
    assert any(name in problem and "damaged" in problem for problem in problems), problems


# -- kept audio


def promising(path: Path, samples: int) -> None:
    """Lets the header of a FLAC promise so many samples."""
    content = bytearray(path.read_bytes())
    assert content[:4] == b"fLaC"
    content[21] = (content[21] & 0xF0) | (samples >> 32)
    content[22:26] = (samples & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("samples", [2**36 - 1, 2**32, 2**27, 8001, 0])
def test_kept_audio_whose_header_lies_is_refused(run: Path, samples: int) -> None:
    path = Path(kept_audio(run)["path"][0])
    promising(path, samples)
    refused(lambda: read_audio(path), "cannot read the kept audio")
    if samples > 2**26:
        assert any(path.name in problem for problem in validate_run(run).problems)
        write_html(run)


def test_hours_of_silence_in_kept_audio_are_refused(run: Path) -> None:
    """1 MB of FLAC unpacked to 16.5 GB."""
    path = Path(kept_audio(run)["path"][0])
    with soundfile.SoundFile(path, "w", 48_000, 2, format="FLAC") as file:
        for _ in range(12):
            file.write(np.zeros((48_000 * 60, 2), np.int16))
    assert path.stat().st_size < 1e6
    refused(lambda: read_audio(path), "promises")


@pytest.mark.parametrize("kind", ["wav", "garbage", "empty", "pipe", "device", "folder"])
def test_kept_audio_of_another_kind_is_refused(run: Path, tmp_path: Path, kind: str) -> None:
    path = Path(kept_audio(run)["path"][0])
    path.unlink()
    if kind == "wav":
        soundfile.write(path, np.zeros(100), 8000, format="WAV")
    elif kind in KINDS:
        KINDS[kind](path, tmp_path)
    else:
        path.write_bytes(b"fLaC" * 100 if kind == "garbage" else b"")
    refused(lambda: read_audio(path), "cannot read the kept audio")
    assert any(path.name in problem for problem in validate_run(run).problems)


# -- pipes, devices, links


SPECIAL = ("pipe", "device", "folder", "socket", "vast", "loop")


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize(
    "place", ["manifest.json", "measurements/part", "traces/part", "subjective/mos.csv", ".lock"]
)
def test_nothing_but_a_file_of_a_bounded_size_is_read(
    run: Path, outside: Path, kind: str, place: str
) -> None:
    folder, _, name = place.rpartition("/")
    path = run / place
    if name == "part":
        (path,) = (run / folder).glob("*.parquet")
    path.unlink(missing_ok=True)
    KINDS[kind](path, outside)
    for line in (["status"], ["validate"], ["check", "--baseline", str(run.parent / "b.csv")]):
        command(line[0], str(run), *line[1:])
    if name == ".lock":
        assert session_of(run) is None


@pytest.mark.parametrize("kind", SPECIAL)
def test_baselines_answers_and_configurations_are_files(
    sound: Path, tmp_path: Path, kind: str
) -> None:
    """An endless device as baseline took 24 GB."""
    given, run, home = str(tmp_path / "given"), str(sound), sound.parent
    KINDS[kind](Path(given), tmp_path)
    for line in (
        ["check", run, "--baseline", given],
        ["check", run, "--baseline", str(home / "baseline.csv"), "--config", given],
        ["import-scores", given, "--run", run],
        ["import-scores", str(home / "answers.csv"), "--run", run, "--key", given],
        ["report", run, "--config", given],
        ["run", given],
        ["train", given, "--out", str(tmp_path / "out")],
        ["compare", run, given, "--anchor", "opus"],
    ):
        command(*line)


LINKS = ("file link", "folder link", "dangling", "loop", "hard link")


def write_store(run: Path, made: Made) -> None:
    """All that a later start on a run may write."""
    row = replace(made.row, unit_key="e" * 32)
    with RunWriter(run) as writer:
        writer.append([row])
        trace = Trace(RateKind.KL, "channel", (0,), (0.0,), (1.0,), 1)
        writer.trace(replace(row, unit_key="d" * 32, kind=Kind.TRACE), trace)
        writer.feature(replace(row, unit_key="c" * 32, kind=Kind.FEATURE), np.zeros(3))
        writer.write_manifest({"name": "sound"})
        write_audio(open_audio(run), "b" * 32, np.zeros((1, 100), np.float32), 8000)
        writer.retire({"e" * 32})
        scratch = _Scratch(run)
        scratch.put(None, "clip", Quantity(Kind.FEATURE, "x"), 1)
        scratch.clear()


def write_page(run: Path, made: Made) -> None:
    folder = ReportFolder(run / "report", run)
    folder.open()
    folder.data("scores/1", [1])
    folder.write("assets/page.js", b"")
    folder.write("index.html", b"")


def write_figure(run: Path, made: Made) -> None:
    make_folder(run / "figures", within=run)
    config = ReportConfig(formats=("svg",), data=True)
    figure_files(
        Figure((1, 1)), run / "figures" / "a", [pd.DataFrame({"a": [1]})], config, within=run
    )


WRITERS: dict[Callable[[Path, Made], object], tuple[str, ...]] = {
    write_store: (
        ".lock", "manifest.json", "measurements", "traces", "features", "retired", "audio",
        "scratch", f"audio/{'b' * 32}.flac",
    ),
    write_page: (
        "report", "report/.rdbench-report", "report/data", "report/assets", "report/index.html",
    ),
    lambda run, made: write_tables(run, made.tables): ("tables", "tables/tables.html", "table.md"),
    write_figure: ("figures", "figures/a.svg", "figures/data", "figures/data/a.csv"),
    lambda run, made: import_scores(run, made.answers, scale="mos"): (
        "subjective", "subjective/mos.csv",
    ),
    lambda run, made: write_test(run, run / "listening" / "x", ListeningTest(clips=1)): (
        "listening", "listening/x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LINKS)
def test_no_write_follows_a_link(
    sound: Path, made: Made, tmp_path: Path, outside: Path, kind: str
) -> None:
    before = sorted(outside.iterdir())
    places = [(write, place) for write, places in WRITERS.items() for place in places]
    for number, (write, place) in enumerate(places):
        run = tmp_path / str(number) / "run"
        shutil.copytree(sound, run)
        path = run / place
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        KINDS[kind](path, outside)
        with contextlib.suppress(RdbenchError):
            write(run, made)
        assert sorted(outside.iterdir()) == before, place


def test_a_link_in_the_place_of_a_folder_is_named(run: Path, outside: Path) -> None:
    shutil.rmtree(run / "traces")
    (run / "traces").symlink_to(outside)
    with pytest.raises(StoreError, match=r"traces is a link, and in a folder of results none is"):
        RunWriter(run)
    (run / "report").symlink_to(outside)
    with pytest.raises(StoreError, match="report is a link"):
        write_html(run)


def test_a_link_to_a_run_is_the_run(run: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(run)
    with RunWriter(tmp_path / "latest") as writer:
        writer.write_manifest(read_manifest(run))
    write_html(tmp_path / "latest")
    assert (run / "report" / "index.html").is_file()
