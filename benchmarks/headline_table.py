"""Prints README's table, bits for equal quality between the curves of the speech benchmark, and
what docs/results.md says of each pair by metric.

    python benchmarks/headline_table.py

Each pair of curves is compared directly, by the kind of rate that stands for either and as streams
that decode; below the table, pairs whose metrics disagree on the sign or whose curves cross, with
every metric named. A cell says where no point of a curve lies on more than half of the range (a
gap). It reads `results/speech_16k`; a curve that the run does not have is left out.
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
from rdbench.report.numbers import gap_text, rate_text

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
# Opus' voip setting filters out the lowest bass with a phase of its own (docs/protocol.md): SI-SDR
# hears that phase.
LEFT_OUT = {("opus_voip", "si_sdr")}
SENTENCES = {
    "fewer": "fewer bits by",
    "more": "more by",
    "below": "fewer below a crossing and more above it by",
    "above": "more below a crossing and fewer above it by",
    "fewer across": "fewer, but across a gap in a curve, by",
    "more across": "more, but across a gap in a curve, by",
    "either": "not told apart, or crossing more than once, by",
    "little": f"less than {100 * LEAST_SHARE:.0f} % of a curve in common by",
}
BASES = {"headline": "", "decodable": ", as streams that decode"}


def main() -> None:
    """Reads and prints."""
    table, disagree = lines(RUN)
    print("\n".join([*table, "", *disagree]))


def lines(folder: Path) -> tuple[list[str], list[str]]:
    """The table and the sentences, line by line."""
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
    return table, disagree


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
    row = rows[0]
    one = rate_text(row.rate_kind, row.variant)
    return f"{one} : {rate_text(row.reference_rate_kind, row.reference_variant)}"


def _cell(row: Any) -> str:
    if row is None or not math.isfinite(row.value):
        return "no number"
    share = min(row.share_curve, row.share_reference)
    where = "" if not row.crosses else f", crossing at {row.crossing_kbps:.1f} kbps"
    if share < LEAST_SHARE:
        return f"on {math.floor(100 * share)} % of a curve alone"
    if row.narrow:
        gap = max(row.gap_curve, row.gap_reference)
        return f"a gap of {gap_text(gap)} %{where}"
    return f"{_percent(row.value)} % [{_percent(row.low)}, {_percent(row.high)}]{where}"


def _percent(value: float) -> str:
    return f"{value:+.0f}".replace("-", "−")


def _disagreement(title: str, rows: Sequence[Any], card: RunCard) -> list[str]:
    """A sentence where metrics, or the rates below and above a crossing, do not agree."""
    sides: dict[str, list[str]] = {side: [] for side in SENTENCES}
    for row in sorted(rows, key=lambda row: list(card.metrics).index(row.key)):
        if (row.reference, row.key) in LEFT_OUT:
            continue
        side = _side(row)
        name = card.metrics[row.key].name
        crossed = side in ("below", "above")
        sides[side].append(f"{name} ({row.crossing_kbps:.1f} kbps)" if crossed else name)
    one_way = [bool(sides[side] or sides[f"{side} across"]) for side in ("fewer", "more")]
    if not all(one_way) and not sides["below"] and not sides["above"]:
        return []
    parts = [f"{SENTENCES[side]} {', '.join(names)}" for side, names in sides.items() if names]
    return [f"- {title}: {'; '.join(parts)}."]


def _side(row: Any) -> str:
    """Which of `SENTENCES` a metric belongs to."""
    if not math.isfinite(row.value) or min(row.share_curve, row.share_reference) < LEAST_SHARE:
        return "little"
    if row.fewer_bits:
        return str(row.fewer_bits)
    if row.crosses or row.low <= 0 <= row.high:
        return "either"
    return ("fewer" if row.value < 0 else "more") + " across" * row.narrow


if __name__ == "__main__":
    main()
