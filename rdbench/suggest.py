"""The end of a sentence about a name that is not known: what may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 40
"""How many names are listed where none is near: all metrics, but not all clips of a corpus."""
LONGEST = 80
"""Characters of a name that are told: a foreign file may have names of thousands."""


def nearest(name: object, known: Iterable[object], *, many: str = "known") -> str:
    """The nearest of `known` names as a question, or all of them behind the word `many`.

    >>> nearest("pesq", ["pesq_wb", "stoi"])
    "did you mean 'pesq_wb'?"
    >>> nearest("xyz", ["pesq_wb", "stoi"], many="metrics")
    'metrics: pesq_wb, stoi'
    """
    names = [str(item) for item in known]
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {_short(near[0])!r}?"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{many}: {', '.join(map(_short, names[:SHOWN])) or 'none'}{more}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
