r"""Other people's names in files and on terminals: no character of them acts.

A name may hold an escape sequence that repaints a terminal, a mark that turns the direction of what
follows, or a formula that a spreadsheet computes when a table is opened.
"""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1), separators of lines and paragraphs, marks that turn a direction,
# and halves of surrogate pairs.
_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = re.compile(r"[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def printable(text: str) -> str:
    r"""The text with characters that act as they are written in a program.

    >>> printable("a\x1b[31mb\u202e")
    'a\\x1b[31mb\\u202e'
    """
    return _ACTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def first_line(error: BaseException) -> str:
    r"""The beginning of what an error says, or its type where it says nothing.

    Without addresses: equal runs have equal rows.

    >>> first_line(ValueError("no <x at 0x7f00>\nmore")), first_line(KeyError())
    ('no <x>', 'KeyError')
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r" at 0x[0-9a-f]+", "", lines[0])[:160].rstrip(" .")


def cell(text: str) -> str:
    """The text as a cell of a spreadsheet that computes nothing; a number stays one.

    >>> cell("=1+1"), cell("-1.5"), cell("-x")
    ("'=1+1", '-1.5', "'-x")
    """
    shown = printable(text)
    acts = _FORMULA.match(shown) and not _NUMBER.fullmatch(shown)
    return f"'{shown}" if acts else shown


def from_cell(text: str) -> str:
    """The text of a cell that `cell` made, as far as it can be told."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text, 1) else text
