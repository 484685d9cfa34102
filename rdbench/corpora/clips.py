"""The clips of a folder in the layout of a corpus: names, groups, domains and texts.

They follow from the entry and the paths below the corpus's root alone, so that they are the same on
every machine, and wherever the folder lies. A folder that is not whole, holds more, or is another
version is refused, with what tells it: a result under the name of a corpus is of all of it, or of
a sample that says so.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from rdbench.audio.clip import Clip, Corpus, readable
from rdbench.audio.corpus import audio_files
from rdbench.corpora.entries import CLIP, GROUP, KEY, Entry, Table, entry
from rdbench.corpora.places import place_of, read_record
from rdbench.files import read_file
from rdbench.types import SpecError

MOST_BYTES = 2**28
"""Of a table: those of half a million clips have a tenth of it."""
_SHOWN = 3
_AS_PEOPLE_WRITE = (
    (r"\(\?:[^()]*\)\?", ""),  # what may be missing
    (r"\(\?:([^()]*)\)", r"\1"),
    (r"\A\(\?P<\w+>([^()]*)\)\Z", r"\1"),
    (r"\(\?P<(\w+)>[^()]*\)", r"{\1}"),
    *2 * [(r"\(\?P<\w+>([^()]*)\)", r"\1")],  # of groups, the inner ones are named
    (r"\w\?", ""),
    (r"\\d\+?", "N"),
    (r"\[[^]]*\]\+?", "*"),
)
"""Replacements, one after the other, that leave of a pattern of paths what tells people."""


def named_corpus(name: str, folder: str | Path | None = None) -> Corpus:
    """The clips of a public corpus, by its name.

    folder: where it lies; None is where `rdbench corpora fetch` puts it.

    Raises SpecError for a name that is not known, a corpus that is not here, and a folder that does
    not hold it as it was published.
    """
    known = entry(name)
    place = place_of(name) if folder is None else Path(folder)
    if not place.is_dir():
        raise SpecError(f"corpus {name!r} is not in {place}; {how_to_get(known)}")
    return corpus_of(known, place)


def how_to_get(known: Entry) -> str:
    """What to do about a corpus that is not here."""
    if known.by_hand:
        return f"it is had by hand ({known.by_hand}): name the folder with `path` or --data"
    return (
        f"`rdbench corpora fetch {known.name}` brings it, or name the folder that holds it with "
        "`path` or --data"
    )


def corpus_of(known: Entry, folder: Path) -> Corpus:
    """The clips of a folder; raises SpecError where it does not hold the corpus, all of it."""
    root, files = _audio(known, folder)
    clips, strangers = [], []
    for path in files:
        found = re.fullmatch(known.clips.files, path)
        if found is not None:
            clips.append((path, found))
        elif known.clips.also is None or not re.fullmatch(known.clips.also, path):
            strangers.append(path)
    where = f"{folder} is not {known.title}"
    if not clips:
        raise SpecError(
            f"{where}: {_what_it_holds(files)}, where its clips lie as {_shape(known)}; give its "
            "own folder, as the archive has it"
        )
    if strangers:
        raise SpecError(
            f"{where}: {_named(strangers)} {'are' if len(strangers) > 1 else 'is'} no part of it; "
            "move what is not out of the folder"
        )
    made = _with_facts(known, root, clips)
    _check_whole(known, folder, root, {path for path, _ in clips}, len(made))
    about = f"{len(made)} clips of {known.title} ({known.licence})"
    return Corpus(known.name, tuple(made), about)


def _audio(known: Entry, folder: Path) -> tuple[Path, list[str]]:
    """The root of the corpus and the paths of the audio below it.

    Raises SpecError for another version.
    """
    root = _root(known, folder)
    files = [readable(path.relative_to(root).as_posix()) for path in audio_files(root)]
    for kind in known.others:
        if told := [path for path in files if re.fullmatch(kind.files, path)]:
            raise SpecError(
                f"{folder} is not {known.title} but {kind.means} ({_named(told)} tells it); give "
                "the folder of the one that is named"
            )
    return root, files


def _root(known: Entry, folder: Path) -> Path:
    """Where paths start: the folder of the archive, or one that was taken out of it."""
    parts = PurePosixPath(known.clips.root).parts
    for number in range(len(parts)):
        if (inner := folder.joinpath(*parts[number:])).is_dir():
            return inner
    return folder


def _with_facts(known: Entry, root: Path, found: Sequence[tuple[str, re.Match[str]]]) -> list[Clip]:
    layout = known.clips
    rows = _Rows(layout.table, root) if layout.table is not None else None
    if rows is not None:
        found = rows.listed(found)
    texts = _Texts(known, root)
    clips = []
    for path, match in sorted(found, key=lambda one: one[0]):
        row = rows.of(match[KEY]) if rows is not None else {}
        parts = match.groupdict()
        name = parts.get(CLIP) or path
        group = row.get("group") or parts.get(GROUP) or name
        clips.append(
            Clip(
                name=name,
                path=root / path,
                domain=known.domain_of(name),
                group=readable(group),
                text=readable(row.get("text") or texts.of(match)),
            )
        )
    return clips


class _Texts:
    """What is said, from files beside the clips."""

    def __init__(self, known: Entry, root: Path) -> None:
        self._from, self._root, self._title = known.clips.text, root, known.title
        self._lines = cache(self._lines_of)

    def of(self, match: re.Match[str]) -> str:
        """Of one clip; raises SpecError where it should have a text and has none."""
        wanted = self._from
        if wanted is None:
            return ""
        file = wanted.file.format(**match.groupdict())
        lines = self._lines(file)
        if lines is None:
            return self._missing(file, match)
        if wanted.line is None:
            return " ".join(" ".join(lines).split())
        key = wanted.line.format(**match.groupdict())
        told = (line.partition(" ") for line in lines)
        return next((text.strip() for head, _, text in told if head == key), "") or self._missing(
            f"{file} (no line of {key})", match
        )

    def _lines_of(self, file: str) -> list[str] | None:
        try:
            return read_file(self._root / file, MOST_BYTES).decode("utf-8-sig").splitlines()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _unread(self._root / file, error) from error

    def _missing(self, what: str, match: re.Match[str]) -> str:
        if self._from is not None and self._from.missing:
            return ""
        raise SpecError(
            f"{self._root} is not {self._title}: {match.string} has no text ({what} is missing); "
            "unpack the archive again"
        )


class _Rows:
    """What a table of the corpus says of its clips, each row by its key."""

    def __init__(self, table: Table, root: Path) -> None:
        self._table, self._path = table, root / table.file
        self._rows: dict[str, Mapping[str, str]] = {}
        try:
            raw = read_file(self._path, MOST_BYTES)
            for key, row in self._read(raw.decode("utf-8-sig")):
                self._rows.setdefault(key, row)  # of several captions the first
        except FileNotFoundError:
            raise SpecError(
                f"{root} lacks {table.file}, which says what its clips are; unpack the archive "
                "again, or put the file there"
            ) from None
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            raise _unread(self._path, error) from error

    def listed(self, found: Sequence[tuple[str, re.Match[str]]]) -> list[tuple[str, re.Match[str]]]:
        """The clips that count; raises SpecError where one that the table lists is not there."""
        if self._table.lists is None:
            return list(found)
        kept = [(path, match) for path, match in found if match[KEY] in self._rows]
        absent = sorted(self._rows.keys() - {match[KEY] for _, match in kept})
        if absent and self._table.lists == "all":
            raise SpecError(
                f"{self._path} lists {_named(absent)}, which {'are' if len(absent) > 1 else 'is'} "
                "not there; unpack the archive again"
            )
        firsts: dict[str, str] = {}
        for path, match in sorted(kept, key=lambda one: one[0]):
            if (first := firsts.setdefault(match[KEY], path)) != path:
                raise SpecError(
                    f"{first} and {path} are both {match[KEY]!r} of {self._path}; keep one of them"
                )
        if not kept:
            raise SpecError(f"{self._path} lists none of the clips beside it; take its own ones")
        return kept

    def of(self, key: str) -> dict[str, str]:
        """Group and text of a clip; raises SpecError for one of which nothing is said."""
        row = self._rows.get(key)
        if row is None:
            if self._table.missing:
                return {}
            raise SpecError(f"{self._path} says nothing of {key!r}; take the table of this version")
        columns = {"group": self._table.group, "text": self._table.text}
        return {name: row.get(column, "") for name, column in columns.items() if column}

    def _read(self, text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        rows = self._of_json(text) if self._path.suffix == ".json" else self._of_lines(text)
        for row in rows:
            if self._table.key not in row:
                raise ValueError(f"it has no column {self._table.key!r}")
            yield row[self._table.key], row

    def _of_json(self, text: str) -> Iterator[Mapping[str, str]]:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is no mapping")
        for key, value in content.items():
            row = value if isinstance(value, dict) else {"text": value}
            yield {name: str(cell) for name, cell in row.items()} | {self._table.key: key}

    def _of_lines(self, text: str) -> Iterator[Mapping[str, str]]:
        tabs = self._path.suffix == ".tsv"
        how: dict[str, Any] = (
            {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"skipinitialspace": True}
        )
        lines: Iterable[str] = io.StringIO(text, newline="")
        header = self._table.columns
        if header is not None:
            lines = (line for line in lines if not line.startswith("#"))
        reader = csv.reader(lines, **how)
        header = header or tuple(next(reader, ()))
        for cells in reader:  # some have a cell for each tag, at the end
            if cells:
                yield dict(zip(header, cells, strict=False))


def _check_whole(known: Entry, folder: Path, root: Path, there: set[str], clips: int) -> None:
    """Raises SpecError where a clip is missing, of those that came or of those that are counted."""
    lost = []
    if (record := read_record(folder)) is not None:
        below = [os.path.relpath(folder / path, root) for path in record.files]
        lost = [one for one in below if re.fullmatch(known.clips.files, one) and one not in there]
    wanted = clips if known.clips.count is None else known.clips.count
    if clips == wanted and not lost:
        return
    counted = f"{clips} clips" + (f" of {wanted}" if wanted != clips else "")
    named = f" ({_named(lost)} {'are' if len(lost) > 1 else 'is'} missing)" if lost else ""
    raise SpecError(
        f"{folder} does not hold {known.title} as it is, but {counted}{named}; unpack the archive "
        "again, or take the part that you want as a folder (`kind: folder`)"
    )


def _what_it_holds(files: Sequence[str]) -> str:
    if not files:
        return "it holds no audio"
    return f"it holds {len(files)} audio files such as {_short(files[0])}"


def _shape(known: Entry) -> str:
    """The pattern of its clips as people write paths."""
    text = known.clips.files
    for pattern, shown in _AS_PEOPLE_WRITE:
        text = re.sub(pattern, shown, text)
    return f"{known.clips.root}/{text}".lstrip("/").replace("\\", "")


def _named(paths: Sequence[str]) -> str:
    more = len(paths) - _SHOWN
    return ", ".join(map(_short, paths[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _short(path: str) -> str:
    return path if len(path) <= 60 else f"{path[:57]}…"


def _unread(path: Path, error: BaseException) -> SpecError:
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return SpecError(f"{path} cannot be read ({reason[:120]}); unpack the archive again")
