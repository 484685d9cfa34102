"""What has no value, and why, as a table: quantities of one fate share a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdbench.report.cards import RESIDUAL_DELAY, RunCard, records
from rdbench.report.names import clean, listed
from rdbench.report.tables.table import Table, words

if TYPE_CHECKING:
    import pandas as pd

LONGEST_REASON = 200
NAMED = 2
COUNTS = ("undefined", "failed", "not done", "clips")


def missing_table(inside: pd.DataFrame, card: RunCard, *, brief: bool = False) -> Table:
    """Aggregates of one domain that lack clips, with the most frequent reason.

    brief: the first quantities of a row and how many more, and shorter reasons. Without columns
    where nothing is missing.
    """
    rows = inside[(inside["n_ok"] < inside["n_total"]) & (inside["kind"] != "cost")]
    longest = 120 if brief else LONGEST_REASON
    fates: dict[tuple[str, ...], list[str]] = {}
    for row in records(rows):
        fate = _fate(row, card, longest)
        metric = card.metrics.get(row.key) if row.kind == "metric" else None
        name = metric.name if metric and row.key != RESIDUAL_DELAY else row.key.replace("_", " ")
        fates.setdefault(fate, []).append(clean(name))
    title = "Clips without a value"
    if not fates:
        return Table("missing", title, "", [], [])
    system, point, variant, *counts, reason = (list(cells) for cells in zip(*fates, strict=True))
    head = [
        words("system", system),
        words("point", point, right=True),
        words("variant", variant),
    ]
    columns = [
        words(
            "quantities",
            [listed(names, NAMED if brief else len(names)) for names in fates.values()],
        ),
        *(words(name, cells, right=True) for name, cells in zip(COUNTS, counts, strict=True)),
        words("most frequent reason", reason),
    ]
    return Table("missing", title, "", head, columns)


def _fate(row: Any, card: RunCard, longest: int) -> tuple[str, ...]:
    not_done = row.n_total - row.n_ok - row.n_undefined - row.n_failed - row.n_apart
    of_set = row.kind == "metric" and card.metrics[row.key].scope == "set"
    clips = "set" if of_set else str(row.n_total)
    return (
        card.systems[row.system].label, clean(row.point), clean(row.variant),
        str(row.n_undefined), str(row.n_failed), str(not_done), clips,
        clean(row.reason, longest=longest),
    )  # fmt: skip
