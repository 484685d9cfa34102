"""Fenced blocks of Markdown pages, with what a comment before them says of how to test them.

A comment right before a block (blank lines and other comments may stand between) is one of

    <!-- test: file NAME -->              save the block under this name, for later blocks
    <!-- test: file NAME as KIND -->      ... a YAML file that is no spec but a KIND
    <!-- test: as KIND -->                a YAML block that is no spec but a KIND
    <!-- test: instead TEXT => TEXT -->   run the block with this text replaced
    <!-- test: skip because REASON -->    do not run it; its commands must exist nevertheless
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\S*)\s*$")
_COMMENT = re.compile(r"^<!-- test: (.*?) -->$")
_FILE = re.compile(r"file (\S+)(?: as (\w+))?$")


@dataclass(frozen=True)
class Block:
    """One block. `line` is that of its fence; `place` names it in messages."""

    page: str
    line: int
    language: str
    text: str
    notes: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def skip(self) -> str | None:
        """The reason not to run it."""
        found = [n for n in self.notes if n.startswith("skip")]
        return found[0].removeprefix("skip because ").strip() if found else None

    @property
    def file(self) -> str | None:
        matches = [match for note in self.notes if (match := _FILE.match(note))]
        return matches[0][1] if matches else None

    @property
    def kind(self) -> str:
        """What a YAML block is."""
        matches = [match for note in self.notes if (match := _FILE.match(note)) and match[2]]
        plain = [note.removeprefix("as ") for note in self.notes if note.startswith("as ")]
        return matches[0][2] if matches else plain[0] if plain else "spec"

    @property
    def adapted(self) -> str:
        """The text with its replacements made; each must have something to replace."""
        text = self.text
        for note in self.notes:
            if note.startswith("instead "):
                old, new = note.removeprefix("instead ").split(" => ")
                assert old in text, f"{self.place}: there is no {old!r} to replace"
                text = text.replace(old, new)
        return text


def read_blocks(path: Path, page: str) -> list[Block]:
    """The fenced blocks of a page, in order; an unclosed one is an error."""
    blocks: list[Block] = []
    notes: list[str] = []
    opened: tuple[int, str] | None = None
    body: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if opened is not None:
            if line.rstrip() == "```":
                text = "\n".join(body) + "\n"
                blocks.append(Block(page, opened[0], opened[1], text, tuple(notes)))
                opened, notes, body = None, [], []
            else:
                body.append(line)
        elif fence := _FENCE.match(line):
            opened = (number, fence[1])
        elif comment := _COMMENT.match(line.strip()):
            notes.append(comment[1])
        elif line.strip() and not line.startswith("<!--"):
            assert not notes, f"{page}:{number}: a test comment with no block after it"
    assert opened is None, f"{page}:{opened and opened[0]}: the block is not closed"
    return blocks
