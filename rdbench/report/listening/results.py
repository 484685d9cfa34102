"""What an abx test found, as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rdbench.analysis.listeners.webmushra import pair_table
from rdbench.report.cards import records
from rdbench.report.names import clean
from rdbench.report.numbers import p_text, with_interval
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
        Column("share, 95 %", [_share(row) for row in rows], right=True),
        Column("p, guessing", [p_text(row.p) for row in rows], right=True),
    ]
    return f"{aligned(columns)}\nanswers are counted as independent of each other"


def _share(row: Any) -> str:
    return with_interval("{:.2f}".format, row.share, row.low, row.high)
