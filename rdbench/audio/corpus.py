"""Corpora: a folder of audio files, a CSV or JSONL manifest, and the embedded default.

No audio is read here; a file that turns out unreadable costs its own clip, later, and no other.
A manifest that is itself wrong (a bad number, a missing file, a clip twice) is refused whole and
at once, with its line, before any work is done.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rdbench.audio.clip import Clip, Corpus, part_name, readable
from rdbench.files import read_file
from rdbench.types import AudioError, SpecError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".mp3", ".aif", ".aiff", ".opus")
COLUMNS = ("file", "start", "duration", "domain", "group", "text")
DEFAULT_DOMAIN = "audio"
MAX_BYTES = 2**26
"""The largest manifest that is read: half a million clips."""
EMBEDDED = Path(__file__).parent / "embedded"

_JSON_SUFFIXES = (".jsonl", ".ndjson")
_SHOWN = 100  # characters of a file's name in a message
# Few wildcards: what a form takes grows with the length of a name to their number.
_MOST_WILD = 3
_WILD = {"*": ".*?", "{group}": "(?P<group>[^/]+?)"}
_TYPO = 0.75  # similarity from which an unknown column is taken for a misspelt one


def folder_corpus(
    path: str | Path,
    *,
    domain: str = DEFAULT_DOMAIN,
    group_by: str = "file",
) -> Corpus:
    """Every audio file under a folder, sorted by name; hidden files and folders are left out.

    group_by: "file", each clip its own group, "folder", the files of one folder together, or a
    form of their paths such as "{group}_*" (`group_form`). Raises AudioError where there is no
    such folder or no audio in it, SpecError for another `group_by` and a file without its form.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise AudioError(f"there is no folder {str(path)!r}; give the folder that holds the clips")
    form = None if group_by in ("file", "folder") else group_form(group_by)
    clips = []
    for file in audio_files(folder):
        path = file.relative_to(folder)
        name = readable(path.as_posix())
        parent = path.parent.as_posix() if path.parent.parts else folder.resolve().name
        if form is not None:
            group = _named_group(form, name, group_by)
        else:
            group = name if group_by == "file" else readable(parent)
        clips.append(Clip(name, file, domain, group))
    if not clips:
        raise AudioError(
            f"folder {str(path)!r} holds no audio; rdbench reads {', '.join(AUDIO_SUFFIXES)} files"
        )
    name = readable(folder.resolve().name)
    return Corpus(name, tuple(clips), f"{len(clips)} files of a folder")


def manifest_corpus(
    path: str | Path,
    *,
    root: str | Path | None = None,
    allow_outside: bool = False,
    domain: str = DEFAULT_DOMAIN,
) -> Corpus:
    """The clips that a CSV (with a header) or JSONL manifest lists, in its order.

    Columns: file; and where wanted start and duration (seconds), domain (`domain` where missing),
    group (the clip itself where missing) and text (what is said in it). Other columns are ignored.

    A relative `file` is looked for beside the manifest, then in `root`. It must lie inside one of
    the two, links resolved, unless `allow_outside`: a manifest from elsewhere is data, and must
    not name any file of this machine.

    Raises SpecError for a manifest that cannot be read or used; the message says which line.
    """
    manifest = Path(path)
    roots = [manifest.parent, *([Path(root)] if root is not None else [])]
    files = _Files(roots, allow_outside=allow_outside)
    clips: list[Clip] = []
    lines: dict[str, int] = {}
    for line, row in _rows(manifest):
        where = f"line {line} of {manifest.name}"
        clip = _clip(row, where, files, domain=domain)
        if clip.name in lines:
            raise SpecError(
                f"{where} lists {clip.name!r}, as line {lines[clip.name]} did; keep one of them"
            )
        lines[clip.name] = line
        clips.append(clip)
    if not clips:
        raise SpecError(f"manifest {manifest.name} lists no clips; add one line for each")
    name = manifest.resolve().parent.name if manifest.stem == "manifest" else manifest.stem
    about = f"{len(clips)} clips of {readable(manifest.name)}"
    return Corpus(readable(name), tuple(clips), about)


def embedded_corpus() -> Corpus:
    """The clips that come with rdbench, rendered by `rdbench.audio.render_embedded`."""
    clips = manifest_corpus(EMBEDDED / "manifest.csv").clips
    description = (
        f"{len(clips)} clips that come with rdbench: synthetic speech (espeak-ng), music and sounds"
    )
    return Corpus("embedded", clips, description)


def audio_files(folder: Path) -> Iterator[Path]:
    """Every audio file below a folder, by its ending; what is hidden is left out."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(AUDIO_SUFFIXES):
                yield Path(parent, name)


def group_form(text: str) -> re.Pattern[str]:
    """What a form such as "{group}_*" means of a file's path below the corpus's folder.

    `{group}`, once, is the group's name, without a slash; `*` is anything. Both are as short as
    they can be. Raises SpecError for what is no such form.

    >>> group_form("*/{group}-*").fullmatch("dev/1089-134686-0000.flac")["group"]
    '1089'
    """
    parts = re.split(r"(\*|\{group\})", text)
    wild = sum(part in _WILD for part in parts)
    if parts.count("{group}") != 1 or wild > _MOST_WILD:
        raise SpecError(
            f"group_by is {text!r}; it must be 'file', 'folder' or a form of the files' paths with "
            f"{{group}} once and at most {_MOST_WILD - 1} *, such as '{{group}}_*'"
        )
    return re.compile("".join(_WILD.get(part) or re.escape(part) for part in parts), re.DOTALL)


def _named_group(form: re.Pattern[str], name: str, group_by: str) -> str:
    found = form.fullmatch(name)
    if found is None:
        raise SpecError(
            f"corpus.group_by is {group_by!r}, and {_short(name)} has no such name; mend the form, "
            "or list the groups in a manifest"
        )
    return found["group"]


def _rows(manifest: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    suffix = manifest.suffix.lower()
    if suffix != ".csv" and suffix not in _JSON_SUFFIXES:
        raise SpecError(f"manifest {str(manifest)!r} is neither .csv nor .jsonl; name it so")
    try:
        content = io.BytesIO(read_file(manifest, MAX_BYTES))
        with io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as stream:
            reader = _csv_rows if suffix == ".csv" else _json_rows
            yield from reader(stream, manifest.name)
    except OSError as error:
        raise SpecError(
            f"manifest {str(manifest)!r} cannot be read: {error.strerror}; check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError(f"manifest {str(manifest)!r} is not text; save it as UTF-8") from error


def _csv_rows(stream: Iterable[str], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(stream, strict=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        if not header:
            raise SpecError(f"manifest {name} is empty; its first line must name the columns")
        _check_columns(header, f"manifest {name}")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise SpecError(
                    f"line {reader.line_num} of {name} has {len(cells)} cells where the header "
                    f"has {len(header)}; quote cells that hold commas"
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise SpecError(
            f"line {reader.line_num} of {name} is not valid CSV ({error}); mend that line"
        ) from error


def _json_rows(stream: Iterable[str], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"line {line} of {name} is not valid JSON; mend that line") from error
        if not isinstance(row, dict):
            raise SpecError(f"line {line} of {name} is not an object; write {{'file': …}}")
        keys = {str(key).strip().lower(): value for key, value in row.items()}
        _check_columns(list(keys), f"line {line} of {name}")
        yield line, keys


def _check_columns(columns: Sequence[str], where: str) -> None:
    """Refuses a missing `file`, a column that stands twice, and what looks like a slip."""
    others = [column for column in columns if column not in COLUMNS]
    for valid in COLUMNS:
        if columns.count(valid) > 1:
            raise SpecError(f"{where} has the column {valid!r} twice; keep one")
        if valid in columns or valid == "text":  # which too many words are like
            continue
        near = difflib.get_close_matches(valid, others, n=1, cutoff=_TYPO)
        if near:
            raise SpecError(f"{where} has a column {near[0]!r}; did you mean {valid!r}?")
        if valid == "file":
            raise SpecError(
                f"{where} has no column 'file'; it may have: {', '.join(COLUMNS)} and others"
            )


def _clip(row: Mapping[str, Any], where: str, files: _Files, *, domain: str) -> Clip:
    file = _text(row, "file", where)
    if not file or "\0" in file:
        raise SpecError(f"{where} names no file; fill in the column 'file'")
    start = _number(row, "start", where)
    duration = _number(row, "duration", where)
    if duration == 0.0:
        raise SpecError(f"{where} has a duration of 0; leave it empty for the rest of the file")
    path = files.locate(file, where)
    name = part_name(readable(posixpath.normpath(file)), start or 0.0, duration)
    return Clip(
        name=name,
        path=path,
        domain=readable(_text(row, "domain", where)) or domain,
        group=readable(_text(row, "group", where)) or name,
        start=start or 0.0,
        duration=duration,
        text=readable(_text(row, "text", where)),
    )


class _Files:
    """Finds the files that a manifest names in `roots`, and in them alone unless allowed."""

    def __init__(self, roots: Sequence[Path], *, allow_outside: bool) -> None:
        self._roots = roots
        self._homes = None if allow_outside else [root.resolve() for root in roots]
        self._found: dict[str, Path] = {}

    def locate(self, file: str, where: str) -> Path:
        """The path of `file`; raises SpecError. A file of many parts is looked for once."""
        if file not in self._found:
            try:
                self._found[file] = self._existing(file, where)
            except (OSError, RuntimeError, ValueError):  # too long a name, links in a circle
                raise SpecError(
                    f"{where} names {_short(file)}, which cannot be a file; mend the path"
                ) from None
        return self._found[file]

    def _existing(self, file: str, where: str) -> Path:
        candidates = [root / file for root in self._roots]
        if self._homes is not None:
            # Whether a file outside exists is not told: the check comes first.
            candidates = [
                path
                for path in candidates
                if any(path.resolve().is_relative_to(home) for home in self._homes)
            ]
            if not candidates:
                raise SpecError(
                    f"{where} names {_short(file)}, outside the manifest's folder; move the file "
                    "inside or allow files outside"
                )
        for path in candidates:
            if path.is_file():
                return path
        raise SpecError(f"{where} names {_short(file)}, which does not exist; mend the path")


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if column == "group" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # speaker numbers
    return _refuse(column, value, "text", where)


def _number(row: Mapping[str, Any], column: str, where: str) -> float | None:
    value = row.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return _refuse(column, value, "a number of seconds, 0 or more", where)
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return _refuse(column, value, "a number of seconds, 0 or more", where)
    if not math.isfinite(seconds) or seconds < 0:
        return _refuse(column, value, "a number of seconds, 0 or more", where)
    return seconds


def _refuse(column: str, value: Any, wanted: str, where: str) -> NoReturn:
    shown = repr(value) if len(repr(value)) <= _SHOWN else f"{repr(value)[:_SHOWN]}…"
    raise SpecError(f"{where} has {column} {shown}; it must be {wanted}")
