"""Baselines: the scores of a run, small enough to commit and readable in a diff.

One text file. Lines that begin with `#` are a JSON object: the schema, the protocol, one line per
metric, system, clip and value of a set of clips. Then comes CSV, one line per system, point,
variant and clip, with a column per rate (bits) and metric. A cell is a number with seven
significant digits, `undefined`, `failed`, or empty where nothing was asked for. The value of a set
stands with its values without each group of clips, so that a later run is compared with it
pairwise. Audio, reasons and costs are not kept.

A baseline is read as a run. Since its numbers are rounded, `rounded` brings a run to the same
digits before the two are compared: an unchanged score then differs by exactly nothing.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import OF_SETS
from rdbench.analysis.extent import check_extent
from rdbench.analysis.runs import NotComparableError, Run
from rdbench.analysis.sets import SetScore
from rdbench.files import read_file
from rdbench.store.atomic import make_folder, write_atomic
from rdbench.store.manifest import parsed
from rdbench.store.schema import COLUMNS, TEXT_COLUMNS, Kind
from rdbench.text import printable
from rdbench.types import StoreError

if TYPE_CHECKING:
    import pandas as pd

BASELINE_SCHEMA = 1
FORMAT = "rdbench baseline"
SET_FIELDS = ["system", "curve", "point", "variant", "domain", "key", "backend"]
POINT_CLIP = ["system", "curve", "point", "variant", "clip"]
DIGITS = 7
# What a value without one group differs by from the value is small beside it.
SET_DIGITS = 12
MAX_BYTES = 2**26
MAX_CELLS = 4_000_000
WORDS = ("undefined", "failed")
METRIC_FIELDS = (
    "name", "unit", "direction", "version", "backend", "backend_version", "scope",
)  # fmt: skip
CLIP_FIELDS = ("domain", "group", "content")
SYSTEM_FIELDS = ("codec", "curve", "label", "headline", "version", "weights_sha256")


def write_baseline(path: Path, run: Run) -> None:
    """Writes `run` as a baseline, whole or not at all.

    Raises StoreError where that is not possible, and where two backends scored one metric's clip
    under one column name.
    """
    make_folder(path.parent)
    write_atomic(path, baseline_text(run).encode())


def baseline_text(run: Run) -> str:
    """The whole of the file."""
    run = _printable(run)
    kept = run.rows["kind"].isin([Kind.METRIC.value, Kind.RATE.value])
    rows = run.rows[(run.rows["clip"] != "") & kept]
    keyed = rows.assign(
        column=rows["kind"].astype(str) + "/" + rows["key"].astype(str) + "@"
        + rows["backend"].astype(str),
        cell=_cells(rows),
    )  # fmt: skip
    keyed = keyed.drop_duplicates([*POINT_CLIP, "column"], keep="last")
    wide = keyed.pivot(index=[*POINT_CLIP, "seconds"], columns="column", values="cell").fillna("")
    # Rates first, then metrics by name; points and clips in one order on every machine.
    columns = sorted(wide.columns, key=lambda c: (not c.startswith("rate/"), c))
    table = wide[columns].reset_index().sort_values(POINT_CLIP, kind="stable")
    table["seconds"] = [f"{x:.{DIGITS}g}" for x in table["seconds"]]
    body = table.to_csv(index=False, lineterminator="\n")
    return _header(run, rows) + body


def read_baseline(path: Path) -> Run:
    """The baseline as a run.

    Raises StoreError for what is no baseline, NotComparableError for one of another schema.
    """
    import pandas as pd

    path = Path(path)
    try:
        text = read_file(path, MAX_BYTES).decode()
    except (FileNotFoundError, IsADirectoryError):
        raise StoreError(
            f"there is no baseline {path}; write one with `rdbench check RUN --baseline {path} "
            "--update`"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read the baseline {path} ({error}); restore it") from error
    lines = text.splitlines(keepends=True)
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = _parsed_header("".join(line[1:] for line in lines[:count]), path)
    try:
        if sum(line.count(",") for line in lines[count:]) > MAX_CELLS:
            raise ValueError("more cells than any baseline has")
        wide = pd.read_csv(
            io.StringIO("".join(lines[count:])), dtype=str, keep_default_na=False, na_filter=False
        )
        rows = pd.concat([_long(wide, header), _set_rows(header)], ignore_index=True)
        sets = tuple(
            _set_score(item, header) for item in header.get("sets", ()) if item["left_out"]
        )
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise _damaged(path) from error
    check_extent(rows, path.name)
    return Run(path.name, rows, header, sets=sets)


def rounded(run: Run) -> Run:
    """The run with values and seconds at the digits that a baseline keeps, and its names."""
    run = _printable(run)
    rows = run.rows.assign(
        value=_at_digits(run.rows["value"].to_numpy(float)),
        seconds=_at_digits(run.rows["seconds"].to_numpy(float)),
    )
    sets = tuple(replace(one, left_out=_at_digits(one.left_out, SET_DIGITS)) for one in run.sets)
    return replace(run, rows=rows, sets=sets)


def _printable(run: Run) -> Run:
    """The run with names as a baseline has them: without characters that act on a terminal."""

    def shown(value: Any) -> Any:
        if isinstance(value, str):
            return printable(value)
        if isinstance(value, Mapping):
            return {shown(key): shown(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(shown(item) for item in value)
        return value

    names = {name: run.rows[name].unique() for name in TEXT_COLUMNS}
    if all(shown(name) == name for some in names.values() for name in some):
        return run
    renamed = {
        name: run.rows[name].map({old: shown(old) for old in some}) for name, some in names.items()
    }
    sets = tuple(
        replace(
            one,
            point=shown(one.point),
            domain=shown(one.domain),
            key=shown(one.key),
            clips=shown(one.clips),
        )
        for one in run.sets
    )
    return replace(run, rows=run.rows.assign(**renamed), manifest=shown(run.manifest), sets=sets)


def _at_digits(values: np.ndarray[Any, np.dtype[np.float64]], digits: int = DIGITS) -> Any:
    distinct, where = np.unique(values, return_inverse=True)
    short = np.array([float(f"{x:.{digits}g}") for x in distinct.tolist()])
    return short[where.reshape(-1)] if len(short) else values


def _cells(rows: pd.DataFrame) -> list[str]:
    return [
        f"{value:.{DIGITS}g}" if status == "ok" and np.isfinite(value) else
        ("failed" if status == "ok" else str(status))
        for value, status in zip(rows["value"].tolist(), rows["status"].tolist(), strict=True)
    ]  # fmt: skip


def _header(run: Run, rows: pd.DataFrame) -> str:
    contents = {
        str(clip.get("name")): str(clip.get("content", ""))
        for clip in (run.manifest.get("corpus") or {}).get("clips", [])
        if isinstance(clip, Mapping)
    }
    clips = {
        str(name): {"domain": str(domain), "group": str(group), "content": contents.get(name, "")}
        for name, domain, group in rows[["clip", "domain", "group"]]
        .drop_duplicates("clip")
        .sort_values("clip")
        .itertuples(index=False)
    }
    sets = _sets(run, clips)
    of_sets = (item["key"] for item in sets if "kind" not in item)
    measured = {*rows.loc[rows["kind"] == "metric", "key"], *of_sets}
    metrics = {
        key: {field: run.metrics[key].get(field) for field in METRIC_FIELDS}
        for key in sorted(measured)
        if key in run.metrics
    }
    units = rows[["kind", "key", "unit"]].drop_duplicates(["kind", "key"])
    blocks: dict[str, Any] = {
        "format": FORMAT,
        "schema": BASELINE_SCHEMA,
        "name": run.manifest.get("name", ""),
        "protocol": run.manifest.get("protocol") or {},
        "units": {f"{kind}/{key}": unit for kind, key, unit in units.itertuples(index=False)},
        "metrics": metrics,
        "systems": {
            name: {field: run.systems[name].get(field) for field in SYSTEM_FIELDS}
            for name in sorted(rows["system"].unique())
            if name in run.systems
        },
        "clips": clips,
        "sets": sets,
    }
    lines = []
    for key, value in blocks.items():
        if key in ("metrics", "systems", "clips"):
            inner = ",\n".join(f"  {_json(name)}: {_json(item)}" for name, item in value.items())
            lines.append(f" {_json(key)}: {{\n{inner}\n }}")
        elif key == "sets":
            inner = ",\n".join(f"  {_json(item)}" for item in value)
            lines.append(f" {_json(key)}: [\n{inner}\n ]" if value else f" {_json(key)}: []")
        else:
            lines.append(f" {_json(key)}: {_json(value)}")
    text = "{\n" + ",\n".join(lines) + "\n}"
    return "".join(f"# {line}\n" for line in text.splitlines())


def _sets(run: Run, clips: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of sets, each with what its interval is made of.

    without: the domain's clips that it is not of.
    """
    made: dict[tuple[str, ...], SetScore] = {
        (*one.point, one.domain, one.key, one.kind, one.backend): one for one in run.sets
    }
    rows = run.rows[run.rows["kind"].isin(OF_SETS) & (run.rows["clip"] == "")]
    rows = rows.drop_duplicates([*SET_FIELDS, "kind"], keep="last")
    rows = rows.sort_values([*SET_FIELDS, "kind"], kind="stable")
    found = []
    for row, cell in zip(rows.to_dict("records"), _cells(rows), strict=True):
        names = [str(row[field]) for field in SET_FIELDS]
        kind = str(row["kind"])
        one = made.get((*names[:6], kind, "" if kind == Kind.METRIC else names[6]))
        its = set(one.clips) if one else set()
        given = [name for name, clip in clips.items() if clip["domain"] == row["domain"]]
        found.append(
            dict(zip(SET_FIELDS, names, strict=True))
            | {
                **({} if kind == Kind.METRIC else {"kind": kind}),
                "unit": str(row["unit"]), "cell": cell,
                "without": [name for name in given if name not in its] if one else [],
                "left_out": [float(f"{x:.{SET_DIGITS}g}") for x in one.left_out] if one else [],
            }
        )  # fmt: skip
    return found


def _set_rows(header: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of the schema of the values of sets."""
    import pandas as pd

    rows = [
        dict.fromkeys(COLUMNS, "")
        | {field: item[field] for field in (*SET_FIELDS, "unit")}
        | {
            "kind": _kind(item), "seconds": 0.0,
            "value": np.nan if item["cell"] in WORDS else _number(item["cell"]),
            "status": item["cell"] if item["cell"] in WORDS else "ok",
            "reason": item["cell"] if item["cell"] in WORDS else "",
        }
        for item in header.get("sets", ())
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float, "seconds": float})


def _set_score(item: Mapping[str, Any], header: Mapping[str, Any]) -> SetScore:
    without = set(item["without"])
    clips = tuple(
        name
        for name, clip in header["clips"].items()
        if clip["domain"] == item["domain"] and name not in without
    )
    system, curve, point, variant, domain, key = (str(item[field]) for field in SET_FIELDS[:6])
    left_out = np.array(item["left_out"], dtype=float)
    kind = _kind(item)
    backend = "" if kind == Kind.METRIC else str(item["backend"])
    names = (system, curve, point, variant)
    return SetScore(names, domain, key, clips, left_out, np.empty(0), kind, backend)


def _kind(item: Mapping[str, Any]) -> str:
    """Of the value of a set: a metric, where nothing else is said."""
    kind = item.get("kind", Kind.METRIC.value)
    if kind not in OF_SETS:
        raise ValueError(f"{kind!r} is no kind of a value of a set")
    return str(kind)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, allow_nan=False)


def _parsed_header(text: str, path: Path) -> dict[str, Any]:
    header, fault = parsed(text.encode())
    if fault or header.get("format") != FORMAT:
        raise _damaged(path)
    if header.get("schema") != BASELINE_SCHEMA:
        raise NotComparableError(
            f"the baseline {path} has schema {header.get('schema')}, this rdbench reads "
            f"{BASELINE_SCHEMA}; make it anew with --update"
        )
    clips = header.get("clips")
    if not isinstance(clips, dict) or not all(
        isinstance(clip, dict) and all(isinstance(clip.get(key), str) for key in CLIP_FIELDS)
        for clip in clips.values()
    ):
        raise _damaged(path)
    header["corpus"] = {"clips": [{"name": name, **clip} for name, clip in clips.items()]}
    return header


def _long(wide: pd.DataFrame, header: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of the schema from the table."""
    named = [column for column in wide.columns if column not in (*POINT_CLIP, "seconds")]
    long = wide.melt([*POINT_CLIP, "seconds"], named, var_name="column", value_name="cell")
    long = long[long["cell"] != ""]
    what = long["column"].drop_duplicates()
    split = {column: _split(column) for column in what}
    for number, part in enumerate(("kind", "key", "backend")):
        long[part] = long["column"].map({c: parts[number] for c, parts in split.items()})
    words = long["cell"].isin(WORDS)
    long["status"] = long["cell"].where(words, "ok")
    long["value"] = [_number(x) if x not in WORDS else np.nan for x in long["cell"]]
    long["seconds"] = long["seconds"].map(_number)
    clips, units = header["clips"], header.get("units", {})
    long["domain"] = long["clip"].map({name: clip["domain"] for name, clip in clips.items()})
    long["group"] = long["clip"].map({name: clip["group"] for name, clip in clips.items()})
    long["unit"] = long["column"].map(
        {c: units.get(f"{kind}/{key}", "") for c, (kind, key, _) in split.items()}
    )
    long["reason"] = long["status"].map({"ok": "", "undefined": "undefined", "failed": "failed"})
    long["unit_key"] = long["provenance"] = ""
    if long["domain"].isna().any():
        raise ValueError("a clip that the header does not list")
    return long[list(COLUMNS)].reset_index(drop=True)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number of a baseline")
    return value


def _split(column: str) -> tuple[str, str, str]:
    kind, slash, rest = column.partition("/")
    key, at, backend = rest.partition("@")
    if not slash or not at or kind not in ("rate", "metric"):
        raise ValueError(f"{column!r} is no column of a baseline")
    return kind, key, backend


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"{path} is not a baseline that rdbench wrote, or it was damaged; restore it, or make it "
        "anew with --update"
    )
