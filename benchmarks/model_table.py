"""Prints the table of docs/models.md: what each shipped checkpoint is, and the rate it really has.

    RDBENCH_SHARED=../shared/data python benchmarks/model_table.py

Rates are measured on the LibriSpeech clips of the shared evaluation set, whole.
"""

from __future__ import annotations

import os
from pathlib import Path

from rdbench.audio.clip import Corpus
from rdbench.audio.corpus import manifest_corpus
from rdbench.models import checkpoint, shipped
from rdbench.training.evaluate import evaluate_rate


def main() -> None:
    """Evaluates and prints."""
    clips = manifest_corpus(Path(os.environ["RDBENCH_SHARED"]) / "clips" / "manifest.csv").clips
    speech = tuple(clip for clip in clips if clip.group.startswith("librispeech"))
    corpus = Corpus("librispeech", speech, "LibriSpeech clips")
    print(
        "| name | target (kbps) | measured (kbps) | kind | parameters | steps | minutes | device |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in shipped.names():
        model, header = checkpoint.load(shipped.find(name))
        known = header.provenance
        objective = known["recipe"]["objective"]
        kind = "kl" if objective else "nominal"
        target = f"{objective['kbps']:g}" if objective else "–"
        minutes = known["seconds"] / 60
        print(
            f"| `{name}` | {target} | {evaluate_rate(model, corpus):.2f} | {kind} | "
            f"{model.parameter_count / 1e6:.2f} M | {known['steps']} | {minutes:.0f} | "
            f"{known['device']}, {known['threads']} thread(s) |"
        )


if __name__ == "__main__":
    main()
