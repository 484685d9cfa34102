"""Prints the tables of docs/models.md: what each checkpoint is, and the rate it really has.

    python benchmarks/model_table.py
    python benchmarks/model_table.py --runs runs/tutorial --table results/tutorial_16k/table.csv

Of the checkpoints that come with rdbench, or of those that `rdbench train` left in the folders of
`--runs`. Rates and scores come from the same clips: those of the table, in excerpts, at the
headline variant (and, after a stroke, scores with the mean decoded). A model that the table does
not have was not measured.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

from rdbench.models import checkpoint, shipped
from rdbench.training.loop import WEIGHTS
from rdbench.training.staging import gate

TABLE = Path(__file__).parent.parent / "results" / "speech_16k" / "table.csv"
METRICS = ("pesq_wb", "stoi", "visqol_speech")


def main() -> None:
    """Reads and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="folder of finished stages")
    parser.add_argument("--table", type=Path, default=TABLE, help="table.csv of their results")
    given = parser.parse_args()
    print("\n".join(lines(given.table, None if given.runs is None else finished(given.runs))))


def finished(runs: Path) -> dict[str, Path]:
    """The checkpoints of stages, by name, in the order in which they were finished."""
    found = sorted(runs.glob(f"*/{WEIGHTS}"), key=lambda path: path.stat().st_mtime_ns)
    return {path.parent.name: path for path in found}


def lines(table: Path, weights: Mapping[str, Path] | None = None) -> list[str]:
    """The table, line by line, of `weights` by name; None means those that are shipped.

    Where gates were held against dead channels or codes, their number has a column.
    """
    if weights is None:
        weights = {name: shipped.find(name) for name in shipped.names()}
    dead = {name: _dead(path) for name, path in weights.items()}
    rates, scored = measured(table)
    columns = (
        "target (kbps)",
        "measured (kbps)",
        "kind",
        "parameters",
        "steps",
        "minutes",
        "device",
    )
    shown = ("dead",) if any(dead.values()) else ()
    found = [
        "| " + " | ".join(("name", *columns, *shown, *METRICS)) + " |",
        "|---" * (len(columns) + len(shown) + len(METRICS) + 1) + "|",
    ]
    for name, path in weights.items():
        model, header = checkpoint.load(path)
        known = header.provenance
        objective = known["recipe"]["objective"]
        cells = [
            f"`{name}`",
            f"{objective['kbps']:g}" if objective and "kbps" in objective else "–",
            rates.get(name, "–"),
            "kl" if objective else "nominal",
            f"{model.parameter_count / 1e6:.2f} M",
            str(known["steps"]),
            f"{known['seconds'] / 60:.0f}",
            f"{known['device']}, {known['threads']} thread(s)",
            *(dead[name] or "–" for _ in shown),
            *(scored.get((name, metric), "–") for metric in METRICS),
        ]
        found.append("| " + " | ".join(cells) + " |")
    return found


def _dead(weights: Path) -> str:
    """How many channels, or codebook entries, a gate found dead, of how many; "" where none did."""
    measured = gate.read(weights)
    if measured is None or "dead" not in measured.values:
        return ""
    bottleneck = checkpoint.read_header(weights).config.bottleneck
    if bottleneck.kind == "gaussian":
        return f"{measured.values['dead']:.0f} of {bottleneck.channels} channels"
    entries = len(bottleneck.indices) * bottleneck.codebook_size
    return f"{measured.values['dead']:.0f} of {entries} codes"


def measured(table: Path) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Per system the headline rate of its highest point, and per system and metric that point's
    score, "headline / mean" for a posterior.
    """
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "metric"]
    rates: dict[str, tuple[float, str]] = {}
    found: dict[tuple[str, str], dict[str, tuple[float, str]]] = {}
    for row in rows:
        values = found.setdefault((row["system"], row["key"]), {})
        point = float(row["point"]) if row["point"].replace(".", "", 1).isdigit() else 0.0
        best = values.get(row["variant"])
        if best is None or point > best[0]:
            values[row["variant"]] = (point, f"{float(row['value']):.2f}")
        if (
            row["variant"] in ("codes", "sample")
            and row["headline_kbps"]
            and (point > rates.get(row["system"], (-1.0, ""))[0])
        ):
            rates[row["system"]] = point, f"{float(row['headline_kbps']):.2f}"
    order = ("codes", "sample", "mean")
    scores = {
        place: " / ".join(values[one][1] for one in order if one in values)
        for place, values in found.items()
    }
    return {system: kbps for system, (_, kbps) in rates.items()}, scores


if __name__ == "__main__":
    main()
