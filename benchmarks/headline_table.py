"""Prints README's table: bits for equal quality between the curves of the speech benchmark.

    python benchmarks/headline_table.py

Each pair of curves is compared directly, by the kind of rate that stands for either and as streams
that decode; below the table, pairs whose metrics disagree on the sign, with every metric named. It
reads `results/speech_16k`; a curve that the run does not have is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rdbench.analysis.curves.bd_rate import bd_table
from rdbench.analysis.curves.delta import LEAST_SHARE
from rdbench.analysis.runs import Run, read_run
from rdbench.report.cards import RunCard, describe, records

RUN = Path(__file__).parent.parent / "results" / "speech_16k"
PAIRS = (
    ("vae", "rvq"),
    ("vae", "rvq_nested"),
    ("vae", "opus"),
    ("vae", "opus_voip"),
    ("lyra", "opus"),
    ("lyra", "opus_voip"),
)
SHOWN = ("pesq_wb", "mel_dac_16k")
BASES = {"headline": "", "decodable": ", as streams that decode"}


def main() -> None:
    """Reads and prints."""
    print("\n".join(lines(RUN)))


def lines(folder: Path) -> list[str]:
    """The table and what follows it, line by line."""
    run = read_run(folder)
    card = describe(run.rows, run.manifest)
    names = [card.metrics[key].name for key in SHOWN]
    table = [
        "| | of what kind | " + " | ".join(f"at equal {name}" for name in names) + " |",
        "|---" * (len(SHOWN) + 2) + "|",
    ]
    disagree = []
    for title, rows in comparisons(run, card):
        by_key = {row.key: row for row in rows}
        cells = [_cell(by_key.get(key)) for key in SHOWN]
        table.append("| " + " | ".join([title, _kinds(rows), *cells]) + " |")
        disagree += _disagreement(f"{title} ({_kinds(rows)})", rows, card)
    return [*table, "", *disagree]


def comparisons(run: Run, card: RunCard) -> Iterator[tuple[str, list[Any]]]:
    """Per pair and basis a title and the BD-rates, a row for each metric."""
    for curve, reference in PAIRS:
        if curve not in card.curves or reference not in card.curves:
            continue
        found = bd_table(
            run, reference=reference, curves=[curve], methods=("pchip",), quantities=("bd_rate",)
        )
        found = found[~found["variant"].isin(card.not_sent) & (found["quantity"] == "bd_rate")]
        for basis, more in BASES.items():
            rows = records(found[found["basis"] == basis])
            if rows:
                yield f"{card.curve_label(curve)} against {card.curve_label(reference)}{more}", rows


def _kinds(rows: Sequence[Any]) -> str:
    return f"{rows[0].rate_kind} : {rows[0].reference_rate_kind}"


def _cell(row: Any) -> str:
    if row is None or not math.isfinite(row.value):
        return "no number"
    if row.narrow:
        share = min(row.share_curve, row.share_reference)
        return f"on {math.floor(100 * share)} % of a curve alone"
    text = f"{_percent(row.value)} % [{_percent(row.low)}, {_percent(row.high)}]"
    return f"{text}, crossing" if row.crosses else text


def _percent(value: float) -> str:
    return f"{value:+.0f}".replace("-", "−")


def _disagreement(title: str, rows: Sequence[Any], card: RunCard) -> list[str]:
    """A sentence where intervals of some metrics lie on either side of zero."""
    sides: dict[str, list[str]] = {"fewer": [], "more": [], "either": [], "none": []}
    for row in sorted(rows, key=lambda row: list(card.metrics).index(row.key)):
        sides[_side(row)].append(card.metrics[row.key].name)
    if not sides["fewer"] or not sides["more"]:
        return []
    parts = [f"fewer bits by {_listed(sides['fewer'])}", f"more by {_listed(sides['more'])}"]
    if sides["either"]:
        parts.append(f"not told apart by {_listed(sides['either'])}")
    if sides["none"]:
        parts.append(
            f"less than {100 * LEAST_SHARE:.0f} % of a curve in common by {_listed(sides['none'])}"
        )
    return [f"- {title}: {'; '.join(parts)}."]


def _side(row: Any) -> str:
    if row.narrow or not math.isfinite(row.value):
        return "none"
    if row.low <= 0 <= row.high:
        return "either"
    return "fewer" if row.value < 0 else "more"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


if __name__ == "__main__":
    main()
