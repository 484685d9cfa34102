"""Prints the table of docs/models.md: what each shipped checkpoint is, and the rate it really has.

    RDBENCH_SHARED=../shared/data python benchmarks/model_table.py

Rates are measured on the LibriSpeech clips of the shared evaluation set, whole. Scores come from
`results/speech_16k/table.csv`: all of its speech clips, in excerpts, at the headline variant (and,
after a stroke, with the mean decoded).
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from rdbench.audio.clip import Corpus
from rdbench.audio.corpus import manifest_corpus
from rdbench.models import checkpoint, shipped
from rdbench.store.manifest import read_manifest
from rdbench.store.variants import variants_of
from rdbench.training.evaluate import evaluate_rate
from rdbench.types import MEAN


def main() -> None:
    """Evaluates and prints."""
    clips = manifest_corpus(Path(os.environ["RDBENCH_SHARED"]) / "clips" / "manifest.csv").clips
    speech = tuple(clip for clip in clips if clip.group.startswith("librispeech"))
    corpus = Corpus("librispeech", speech, "LibriSpeech clips")
    scored = scores(Path(__file__).parent.parent / "results" / "speech_16k")
    metrics = ("pesq_wb", "stoi", "visqol_speech")
    columns = ("target (kbps)", "measured (kbps)", "kind", "parameters", "steps", "minutes")
    print("| " + " | ".join(("name", *columns, "device", *metrics)) + " |")
    print("|---" * (len(columns) + len(metrics) + 2) + "|")
    for name in shipped.names():
        model, header = checkpoint.load(shipped.find(name))
        known = header.provenance
        objective = known["recipe"]["objective"]
        cells = [
            f"`{name}`",
            f"{objective['kbps']:g}" if objective else "–",
            f"{evaluate_rate(model, corpus):.2f}",
            "kl" if objective else "nominal",
            f"{model.parameter_count / 1e6:.2f} M",
            str(known["steps"]),
            f"{known['seconds'] / 60:.0f}",
            f"{known['device']}, {known['threads']} thread(s)",
            *(scored.get((name, metric), "–") for metric in metrics),
        ]
        print("| " + " | ".join(cells) + " |")


def scores(run: Path) -> dict[tuple[str, str], str]:
    """Per system and metric the score of its highest point, "headline / mean" for a posterior."""
    with (run / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "metric"]
    found: dict[tuple[str, str], dict[str, tuple[float, str]]] = {}
    for row in rows:
        values = found.setdefault((row["system"], row["key"]), {})
        point = float(row["point"]) if row["point"].replace(".", "", 1).isdigit() else 0.0
        best = values.get(row["variant"])
        if best is None or point > best[0]:
            values[row["variant"]] = (point, f"{float(row['value']):.2f}")
    variants = variants_of(read_manifest(run)).values()
    order = [one.name for one in variants if one.headline or one.name == MEAN.name]
    return {
        place: " / ".join(values[one][1] for one in order if one in values)
        for place, values in found.items()
    }


if __name__ == "__main__":
    main()
