"""What benchmarks of training share: their options, and the spec that measures trained models."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CLIPS = "$RDBENCH_SHARED/clips/manifest.csv"


def options_of(text: str) -> argparse.ArgumentParser:
    """The options that all have; `text` is the docstring of the benchmark."""
    parser = argparse.ArgumentParser(description=text.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="states, weights and rows")
    parser.add_argument("--data", help="a folder of training clips in place of the recipe's")
    parser.add_argument("--clips", default=CLIPS, help="the manifest of the clips to measure on")
    parser.add_argument("--limit", type=int, default=20, help="of these clips")
    parser.add_argument("--steps", type=int, help="of every stage, for a try")
    parser.add_argument("--page", type=Path, default=HERE, help="folder of the page")
    return parser


def system(name: str, weights: Path, variants: Sequence[str], **more: Any) -> dict[str, Any]:
    """The system of a spec for a checkpoint."""
    options = {"weights": str(weights.resolve())}
    return {"codec": "vae", "name": name, "options": options, "variants": [*variants], **more}


def speech_spec(
    name: str,
    systems: Sequence[dict[str, Any]],
    *,
    clips: str,
    limit: int,
    metrics: Sequence[str],
    **more: Any,
) -> dict[str, Any]:
    """A spec that measures `systems` on `limit` speech clips of the manifest `clips`."""
    return {
        "name": name,
        "corpus": {
            "kind": "manifest", "path": os.path.expandvars(clips), "domains": ["speech"],
            "sample": {"clips": limit},
        },
        "protocol": {"sample_rate": 16000, "channels": "mono"},
        "metrics": {"default": [*metrics]},
        "systems": [*systems],
        **more,
    }  # fmt: skip
