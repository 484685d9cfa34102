"""What the decodable streams of a latent are, beside the sample whose KL is their bound.

    python benchmarks/coded_latents.py --clips ../shared/data/clips/manifest.csv

Rates and scores come from `results/speech_16k/table.csv`; the errors are measured here, on the
first `--count` speech clips of the manifest, with the tables of the published benchmark. The
results go to `coded_latents.md`. The error of a stream is what it decodes to, less the mean; its
variance stands beside that of the posterior's noise,

    Σ (z − μ)² / Σ σ²    over channels, frames and clips.

"At equal quality" is the stream's rate over the KL at which samples, between the models, have the
stream's score (the logarithm of the rate linear in the score), less one.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
TABLE = HERE.parent / "results" / "speech_16k" / "table.csv"
PAGE = HERE / "coded_latents.md"
MODELS = ("vae_1k5", "vae_3k", "vae_6k", "vae_12k", "vae_24k")
STREAMS = ("coded", "coded_rd", "coded_dither", "coded_trellis", "coded_sample")
METRICS = {"pesq_wb": "PESQ-WB", "mel_dac_16k": "mel distance"}
Points = Mapping[tuple[str, str], Mapping[str, float]]


def main() -> None:
    """Measures, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=Path, required=True, help="the manifest of the clips")
    parser.add_argument("--count", type=int, default=12)
    options = parser.parse_args()
    clips = speech(options.clips, options.count)
    ratios = {name: error_ratios(name, clips) for name in MODELS}
    PAGE.write_text("\n".join(page(published(TABLE), ratios, options.count)) + "\n")


def speech(manifest: Path, count: int) -> list[Any]:
    """The first `count` speech clips, 5 s of each at 16 kHz."""
    from rdbench.audio.corpus import manifest_corpus
    from rdbench.audio.load import ExcerptProtocol, load_excerpt

    chosen = [clip for clip in manifest_corpus(str(manifest)).clips if clip.domain == "speech"]
    protocol = ExcerptProtocol(16000, "mono", 5.0)
    return [load_excerpt(clip, protocol) for clip in chosen[:count]]


def error_ratios(name: str, clips: Sequence[Any]) -> dict[str, float]:
    """Variance of the error over that of the posterior's noise, by variant."""
    import torch

    from rdbench.codecs.registry import create
    from rdbench.codecs.variants import variant
    from rdbench.rate.tables import Tables
    from rdbench.types import AudioBatch

    codec: Any = create("vae", options={"weights": name})
    tables = Tables.load(HERE / "speech_16k.tables.json")
    (entry,) = (one for one in tables.entries if one.weights_sha256 == codec.info.weights_sha256)
    codec.fitted = entry.latent
    errors = dict.fromkeys(STREAMS, 0.0)
    noise = 0.0
    for number, clip in enumerate(clips):
        audio = AudioBatch(
            clip.samples[None], torch.tensor([clip.samples.shape[-1]]), clip.sample_rate
        )
        posterior = codec.encode(audio, codec.points[0]).payload
        mean, scale = (one[0].double().numpy() for one in (posterior.mean, posterior.scale))
        noise += float(np.square(scale).sum())
        for stream in STREAMS:
            (coded,) = codec.latent_coder(variant(stream)).code(posterior, seeds=[number])
            errors[stream] += float(np.square(coded.values - mean).sum())
    return {stream: error / noise for stream, error in errors.items()}


def published(table: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Of each model and variant, its rate and its scores."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["system"] in MODELS]
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["kind"] == "metric" and row["key"] in METRICS and row["headline_kbps"]:
            point = found.setdefault((row["system"], row["variant"]), {})
            point[row["key"]] = float(row["value"])
            point["kbps"] = float(row["headline_kbps"])
    return found


def at_equal_quality(points: Points, name: str, stream: str, metric: str) -> float | None:
    """The stream's rate over the KL of samples that score alike, less one; None out of reach."""
    curve = sorted((points[one, "sample"][metric], points[one, "sample"]["kbps"]) for one in MODELS)
    scores, rates = [score for score, _ in curve], [math.log(kbps) for _, kbps in curve]
    own = points[name, stream]
    if not scores[0] <= own[metric] <= scores[-1]:
        return None
    return own["kbps"] / math.exp(float(np.interp(own[metric], scores, rates))) - 1


def page(points: Points, ratios: Mapping[str, Mapping[str, float]], count: int) -> list[str]:
    """The page, line by line."""
    equal = [f"at equal {name}" for name in METRICS.values()]
    columns = ["model", "variant", "kbps", "of the KL", "error variance", *METRICS.values(), *equal]
    lines = [
        "# Streams of latents", "",
        "Made by `python benchmarks/coded_latents.py`; not to be edited. Rates and scores: "
        "`results/speech_16k`, 43 speech",
        f"clips. Error variance: of (what is decoded − mean), over that of the posterior's noise, "
        f"{count} clips. At equal quality:",
        "the stream's rate beside the KL of a sample with the stream's score, between the models.",
        "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|",
    ]  # fmt: skip
    for name in MODELS:
        kl = points[name, "sample"]["kbps"]
        for stream in ("sample", *STREAMS):
            own = points[name, stream]
            ratio = "1 (by definition)" if stream == "sample" else f"{ratios[name][stream]:.2f}"
            cells = [
                name,
                f"`{stream}`",
                f"{own['kbps']:.2f}",
                f"{own['kbps'] / kl - 1:+.0%}",
                ratio,
            ]
            cells += [f"{own[metric]:.2f}" for metric in METRICS]
            for metric in METRICS:
                gap = None
                if stream != "sample":
                    gap = at_equal_quality(points, name, stream, metric)
                cells.append("–" if gap is None else f"{gap:+.0%}")
            lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
