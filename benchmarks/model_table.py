"""Prints the table of docs/models.md: what each shipped checkpoint is, and the rate it really has.

    python benchmarks/model_table.py

Rates and scores come from the same clips: those of `results/speech_16k/table.csv`, in excerpts, at
the headline variant (and, after a stroke, scores with the mean decoded).
"""

from __future__ import annotations

import csv
from pathlib import Path

from rdbench.models import checkpoint, shipped

TABLE = Path(__file__).parent.parent / "results" / "speech_16k" / "table.csv"
METRICS = ("pesq_wb", "stoi", "visqol_speech")


def main() -> None:
    """Reads and prints."""
    print("\n".join(lines(TABLE)))


def lines(table: Path) -> list[str]:
    """The table, line by line."""
    rates, scored = measured(table)
    columns = ("target (kbps)", "measured (kbps)", "kind", "parameters", "steps", "minutes")
    found = [
        "| " + " | ".join(("name", *columns, "device", *METRICS)) + " |",
        "|---" * (len(columns) + len(METRICS) + 2) + "|",
    ]
    for name in shipped.names():
        model, header = checkpoint.load(shipped.find(name))
        known = header.provenance
        objective = known["recipe"]["objective"]
        cells = [
            f"`{name}`",
            f"{objective['kbps']:g}" if objective else "–",
            rates.get(name, "–"),
            "kl" if objective else "nominal",
            f"{model.parameter_count / 1e6:.2f} M",
            str(known["steps"]),
            f"{known['seconds'] / 60:.0f}",
            f"{known['device']}, {known['threads']} thread(s)",
            *(scored.get((name, metric), "–") for metric in METRICS),
        ]
        found.append("| " + " | ".join(cells) + " |")
    return found


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
