"""Run folders of somebody else, changed at random, and every command that reads one.

A case is (seed, number): a sound run is copied and changed in one to three places (its JSON, its
tables, its audio, what kind of thing a file is), then each command reads it. A command may answer
or refuse with the one sentence of a user error; nothing outside the folder changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CLIPS = tuple((f"c{i}.wav", ("speech", "music")[i % 2], f"g{i // 4}") for i in range(8))
SYSTEMS = {
    "opus": ("payload", ("6", "12", "24")),
    "vae": ("kl", ("3",)),
    "identity": (None, ("-",)),
}
METRICS = ("pesq_wb", "si_sdr")
SET = "frechet_logmel"
RATE = 8000

ODD_TEXTS = (
    "", " ", "x" * 3000, "\x1b[31mred", "a\nb", "a\x00b", "=1+1", "@x", "../../../../etc/passwd",
    "/etc/passwd", "<script>alert(1)</script>", "a|b", "$x^2$ \\input{x}", "nan", "1e999", "é\u202e",
    "ok", "failed", "rate", "metric", "kl", "speech", "opus", "{", "\U0001f3b5",
)  # fmt: skip
ODD_NUMBERS = (0.0, -1.0, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan"))
ODD_JSON: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 10**30, 10**3000, "x" * 70_000, "\ud800", [], {}, [[]], {"a": {}},
    ["x"] * 500, float("nan"), {"": ""}, [None], [{}], {"a": [{"b": None}]}, *ODD_TEXTS,
)  # fmt: skip


# -- a sound run


def make_sound(folder: Path) -> Path:
    """A small run with everything that a run may have, and a baseline and answers beside it."""
    from rdbench.analysis.gate.baseline import write_baseline
    from rdbench.analysis.listeners.ratings import import_scores
    from rdbench.analysis.runs import read_run
    from rdbench.rate.trace import Trace
    from rdbench.store.audio import open_audio, write_audio
    from rdbench.store.writer import RunWriter
    from rdbench.types import RateKind

    run = folder / "sound"
    rows = _rows()
    with RunWriter(run) as writer:
        writer.append(row for row, _ in rows)
        for row, place in _beside(rows):
            if row.kind == "trace":
                bits = tuple(10.0 + i for i in range(6))
                seconds = tuple(0.1 * i for i in range(6))
                trace = Trace(RateKind.KL, row.key, tuple(range(6)), seconds, bits, 6)
                writer.trace(row, trace)
            elif row.kind == "feature":
                writer.feature(row, np.linspace(1.0, 2.0, place))
        writer.write_manifest(_manifest())
        audio = open_audio(run)
        for row, place in rows:
            if row.kind == "audio":
                samples = 0.3 * np.sin(np.arange(RATE) / (5 + place)).astype(np.float32)
                write_audio(audio, row.unit_key, samples[None], RATE)
    answers = folder / "answers.csv"
    lines = [f"{s}/{p},{c},l{n},{3 + n}" for s, p in (("opus", "6"), ("opus", "24"))
             for c, *_ in CLIPS[:4] for n in range(2)]  # fmt: skip
    answers.write_text("\n".join(["condition,clip,listener,score", *lines]) + "\n")
    import_scores(run, answers, scale="mos")
    write_baseline(folder / "baseline.csv", read_run(run))
    return run


def _rows() -> list[tuple[Any, int]]:
    from rdbench.store.schema import Row
    from rdbench.types import Status

    rows: list[tuple[Any, int]] = []

    def add(place: int, kind: str, key: str, value: float, **labels: Any) -> None:
        given = dict.fromkeys(
            ("system", "curve", "point", "variant", "clip", "domain", "group"), ""
        )
        row = Row(
            unit_key=f"{len(rows):032x}", **given | labels, seconds=2.0, kind=kind, key=key,
            value=value, unit="", backend="r", status=Status.OK, reason="",
        )  # fmt: skip
        rows.append((row, place))

    for system, (kind, points) in SYSTEMS.items():
        for level, point in enumerate(points):
            labels = {"system": system, "curve": system, "point": point}
            for variant in ("sample", "mean") if system == "vae" else ("codes",):
                for place, (clip, domain, group) in enumerate(CLIPS):
                    own = {"variant": variant, "clip": clip, "domain": domain, "group": group}
                    for key in METRICS:
                        add(place, "metric", key, 1.0 + level + 0.1 * place, **labels, **own)
                    if kind:
                        bits = 2000.0 * float(point) + place
                        add(place, "rate", kind, bits, **labels, **own)
                    if (system, point) == ("opus", "12"):
                        add(place, "audio", "flac", 0.3, **labels, **own)
                add(0, "metric", SET, 3.0 - level, **labels, variant=variant, domain="speech")
    for place, (clip, domain, group) in enumerate(CLIPS):
        add(place, "audio", "flac", 0.3, clip=clip, domain=domain, group=group)
    add(0, "note", "silent", 1.0, clip="c0.wav", domain="speech")
    add(0, "cost", "encode_rtf", 0.1, system="opus", curve="opus", point="6", variant="codes")
    failed, _ = rows[3]
    rows[3] = (replace(failed, status=Status.FAILED, reason="it broke", value=float("nan")), 0)
    return rows


def _beside(rows: Sequence[tuple[Any, int]]) -> list[tuple[Any, int]]:
    """Traces and features for some of the rows."""
    made = []
    for number, (row, _) in enumerate(rows):
        key = f"{number:016x}{'f' * 16}"
        if (row.system, row.key, row.variant) == ("vae", "kl", "sample"):
            for axis in ("channel", "frame"):
                made.append((replace(row, unit_key=key[:-1] + axis[0], kind="trace", key=axis), 6))
        if row.key == SET:
            for model, size in (("jackknife", 2), ("bootstrap", 50)):
                one = replace(row, unit_key=key + model[0], kind="feature", backend=model)
                made.append((one, size))
    return made


def _manifest() -> dict[str, Any]:
    cards = {
        key: {"name": key, "unit": "", "direction": "higher", "version": 1, "scope": "clip"}
        for key in METRICS
    } | {SET: {"name": SET, "direction": "lower", "version": 1, "scope": "set"}}
    plan = [
        {"system": system, "point": point, "variant": variant, "domain": domain,
         "each": [["metric", key, ""] for key in METRICS], "whole": []}
        for system, (_, points) in SYSTEMS.items() for point in points
        for variant in (("sample", "mean") if system == "vae" else ("codes",))
        for domain in ("speech", "music")
    ]  # fmt: skip
    return {
        "name": "sound", "description": "a run", "finished": "2026-01-01T00:00:00+00:00",
        "spec": {"systems": []}, "versions": {"rdbench": "0"}, "hardware": {"processor": "p"},
        "protocol": {"fingerprint": "f", "sample_rate": {"default": RATE}, "seed": 0},
        "execution": {"machine": "m"},
        "corpus": {"name": "c", "clips": [
            {"name": name, "domain": domain, "group": group, "content": f"{zlib.crc32(name.encode()):x}"}
            for name, domain, group in CLIPS
        ]},
        "metrics": cards,
        "systems": {
            name: {"headline": kind, "points": list(points), "label": name.title(), "curve": name}
            for name, (kind, points) in SYSTEMS.items()
        },
        "plan": plan,
    }  # fmt: skip


# -- changes


def changed(run: Path, rng: np.random.Generator, outside: Path) -> list[str]:
    """Changes a run in a few places; says what was done."""
    count = int(rng.choice([1, 1, 1, 2, 3]))
    return [CHANGES[int(rng.integers(len(CHANGES)))](run, rng, outside) for _ in range(count)]


def _pick(rng: np.random.Generator, items: Sequence[Any]) -> Any:
    return items[int(rng.integers(len(items)))]


def _files(run: Path) -> list[Path]:
    return sorted(p for p in run.rglob("*") if p.is_file() and not p.is_symlink())


def change_json(run: Path, rng: np.random.Generator, outside: Path) -> str:
    """Puts something odd at a random place of the manifest, or takes the place away."""
    path = run / "manifest.json"
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError):
        return "manifest left as it is"
    at, where = content, ""
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            break
        key = _pick(rng, keys)
        where += f"/{key}"
        if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.7:
            at = at[key]
            continue
        action = _pick(rng, ("odd", "odd", "odd", "gone", "twice"))
        if action == "gone":
            del at[key]
        elif action == "twice" and isinstance(at, list):
            at *= int(_pick(rng, (2, 50, 1000)))
        elif isinstance(at, dict) and rng.random() < 0.1:
            at[_pick(rng, ODD_TEXTS)] = at.pop(key)
        else:
            at[key] = _pick(rng, ODD_JSON)
        break
    path.write_text(json.dumps(content))
    return f"manifest {where}"


def change_bytes(run: Path, rng: np.random.Generator, outside: Path) -> str:
    """Changes the bytes of a file; a part gets the name that goes with them."""
    from fuzz import _CHANGES

    files = _files(run)
    if not files:
        return "nothing"
    path = _pick(rng, files)
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.choice([1, 1, 2, 8]))):
        content = _pick(rng, _CHANGES)(content, rng, [bytes(content)])
    path.unlink()
    named_after(path, bytes(content[: 2**22]))
    return f"bytes of {path.name}"


def named_after(path: Path, content: bytes) -> None:
    """Writes a file; one that is a part under the name with the right checksum."""
    if path.suffix == ".parquet":
        stem = path.name.rpartition("-")[0]
        path = path.with_name(f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.parquet")
    path.write_bytes(content)


def change_table(run: Path, rng: np.random.Generator, outside: Path) -> str:
    """Changes the columns, types, values or number of rows of a part, which stays a sound file."""
    parts = sorted(run.glob("*/*.parquet"))
    if not parts:
        return "no part"
    path = _pick(rng, parts)
    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        kind = _pick(rng, TABLE_CHANGES)
        table = kind(table, rng)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError) as error:
        return f"{path.name} left as it is ({type(error).__name__})"
    path.unlink()
    named_after(path, sink.getvalue().to_pybytes())
    return f"{kind.__name__} of {path.parent.name}"


def drop_column(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    return table.drop_columns([_pick(rng, table.column_names)])


def rename_column(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    names = list(table.column_names)
    names[int(rng.integers(len(names)))] = _pick(rng, (*names, "x", ""))
    return table.rename_columns(names)


def retype_column(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    count = len(table)
    made = _pick(
        rng,
        (
            lambda: pa.array([1] * count),
            lambda: pa.array([True] * count),
            lambda: pa.array([b"\xff\xfe"] * count, pa.binary()),
            lambda: pa.array([["a"]] * count),
            lambda: pa.array([{"a": 1}] * count),
            lambda: pa.nulls(count),
            lambda: pa.array([0] * count, pa.timestamp("s")),
            lambda: pa.array(["x"] * count, pa.large_string()),
            lambda: pa.array(["7"] * count).dictionary_encode(),
            lambda: pa.array([None] * count, pa.string()),
        ),
    )()
    place = int(rng.integers(table.num_columns))
    return table.set_column(place, table.column_names[place], made)


def odd_cells(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    name = _pick(rng, table.column_names)
    values = table[name].to_pylist()
    everywhere = rng.random() < 0.3
    odd = _pick(rng, ODD_NUMBERS if isinstance(values[0], float) else ODD_TEXTS)
    if isinstance(values[0], bytes):
        odd = rng.bytes(int(rng.integers(0, 40)))
    elif isinstance(values[0], int):
        odd = int(_pick(rng, (0, -1, 2**31 - 1, -(2**31))))
    places = range(len(values)) if everywhere else [int(rng.integers(len(values)))]
    for place in places:
        values[place] = None if rng.random() < 0.1 else odd
    field = table.schema.field(name)
    return table.set_column(table.column_names.index(name), field, pa.array(values, field.type))


def many_rows(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    times = int(_pick(rng, (2, 100, 2000)))
    return distinct(pa.concat_tables([table] * times), rng)


def distinct(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """With unit keys that differ."""
    keys = pa.array([f"{number:x}" for number in range(len(table))])
    return table.set_column(table.column_names.index("unit_key"), "unit_key", keys)


def scattered(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Every row of a name of its own, in one or several columns."""
    table = many_rows(table, rng)[:20_000]
    for name in ("system", "curve", "point", "variant", "clip", "domain", "group", "key"):
        if name in table.column_names and rng.random() < 0.5:
            own = pa.array([f"{name}{number}" for number in range(len(table))])
            table = table.set_column(table.column_names.index(name), name, own)
    return table


def long_text(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    names = [name for name in table.column_names if table[name].type == pa.string()]
    text = "w" * int(_pick(rng, (1000, 100_000, 10_000_000)))
    codes = pa.array(np.zeros(len(table), np.int32))
    column = pa.DictionaryArray.from_arrays(codes, pa.array([text]))
    place = table.column_names.index(_pick(rng, names))
    return table.set_column(place, table.column_names[place], column)


def other_version(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    version = _pick(rng, (b"", b"0", b"-1", b"1", b"999", b"x", b"\xff", b"9" * 5000))
    metadata = {b"rdbench.schema_version": version} if version else {}
    return table.replace_schema_metadata(metadata)


def no_rows(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    return table[:0]


TABLE_CHANGES: tuple[Callable[[pa.Table, np.random.Generator], pa.Table], ...] = (
    drop_column, rename_column, retype_column, odd_cells, odd_cells, odd_cells, many_rows, scattered,
    long_text, other_version, no_rows,
)  # fmt: skip


def change_kind(run: Path, rng: np.random.Generator, outside: Path) -> str:
    """Puts a link, a pipe, a device, a folder, a socket or a vast file in the place of a file."""
    places = sorted(p for p in run.rglob("*") if not p.is_symlink())
    extra = [".lock", ".rdbench-report", "report", "tables", "figures", "table.md", "table.csv",
             "listening", "retired", "scratch", "subjective/mushra.csv"]  # fmt: skip
    path = _pick(rng, [*places, *(run / name for name in extra)])
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if not path.parent.is_dir():
        return "nothing"
    kind = _pick(rng, ("gone", "file link", "folder link", "dangling", "loop", "pipe", "device",
                       "folder", "socket", "vast", "unreadable"))  # fmt: skip
    if kind == "file link":
        path.symlink_to(outside / "file.txt")
    elif kind == "folder link":
        path.symlink_to(outside)
    elif kind == "dangling":
        path.symlink_to(outside / "new.txt")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.bind(str(path))
    elif kind == "vast":
        with path.open("wb") as file:
            file.truncate(2**40)
    elif kind == "unreadable":
        path.write_bytes(b"x")
        path.chmod(0)
    return f"{kind} at {path.relative_to(run)}"


def change_audio(run: Path, rng: np.random.Generator, outside: Path) -> str:
    """Lets the header of a FLAC lie, or puts other audio in its place."""
    import soundfile

    files = sorted(run.glob("audio/*.flac"))
    files = [path for path in files if path.is_file() and not path.is_symlink()]
    if not files:
        return "no audio"
    path = _pick(rng, files)
    kind = _pick(rng, ("length", "header", "silence", "wav", "rate", "channels", "cut"))
    content = bytearray(path.read_bytes())
    if kind == "length":  # 36 bits of samples
        content[21] |= 0x0F
        content[22:26] = b"\xff" * 4 if rng.random() < 0.5 else b"\x00" * 4
    elif kind == "header":
        content[int(rng.integers(8, 42))] = int(rng.integers(256))
    elif kind == "cut":
        content = content[: int(rng.integers(len(content)))]
    else:
        sink = io.BytesIO()
        length = {"silence": 2**22, "rate": 500, "channels": 500}.get(kind, 500)
        samples = np.zeros((length, 7 if kind == "channels" else 1), np.int16)
        rate = 655_350 if kind == "rate" else RATE
        soundfile.write(sink, samples, rate, format="WAV" if kind == "wav" else "FLAC")
        content = bytearray(sink.getvalue())
    path.write_bytes(bytes(content))
    return f"audio {kind}"


def change_names(run: Path, rng: np.random.Generator, outside: Path) -> str:
    """Gives a file of the run another name, or adds one."""
    files = _files(run)
    if not files:
        return "nothing"
    path = _pick(rng, files)
    name = _pick(rng, ("part-00000001-0000000000000000.parquet", "x.parquet", "../x.flac", ".x.tmp",
                       "part-999999999999999999.999999999999999999-0000000000000000.parquet",
                       "a" * 250, "x.csv", "x.flac", "\udcff.flac", "=x.csv"))  # fmt: skip
    with contextlib.suppress(OSError):
        shutil.copy(path, path.parent / name)
    return f"{path.name} as {name!r}"


CHANGES: tuple[Callable[[Path, np.random.Generator, Path], str], ...] = (
    change_json, change_json, change_json, change_table, change_table, change_table, change_bytes,
    change_kind, change_kind, change_audio, change_names,
)  # fmt: skip


# -- commands


def commands(run: Path, sound: Path, folder: Path, *, figures: bool) -> list[list[str]]:
    """The command lines that read `run`; what they write goes into it, or below `folder`."""
    baseline, config = sound.parent / "baseline.csv", folder / "config.yaml"
    config.write_text("formats: [png]\n")
    lines = [
        ["status", str(run)],
        ["status", str(run), "--json"],
        ["validate", str(run)],
        ["compare", str(run), str(sound), "--anchor", "opus", "--resamples", "100",
         "--json", str(folder / "compare.json"), "--markdown", str(folder / "compare.md")],
        ["check", str(run), "--baseline", str(baseline), "--junit", str(folder / "junit.xml")],
        ["check", str(run), "--baseline", str(folder / "new.csv"), "--update"],
        ["report", str(run), "--html"],
        ["listen", str(run), "--test", "mushra", "--clips", "2"],
        ["import-scores", str(sound.parent / "answers.csv"), "--run", str(run)],
    ]  # fmt: skip
    if figures:
        lines.append(["report", str(run), "--config", str(config), "--data"])
    return lines


def written(run: Path) -> None:
    """Writes into a run as a later start on it does, and makes its tables."""
    from rdbench.analysis.aggregate import run_points
    from rdbench.analysis.runs import read_run
    from rdbench.report.tables.run_tables import run_tables
    from rdbench.report.tables.write import write_tables
    from rdbench.store.writer import RunWriter

    row, _ = _rows()[0]
    with RunWriter(run) as writer:
        writer.append([replace(row, unit_key="e" * 32)])
        writer.write_manifest(_manifest())
    found = read_run(run)
    write_tables(run, run_tables(run_points(found), found.manifest, run=found))


def command(*arguments: str) -> None:
    """Runs a command of the command line; raises what is neither an answer nor a sentence."""
    import click
    import typer

    from rdbench.cli.main import app
    from rdbench.types import RdbenchError

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            app(list(arguments), standalone_mode=False)
        except (typer.Exit, click.ClickException, SystemExit):
            pass
        except RdbenchError as error:
            _check_sentence(str(error))


def _check_sentence(text: str) -> None:
    if not text or "\n" in text or len(text) > 4000:
        raise AssertionError(f"no sentence: {text[:300]!r}")


def read_all(run: Path, sound: Path, folder: Path, *, figures: bool) -> None:
    """Every command on a run; names the one that raises."""
    from rdbench.types import RdbenchError

    for line in commands(run, sound, folder, figures=figures):
        try:
            command(*line)
        except Exception as error:
            raise AssertionError(f"rdbench {' '.join(line)}") from error
    try:
        written(run)
    except RdbenchError as error:
        _check_sentence(str(error))


# -- cases


class Outside:
    """Files of the user that no run folder may touch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "file.txt").write_text("mine\n")
        (folder / ".lock").write_text("mine\n")
        (folder / "part-00000001-0000000000000000.parquet").write_text("mine\n")
        (folder / ".x.01234567.tmp").write_text("mine\n")
        self._before = self._now()

    def check(self) -> None:
        """Raises AssertionError where something has changed."""
        now = self._now()
        if now != self._before:
            raise AssertionError(f"outside of the run: {sorted(set(now) ^ set(self._before))}")

    def _now(self) -> list[tuple[str, bytes]]:
        found = sorted(p for p in self.folder.rglob("*") if p.is_file())
        return [(str(path.relative_to(self.folder)), path.read_bytes()) for path in found]


def read_case(content: bytes, folder: Path, _: str) -> None:
    """A case "seed number": makes it, and lets every command read it."""
    seed, number = map(int, content.split())
    rng = np.random.default_rng([seed, number])
    home = folder / "case"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    sound = folder / "sound"
    if not sound.exists():
        make_sound(folder)
    run = home / "run"
    shutil.copytree(sound, run)
    outside = Outside(home / "outside")
    done = changed(run, rng, outside.folder)
    try:
        read_all(run, sound, home, figures=number % 10 == 0)
    except BaseException as error:
        raise AssertionError(f"after {'; '.join(done)}") from error
    outside.check()


def warm_up(folder: Path) -> None:
    """Imports what commands need."""
    sound = folder / "sound" if (folder / "sound").exists() else make_sound(folder)
    home = folder / "warm"
    home.mkdir(exist_ok=True)
    shutil.copytree(sound, home / "run")
    read_all(home / "run", sound, home, figures=True)
    shutil.rmtree(home)
