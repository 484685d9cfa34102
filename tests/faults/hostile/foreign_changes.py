"""Changes of a run folder, at random: JSON, tables, audio, and what kind of thing a file is."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sound_run import RATE

ODD_TEXTS = (
    "", " ", "x" * 3000, "\x1b[31mred", "a\nb", "a\x00b", "=1+1", "@x", "../../../../etc/passwd",
    "/etc/passwd", "<script>alert(1)</script>", "a|b", "$x^2$ \\input{x}", "nan", "1e999",
    "é\u202e", "ok", "failed", "rate", "metric", "kl", "speech", "opus", "{", "\U0001f3b5",
)  # fmt: skip
ODD_NUMBERS = (0.0, -1.0, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan"))
ODD_JSON: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 10**30, 10**3000, "x" * 70_000, "\ud800", [], {}, [[]], {"a": {}},
    ["x"] * 500, float("nan"), {"": ""}, [None], [{}], {"a": [{"b": None}]}, *ODD_TEXTS,
)  # fmt: skip


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
    drop_column, rename_column, retype_column, odd_cells, odd_cells, odd_cells, many_rows,
    scattered, long_text, other_version, no_rows,
)  # fmt: skip


def _device(path: Path, outside: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path, outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
        server.bind(str(path))


def _vast(path: Path, outside: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


KINDS: dict[str, Callable[[Path, Path], Any]] = {
    "gone": lambda path, outside: None,
    "file link": lambda path, outside: path.symlink_to(outside / "file.txt"),
    "folder link": lambda path, outside: path.symlink_to(outside),
    "dangling": lambda path, outside: path.symlink_to(outside / "new.txt"),
    "loop": lambda path, outside: path.symlink_to(path),
    "hard link": lambda path, outside: path.hardlink_to(outside / "file.txt"),
    "pipe": lambda path, outside: os.mkfifo(path),
    "folder": lambda path, outside: path.mkdir(),
    "device": _device,
    "socket": _socket,
    "vast": _vast,
}


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
    kind = _pick(rng, tuple(KINDS))
    KINDS[kind](path, outside)
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
