"""Names from users, made safe for figures, tables and file names.

A label may hold anything: dollar signs, pipes, line breaks, `../`, three hundred characters.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable

LONGEST_LABEL = 48
LONGEST_SLUG = 60


def clean(name: str, *, longest: int = LONGEST_LABEL) -> str:
    r"""One printable line of at most `longest` characters.

    >>> clean("a\n\tb" + "\x1b[31m")
    'a b [31m'
    """
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(name))
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else shown[: longest - 1].rstrip() + "…"


def slug(name: str) -> str:
    """A file name: lower-case letters, digits, `_`, `.` and `-`, and unlike that of other names.

    >>> slug("speech")
    'speech'
    >>> slug("../Speech: new")
    'speech-new-ec6b4adb'
    """
    kept = re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.")[:LONGEST_SLUG]
    if kept == name:
        return kept
    return f"{kept or 'unnamed'}-{zlib.crc32(name.encode(errors='replace')):08x}"


def markdown(text: str) -> str:
    r"""Text for a cell of a Markdown table, its markup taken literally.

    What cannot be read as markup stays as it is: `[1.2, 3.4]`, `my_codec`.

    >>> markdown("a|b *c* <b> [1, 2] my_codec _d_ [e](f)")
    'a\\|b \\*c\\* \\<b> [1, 2] my_codec \\_d\\_ [e\\](f)'
    """
    return re.sub(r"([\\|`*<~$]|(?<!\w)_|_(?!\w)|\](?=[(\[]))", r"\\\1", text)


def spaced(point: str) -> str:
    """The name of a point with a space between a number and its unit.

    >>> spaced("3.5kHz"), spaced("8bit"), spaced("6"), spaced("q8")
    ('3.5 kHz', '8bit', '6', 'q8')
    """
    return re.sub(r"(?<=\d)(k?Hz|kbps|dB|ms)\b", r" \1", point)


def listed(names: Iterable[str], most: int) -> str:
    """The first `most` of the distinct names, and how many more there are.

    >>> listed(["a", "b", "a", "c", "d"], 2)
    'a, b and 2 more'
    """
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - most} more" if len(unique) > most else ""
    return ", ".join(unique[:most]) + more
