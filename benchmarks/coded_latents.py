"""What the decodable streams of a latent are, beside the sample whose KL is their bound.

    python benchmarks/coded_latents.py --clips ../shared/data/clips/manifest.csv

Rates and scores come from the rows of `results/speech_16k`; the errors are measured here, on the
first `--count` speech clips of the manifest, with the tables of the published benchmark. The
results go to `coded_latents.md`. The error of a stream is what it decodes to, less the mean; its
variance stands beside that of the posterior's noise,

    Σ (z − μ)² / Σ σ²    over channels, frames and clips.

"At equal quality" is the stream's rate over the KL at which samples, between the models, have the
stream's score (the logarithm of the rate linear in the score), less one. Samples are those of every
seed that the run has (`sample`, `sample@1`, …): one seed's score is off by more than some streams'
gap to the KL.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rdbench.analysis.runs import Run, read_run

HERE = Path(__file__).parent
RUN = HERE.parent / "results" / "speech_16k"
PAGE = HERE / "coded_latents.md"
MODELS = ("vae_1k5", "vae_3k", "vae_6k", "vae_12k", "vae_24k")
STREAMS = ("coded", "coded_rd", "coded_dither", "coded_trellis", "coded_sample")
PRIOR = "N(0, I)"  # of the KL that is the headline
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
    PAGE.write_text("\n".join(page(published(read_run(RUN)), ratios, options.count)) + "\n")


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


def published(run: Run) -> Points:
    """Of each model and variant its rate and its scores, the samples of other seeds among them."""
    rows = run.rows if run.seeds is None else pd.concat([run.rows, run.seeds], ignore_index=True)
    rows = rows[rows["system"].isin(MODELS) & (rows["status"] == "ok")]
    found: dict[tuple[str, str], dict[str, float]] = {}
    scores = rows[(rows["kind"] == "metric") & rows["key"].isin(METRICS)]
    for (name, variant, key), part in scores.groupby(["system", "variant", "key"]):
        found.setdefault((name, variant), {})[key] = float(part["value"].mean())
    rates = rows[(rows["kind"] == "rate") & (rows["clip"] != "")]
    rates = rates[(rates["key"] == "coded") | (rates["backend"] == PRIOR)]
    for (name, variant), part in rates.groupby(["system", "variant"]):
        found[name, variant]["kbps"] = float(part["value"].sum() / part["seconds"].sum() / 1000)
    return found


def samples(points: Points) -> list[str]:
    """The variant `sample` with each seed."""
    return sorted({variant for _, variant in points if variant.partition("@")[0] == "sample"})


def at_equal_quality(points: Points, name: str, stream: str, metric: str) -> list[float] | None:
    """The stream's rate over the KL of samples that score alike, less one, for each seed.

    None where a seed's samples do not reach that score.
    """
    found = []
    own = points[name, stream]
    for drawn in samples(points):
        curve = sorted((points[n, drawn][metric], points[n, "sample"]["kbps"]) for n in MODELS)
        scores, rates = [score for score, _ in curve], [math.log(kbps) for _, kbps in curve]
        if not scores[0] <= own[metric] <= scores[-1]:
            return None
        found.append(own["kbps"] / math.exp(float(np.interp(own[metric], scores, rates))) - 1)
    return found


def page(points: Points, ratios: Mapping[str, Mapping[str, float]], count: int) -> list[str]:
    """The page, line by line."""
    equal = [f"at equal {name}" for name in METRICS.values()]
    columns = ["model", "variant", "kbps", "of the KL", "error variance", *METRICS.values(), *equal]
    seeds = len(samples(points))
    lines = [
        "# Streams of latents", "",
        "Made by `python benchmarks/coded_latents.py`; not to be edited. Rates and scores: "
        "`results/speech_16k`, 43 speech",
        f"clips. Error variance: of (what is decoded − mean), over that of the posterior's noise, "
        f"{count} clips. At equal quality:",
        "the stream's rate beside the KL of a sample with the stream's score, between the models.",
        f"Of a sample, the mean of {seeds} seeds ± their standard deviation; beside samples of "
        f"{seeds} seeds, the same, and the",
        "range. Each stream was drawn with one seed.",
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
            for metric in METRICS:
                drawn = [points[name, one][metric] for one in samples(points)]
                text = f"{np.mean(drawn):.3f} ± {np.std(drawn, ddof=1):.3f}"
                cells.append(text if stream == "sample" else f"{own[metric]:.3f}")
            for metric in METRICS:
                gaps = None
                if stream != "sample":
                    gaps = at_equal_quality(points, name, stream, metric)
                cells.append("–" if gaps is None else _gaps(gaps))
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _gaps(gaps: Sequence[float]) -> str:
    spread = f"{100 * np.std(gaps, ddof=1):.1f}"
    return f"{np.mean(gaps):+.1%} ± {spread} ({min(gaps):+.1%} … {max(gaps):+.1%})"


if __name__ == "__main__":
    main()
