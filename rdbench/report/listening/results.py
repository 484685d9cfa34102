"""What an abx test found, as text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rdbench.analysis.listeners.webmushra import pair_table
from rdbench.report.cards import records
from rdbench.report.names import clean
from rdbench.report.text.columns import Column, aligned

if TYPE_CHECKING:
    from rdbench.analysis.listeners.webmushra import Answer


def pairs_text(answers: Iterable[Answer]) -> str:
    """A row per pair: how often the two were told apart."""
    rows = records(pair_table(answers))
    if not rows:
        return "no answers"
    columns = [
        Column("one", [clean(row.one) for row in rows]),
        Column("other", [clean(row.two) for row in rows]),
        Column("listeners", [str(row.listeners) for row in rows], right=True),
        Column("correct", [f"{row.correct}/{row.decided}" for row in rows], right=True),
        Column("undecided", [str(row.undecided) for row in rows], right=True),
        Column("share, 95 %", [_share(row.share, row.low, row.high) for row in rows], right=True),
        Column("p, guessing", [_p(row.p) for row in rows], right=True),
    ]
    return f"{aligned(columns)}\nanswers are counted as independent of each other"


def _share(share: float, low: float, high: float) -> str:
    return f"{share:.2f} [{low:.2f}, {high:.2f}]" if math.isfinite(share) else "–"


def _p(p: float) -> str:
    if not math.isfinite(p):
        return "–"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"
