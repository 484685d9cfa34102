"""What the page of a board is told: its entries, and a ranking for each metric and kind of rate.

Systems have the numbers that the page's other data has (`rdbench.report.html.numbering`), and a
name from a submission is text that is shown and nothing else. A ranking is read when its metric is
chosen; every cell of it is one pair, told from the side of its row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rdbench.analysis.ranking import Duel, Ranking
from rdbench.leaderboard.boards import Board, Entry
from rdbench.report.html.content import HEADLINE, Content
from rdbench.report.names import clean

LONGEST_REASON = 200
OPPOSITE = {"first": "second", "second": "first"}


def board_overview(board: Board, content: Content, kinds: Sequence[str]) -> dict[str, Any]:
    """What stands in the overview of a board beside that of any report.

    kinds: of rate, of which each is an axis of its own.
    """
    names = curve_numbers(content)
    entries = {names[curve]: _entry(entry) for curve, entry in board.entries.items()
               if curve in names}  # fmt: skip
    return {"axes": list(kinds) or [HEADLINE], "apart": bool(kinds), "entries": entries}


def curve_numbers(content: Content) -> dict[str, int]:
    """The number of each curve in the overview."""
    curves = dict.fromkeys(curve for _, curve, *_ in content.numbers.points)
    return {curve: number for number, curve in enumerate(curves)}


def ranking_data(
    board: Board, content: Content, found: Iterable[Ranking]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each ranking's data: ranks/DOMAIN-METRIC-KIND."""
    names, metrics = curve_numbers(content), content.numbers.metric_of
    domains = {domain: number for number, domain in enumerate(content.numbers.domains)}
    founder = f"{board.founder.name}/{board.anchor}"
    for ranking in found:
        if ranking.metric not in metrics or ranking.domain not in domains:
            continue
        place = f"ranks/{domains[ranking.domain]}-{metrics[ranking.metric]}-{ranking.kind}"
        yield place, _told(ranking, names, founder)


def _told(ranking: Ranking, names: Mapping[str, int], anchor: str) -> dict[str, Any]:
    """A ranking as the page takes it.

    cells: by row and column null (itself), the number of a reason (not comparable), or [verdict,
    value, low, high, quantity, p]. against: the row that the page begins with.
    """
    count = len(ranking.curves)
    cells: list[list[Any]] = [[None] * count for _ in range(count)]
    reasons: dict[str, int] = {}
    compared = [0] * count
    for duel in ranking.duels:
        one, two = duel.first, duel.second
        if duel.verdict == "open":
            reason = clean(duel.reason.removeprefix("refused: "), longest=LONGEST_REASON)
            cells[one][two] = cells[two][one] = reasons.setdefault(reason, len(reasons))
            continue
        compared[one] += 1
        compared[two] += 1
        cells[one][two], cells[two][one] = _cell(duel), _cell(_turned(duel))
    most = max(range(count), key=lambda number: compared[number])
    against = ranking.curves.index(anchor) if anchor in ranking.curves else most
    return {
        "curves": [names[curve] for curve in ranking.curves],
        "kbps": [[round(rate, 3) for rate in rates] for rates in ranking.kbps],
        "ranks": ranking.ranks,
        "cells": cells,
        "reasons": list(reasons),
        "against": against,
        "refused": [
            [names[curve], clean(why, longest=LONGEST_REASON)] for curve, why in ranking.refused
        ],
    }


def _cell(duel: Duel) -> list[Any]:
    numbers = [float(f"{value:.6g}") if math.isfinite(value) else None
               for value in (duel.value, duel.low, duel.high)]  # fmt: skip
    p = float(f"{duel.p:.3g}") if math.isfinite(duel.p) else None
    verdict = {"first": "better", "second": "worse"}.get(duel.verdict, duel.verdict)
    return [verdict, *numbers, duel.quantity, p, int(duel.crosses)]


def _turned(duel: Duel) -> Duel:
    """The same pair from the side of the second."""
    low, high = _inverse(duel.high, duel.quantity), _inverse(duel.low, duel.quantity)
    verdict: Any = OPPOSITE.get(duel.verdict, duel.verdict)
    value = _inverse(duel.value, duel.quantity)
    return replace(duel, verdict=verdict, value=value, low=low, high=high)


def _inverse(value: float, quantity: str) -> float:
    """A change in bits (percent) or a difference, the other way round.

    >>> _inverse(-50.0, "bits"), _inverse(0.25, "quality")
    (100.0, -0.25)
    """
    if quantity == "quality":
        return -value
    return 100 * (100 / (100 + value) - 1) if value > -100 else math.nan


def _entry(entry: Entry) -> dict[str, Any]:
    said = entry.said
    return {
        "submission": clean(entry.submission.name),
        "by": clean(entry.submission.form.by, longest=120),
        "badge": entry.badge,
        "family": clean(entry.family) or "not stated",
        "licence": clean(entry.licence, longest=80) or "not stated",
        "weights": said.weights or "none",
        "latency": said.latency_ms,
        "link": said.link or entry.submission.form.link,
        "description": clean(said.description, longest=LONGEST_REASON),
    }
