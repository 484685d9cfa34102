"""STAR's weights and STAR-VAE's backbone at one rate: quality, order of channels, generation.

    python benchmarks/star.py --out runs/star

trains `recipes/star.yaml` and, unless `--no-probes`, `recipes/star_probes.yaml`; fits the latents'
moments on training clips; lets the probes predict; measures all on whole clips; and writes
`star.md` and `star.png`. What is finished is not done again, and a run that was stopped goes on:
what `rdbench train` trained of the two recipes under `--out` is taken as it is. The whole report of
the latents is `rdbench latent report OUT/measured`. With `--steps 4 --limit 2 --page FOLDER` it is
tried in minutes, and the page of the try lies elsewhere; a try needs an `--out` of its own.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from trained_models import HERE, options_of, speech_spec, system

import rdbench
from rdbench.analysis.latent.gap import GENERATOR, gap_table
from rdbench.analysis.latent.truncation import ALL, least_channels, truncation_table
from rdbench.analysis.runs import read_run
from rdbench.engine.fit import fit_tables
from rdbench.engine.predict import ABOUT, predict
from rdbench.engine.progress import Progress
from rdbench.identity import file_sha256
from rdbench.models.autoencoder import Autoencoder
from rdbench.models.config import AutoencoderConfig
from rdbench.rate.tables import Tables
from rdbench.spec.load import yaml_data
from rdbench.store.atomic import write_atomic
from rdbench.training.loop import WEIGHTS
from rdbench.training.objectives import TargetKl
from rdbench.training.probe.recipe import ProbeRecipe
from rdbench.training.recipe import Recipe, load
from rdbench.training.run import train_file
from rdbench.types import RdbenchError

RECIPE = HERE / "recipes" / "star.yaml"
PROBES = HERE / "recipes" / "star_probes.yaml"
PESQ, STOI, MEL = "pesq_wb", "stoi", "mel_dac_16k"
KEPT = (4, 8, 12, 16, 24, 32, 40, 48, 56, 60)
FEW = 24
"""Of 64 channels: the 37.5 % of which the paper speaks."""
FITTED_ON = 80
"""Clips of the training data: their first and second moments need no more."""
NAMED = "tables.json"


@dataclass(frozen=True)
class Measured:
    """What was measured of one model.

    scores: of a sample, by metric. errors: by metric and number of channels kept (0: all), how far
    the score is from the best. least: k* by metric, NaN where more than was decoded is needed. gap:
    by metric, what a prediction loses to a sample, with its interval; none without a probe.
    """

    name: str
    backbone: str
    gamma: float
    parameters: int
    kbps: float
    scores: Mapping[str, float]
    errors: Mapping[str, Mapping[int, float]]
    least: Mapping[str, float]
    gap: Mapping[str, tuple[float, float, float]]

    @property
    def label(self) -> str:
        """Backbone and weights."""
        return f"{self.backbone}, {f'γ = {self.gamma:g}' if self.gamma else 'isotropic'}"

    def share(self, metric: str, channels: int) -> float:
        """The error with so many channels over that with all."""
        return self.errors[metric][channels] / self.errors[metric][0]


def main() -> None:
    """Trains, measures, and writes the page."""
    parser = options_of(__doc__)
    parser.add_argument("--no-probes", action="store_true", help="leave the predicted latents out")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    files = [RECIPE] if options.no_probes else [RECIPE, PROBES]
    began = time.process_time()
    try:
        if options.steps:
            files = [_shortened(one, options.steps, options.out) for one in files]
        stages = [stage for file in files for stage in _trained(file, options.out, options.data)]
        models = [one for one in stages if isinstance(one, Recipe) and one.init_from]
        print(f"training took {time.process_time() - began:.0f} s of one core in this call")
        probes = [one for one in stages if isinstance(one, ProbeRecipe)]
        run = _measure(models, probes, options.out, options)
        found = results(run, models)
    except RdbenchError as error:
        sys.exit(str(error))
    options.page.mkdir(parents=True, exist_ok=True)
    draw(found, options.page / "star.png")
    page = options.page / "star.md"
    page.write_text("\n".join(lines(found, models, options.limit)) + "\n", encoding="utf-8")
    print(page)


def _shortened(path: Path, steps: int, out: Path) -> Path:
    """A copy of a recipe's file with other steps; JSON, which is YAML too."""
    content: Any = yaml_data(path, "recipe")
    stages = [{**stage, "steps": steps} for stage in content["stages"]]
    out.mkdir(parents=True, exist_ok=True)
    copy = out / path.name
    copy.write_text(json.dumps({**content, "stages": stages}), encoding="utf-8")
    return copy


def _trained(path: Path, out: Path, data: str | None) -> Sequence[Recipe | ProbeRecipe]:
    """The stages of a file, each of them finished in the folder of its name."""
    stages = load(path)
    for stage in stages:
        print(stage.name, flush=True)
        train_file(path, out=out, data=data, only=[stage.name], accelerator="cpu")
    return stages


def _measure(
    models: Sequence[Recipe], probes: Sequence[ProbeRecipe], out: Path, options: Any
) -> rdbench.Run:
    """Rates and scores of samples, of the first channels, and of what probes predict."""
    kept = [f"keep_{count}" for count in KEPT]
    plain = {one.name: system(one.name, out / one.name / WEIGHTS, ["sample"]) for one in models}

    def spec(systems: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
        asked = {"clips": options.clips, "limit": options.limit, "metrics": [PESQ, STOI, MEL]}
        return speech_spec("star", systems, **asked, **more)

    print("moments of the latents, and predictions", flush=True)
    tables = out / NAMED
    training = os.path.expandvars(options.data or models[0].data.corpus)
    fit_on = rdbench.read_spec(spec([*plain.values()]), data=training, limit=FITTED_ON)
    known = Tables.load(tables) if tables.is_file() else None
    write_atomic(tables, fit_tables(fit_on, Progress(), device="cpu", known=known).dumps())
    systems = []
    for name, one in plain.items():
        predicted = [
            _predicted(spec([one]), out / probe.name / WEIGHTS, out / "predicted" / probe.name)
            for probe in probes
            if probe.codec == name
        ]
        variants = ["sample", "mean", *kept, *(["predicted"] if predicted else [])]
        more = {"predicted": predicted} if predicted else {}
        systems.append({**one, "variants": variants, **more})
    print("scores", flush=True)
    fitted = {"entropy": {"enabled": True, "tables": str(tables.resolve())}}
    return rdbench.run(spec(systems, **fitted), out=out / "measured", device="cpu", costs="none")


def _predicted(spec: Mapping[str, Any], probe: Path, out: Path) -> str:
    """The folder of what a probe predicts of the spec's clips; made where it is not there yet."""
    folder = out / "conditioned" / "0"
    about = folder / ABOUT
    done = about.is_file() and json.loads(about.read_text())["probe"]["sha256"]
    if done != file_sha256(probe):
        predict(rdbench.read_spec(spec), probe, out, Progress())
    return str(folder.resolve())


def results(run: rdbench.Run, models: Sequence[Recipe]) -> list[Measured]:
    """One for each model, in the order of the recipe."""
    rows = read_run(run.folder)
    table = run.frame()
    samples = table[table["variant"] == "sample"]
    truncated = truncation_table(rows)
    least, gaps = least_channels(truncated), gap_table(rows)
    found = []
    for one in models:
        own = samples[samples["system"] == one.name].set_index("metric")
        kept = truncated[truncated["system"] == one.name]
        kept = kept.assign(channels=kept["channels"].where(kept["order"] != ALL, 0).astype(int))
        of_gap = gaps[(gaps["system"] == one.name) & (gaps["term"] == GENERATOR)]
        found.append(
            Measured(
                name=one.name,
                backbone=one.model.backbone.kind,
                gamma=gamma_of(one),
                parameters=parameters_of(one.model),
                kbps=float(own["kbps"].iloc[0]),
                scores=own["value"].astype(float).to_dict(),
                errors={
                    str(key): part.set_index("channels")["error"].astype(float).to_dict()
                    for key, part in kept.groupby("key")
                },
                least=least[least["system"] == one.name].set_index("key")["least"].to_dict(),
                gap={row.key: (row.difference, row.low, row.high) for row in of_gap.itertuples()},
            )
        )
    return found


def gamma_of(recipe: Recipe) -> float:
    """The exponent of the channels' weights, 0 where all are 1."""
    objective = recipe.objective
    assert isinstance(objective, TargetKl)
    return objective.weights.gamma if objective.weights else 0.0


def parameters_of(config: AutoencoderConfig) -> int:
    """How many a model has."""
    with torch.device("meta"):
        return Autoencoder(config).parameter_count


def lines(found: Sequence[Measured], models: Sequence[Recipe], clips: int) -> list[str]:
    """The page, line by line."""
    columns = [
        "backbone, weights", "parameters", "kbps (KL)", "PESQ-WB", "STOI", "mel distance",
        f"error with {FEW} channels (mel)", "(PESQ-WB)", "k* (mel)", "k* (PESQ-WB)",
        "predicted (mel)", "predicted (STOI)",
    ]  # fmt: skip
    model = models[0].model
    text = [
        "# STAR's weights and backbone at one rate", "",
        "Made by `python benchmarks/star.py`; not to be edited. Small models of 16 kHz speech, "
        f"{model.frame_rate:g} frames/s ×",
        f"{model.bottleneck.channels} channels, one training each "
        "(`benchmarks/recipes/star.yaml`): an isotropic phase, then as many steps more for each.",
        f"Scores: of a sample, on whole clips ({clips}) that were not trained on. Error: how far "
        "a score is from that of the",
        f"reference; with the first {FEW} channels ({FEW / model.bottleneck.channels:.1%}), the "
        "others at their mean, over that with all. k*: the least number of",
        f"first channels, of {', '.join(map(str, KEPT))}, whose error is at most 1.1 times that "
        "with all. Predicted: what a sample",
        "loses when a probe's prediction takes its place, positive = worse, with a 95 % interval "
        "over groups of clips.", "",
        "![Error over the channels kept](star.png)", "",
        "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|",
    ]  # fmt: skip
    for one in found:
        cells = [
            one.label,
            f"{one.parameters / 1e6:.2f} M",
            f"{one.kbps:.2f}",
            f"{one.scores[PESQ]:.3f}",
            f"{one.scores[STOI]:.3f}",
            f"{one.scores[MEL]:.3f}",
            *(f"{one.share(metric, FEW):.2f}" for metric in (MEL, PESQ)),
            *(_least(one.least[metric]) for metric in (MEL, PESQ)),
            *(_gap(one.gap.get(metric)) for metric in (MEL, STOI)),
        ]
        text.append("| " + " | ".join(cells) + " |")
    return text


def _least(value: float) -> str:
    return f"more than {KEPT[-1]}" if math.isnan(value) else f"{value:.0f}"


def _gap(found: tuple[float, float, float] | None) -> str:
    if found is None:
        return "no probe"
    value, low, high = found
    return f"{value:+.3f}" + ("" if math.isnan(low) else f" [{low:+.3f}, {high:+.3f}]")


def draw(found: Sequence[Measured], path: Path) -> None:
    """The error over the share of channels kept, a panel for each metric."""
    from matplotlib.figure import Figure

    from rdbench.report.figures.style import QUIET, curve_styles, figure_style
    from rdbench.report.figures.write import figure_png

    styles = curve_styles([one.name for one in found])
    with figure_style():
        figure = Figure(figsize=(6.9, 3.0), layout="constrained")
        panels = figure.subplots(1, 2)
        for panel, (metric, title) in zip(
            panels, {MEL: "Mel distance", PESQ: "PESQ-WB"}.items(), strict=True
        ):
            for one in found:
                style = styles[one.name]
                panel.plot(
                    KEPT, [one.share(metric, count) for count in KEPT], color=style.colour,
                    marker=style.marker, linestyle=style.dash,
                    label=one.label if panel is panels[0] else None,
                )  # fmt: skip
            panel.axhline(1.1, color=QUIET, linewidth=0.6)
            panel.axvline(FEW, color=QUIET, linewidth=0.6)
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter("{x:g}")  # powers would be formulas, which are not set
            panel.yaxis.set_minor_formatter("{x:g}")
            panel.set_title(title)
        panels[0].set_ylabel("Error over that with all channels")
        figure.supxlabel(
            "First channels kept (thin lines: 37.5 %, and an error of 1.1)", fontsize=7
        )
        figure.legend(loc="outside right")
        path.write_bytes(figure_png(figure))


if __name__ == "__main__":
    main()
