"""Ways to a stated rate, side by side: rate error, its spread over seeds, and mel distance.

    python benchmarks/rate_control.py --out runs/rate_control

trains the stages of `recipes/rate_control.yaml` for three rates and three seeds each, measures all
on whole clips, and writes `rate_control.md` and `rate_control.png`. What is finished is not done
again, and a run that was stopped goes on. With `--steps 4 --limit 2 --page FOLDER` it is tried in
minutes, and the page of the try lies elsewhere; what a try has trained is not taken for more.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trained_models import HERE, options_of, speech_spec, system

import rdbench
from rdbench.models import checkpoint
from rdbench.training.data import CropData
from rdbench.training.loop import WEIGHTS, TrainingError, check_base, is_finished
from rdbench.training.objectives import nats_per_frame
from rdbench.training.recipe import Recipe, load
from rdbench.training.record.log import LOG, read_log
from rdbench.training.run import crops, open_corpus, train
from rdbench.types import RdbenchError

RECIPE = HERE / "recipes" / "rate_control.yaml"
RATES = (1.5, 3.0, 6.0)
SEEDS = (1, 2, 3)
METRIC = "mel_dac_16k"
CALIBRATING = "multiplier"
LABELS = {
    "squared_1": "squared error, λ = 1",
    "squared_2": "squared error, λ = 2",
    "squared_10": "squared error, λ = 10",
    "relative": "relative error",
    "multiplier": "relative error and multiplier",
    "capacity": "capacity",
    "free_bits": "free bits",
    "beta": "β",
    "geco": "GECO",
}


@dataclass(frozen=True)
class Trained:
    """A model that was trained, and what was measured of it on whole clips."""

    method: str
    target: float
    seed: int
    kbps: float
    mel: float


def main() -> None:
    """Trains, measures, and writes the page."""
    options = options_of(__doc__).parse_args()
    logging.basicConfig(level=logging.WARNING)
    recipes = {one.name: one for one in load(RECIPE) if isinstance(one, Recipe)}
    if options.steps:
        recipes = {
            name: one.model_copy(update={"steps": options.steps}) for name, one in recipes.items()
        }
    began = time.process_time()
    corpus = open_corpus(recipes["base"], options.data)
    try:
        train_all(recipes, crops(recipes["base"], corpus), options.out)
    except RdbenchError as error:
        sys.exit(str(error))
    cpu = time.process_time() - began
    found = measured(options.out, options.clips, options.limit, recipes)
    options.page.mkdir(parents=True, exist_ok=True)
    draw(found, options.page)
    page = options.page / "rate_control.md"
    page.write_text("\n".join(lines(found, recipes, options.limit)) + "\n", encoding="utf-8")
    print(f"{page}; training took {cpu:.0f} s of one core in this call")


def name_of(method: str, target: float, seed: int) -> str:
    """The folder of a run, and its system: `multiplier_1k5_s1`."""
    return f"{method}_{target:g}k_s{seed}".replace(".", "p")


def jobs(recipes: Mapping[str, Recipe]) -> Iterator[tuple[str, float, int]]:
    """Method, rate and seed, those that others are set by first."""
    methods = [CALIBRATING, *(one for one in recipes if one not in ("base", CALIBRATING))]
    for method in methods:
        for target in RATES:
            for seed in SEEDS:
                yield method, target, seed


def train_all(recipes: Mapping[str, Recipe], data: CropData, out: Path) -> None:
    """Trains what is not there yet, the bases first."""
    for seed in SEEDS:
        base = recipes["base"].model_copy(update={"name": f"base_s{seed}", "seed": seed})
        _train(base, data, out, None)
    for method, target, seed in jobs(recipes):
        recipe = recipes[method].model_copy(
            update={"name": name_of(method, target, seed), "seed": seed}
        )
        recipe = recipe.model_copy(update={"objective": set_to(recipe, target, out)})
        _train(recipe, data, out, out / f"base_s{seed}" / WEIGHTS)


def _train(recipe: Recipe, data: CropData, out: Path, init: Path | None) -> None:
    path = out / recipe.name / WEIGHTS
    if not (path.is_file() and _is_done(path, recipe, data, init)):
        print(recipe.name, flush=True)
        train(recipe, out=out / recipe.name, corpus=data, init=init, accelerator="cpu")


def _is_done(path: Path, recipe: Recipe, data: CropData, init: Path | None) -> bool:
    """Whether `path` is of this recipe; raises TrainingError where of another, data or base."""
    said = checkpoint.read_header(path).provenance
    done = is_finished(path, said, recipe)
    if said["data_sha256"] != data.sha256:
        raise TrainingError(f"{path} was trained on other data; choose another --out")
    if init is not None:
        check_base(path, init, said["started_from_sha256"])
    return done


def set_to(recipe: Recipe, target: float, out: Path) -> Any:
    """The objective of a stage for one rate (see the recipe)."""
    objective = recipe.objective
    assert objective is not None
    nats = nats_per_frame(target, recipe.model.frame_rate)
    rest = out / name_of(CALIBRATING, target, SEEDS[0])
    values = {
        "beta": lambda: {"beta": max(0.0, _last(rest, "rate/multiplier")) / nats},
        "free_bits": lambda: {"nats": nats / recipe.model.bottleneck.channels},
        "geco": lambda: {"at_most": sum(_last(rest, f"loss/{n}") for n in ("wave", "mel", "stft"))},
    }.get(objective.kind, lambda: {"kbps": target})()
    return type(objective).model_validate({**objective.model_dump(), **values})


def _last(folder: Path, name: str) -> float:
    table = read_log(folder / LOG)
    return float(table.loc[table["name"] == name, "value"].iloc[-1])


def measured(out: Path, clips: str, limit: int, recipes: Mapping[str, Recipe]) -> list[Trained]:
    """Rates and mel distances of samples on whole clips, by `rdbench.run`."""
    todo = {name_of(*job): job for job in jobs(recipes)}
    systems = [system(name, out / name / WEIGHTS, ["sample"]) for name in todo]
    spec = speech_spec("rate_control", systems, clips=clips, limit=limit, metrics=[METRIC])
    table = rdbench.run(spec, out=out / "measured", costs="none", workers=1).frame()
    rows = table[(table["metric"] == METRIC) & (table["variant"] == "sample")]
    return [
        Trained(*todo[row["system"]], float(row["kbps"]), float(row["value"]))
        for _, row in rows.iterrows()
    ]


def errors(found: Sequence[Trained], method: str, target: float) -> list[float]:
    """Measured over stated rate, less one, by seed."""
    chosen = [one for one in found if (one.method, one.target) == (method, target)]
    return [one.kbps / one.target - 1.0 for one in sorted(chosen, key=lambda one: one.seed)]


def lines(found: Sequence[Trained], recipes: Mapping[str, Recipe], clips: int) -> list[str]:
    """The page, line by line."""
    base = recipes["base"]
    steps = next(one.steps for name, one in recipes.items() if name != "base")
    columns = ["objective", "target (kbps)", "rate error", "spread", "kbps", "mel distance"]
    text = [
        "# Ways to a stated rate", "",
        "Made by `python benchmarks/rate_control.py`; not to be edited. One small model of 16 kHz "
        f"speech, {steps} steps from a",
        f"base of {base.steps} steps at {base.target_kbps:g} kbps, {len(SEEDS)} seeds (base and "
        f"fine-tune). Rate (KL) and mel distance",
        f"(`{METRIC}`): of samples on whole clips ({clips}) that were not trained on. Rate error: "
        "the seeds' mean, and from least",
        "to most; spread: their standard deviation. β and GECO have no rate: their values are "
        "those at which the multiplier of",
        "seed 1 came to rest; free bits have the rate's even share of every channel.", "",
        "![Rate errors, and mel distance at the measured rate](rate_control.png)", "",
        "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|",
    ]  # fmt: skip
    for method, label in LABELS.items():
        for target in RATES:
            own = [one for one in found if (one.method, one.target) == (method, target)]
            if not own:
                continue
            off = errors(found, method, target)
            spread = f"{statistics.stdev(off):.1%}" if len(off) > 1 else "–"
            cells = [
                label,
                f"{target:g}",
                f"{statistics.mean(off):+.1%} ({min(off):+.1%} … {max(off):+.1%})",
                spread,
                f"{statistics.mean(one.kbps for one in own):.2f}",
                f"{statistics.mean(one.mel for one in own):.3f}",
            ]
            text.append("| " + " | ".join(cells) + " |")
    return text


def draw(found: Sequence[Trained], folder: Path) -> None:
    """Rate errors by objective, and mel distance over the measured rate."""
    from matplotlib.figure import Figure

    from rdbench.report.figures.style import QUIET, curve_styles, figure_style
    from rdbench.report.figures.write import figure_png

    methods = [one for one in LABELS if any(each.method == one for each in found)]
    styles = curve_styles(methods)
    with figure_style():
        figure = Figure(figsize=(6.9, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, method in enumerate(methods):
            own, style = [one for one in found if one.method == method], styles[method]
            for shift, target in zip((-0.22, 0.0, 0.22), RATES, strict=True):
                off = [100.0 * value for value in errors(found, method, target)]
                left.plot(off, [place + shift] * len(off), linestyle="", marker=style.marker,
                          color=style.colour)  # fmt: skip
            right.plot([one.kbps for one in own], [one.mel for one in own], linestyle="",
                       marker=style.marker, color=style.colour)  # fmt: skip
        left.axvline(0.0, color=QUIET, linewidth=0.6)
        left.set_yticks(range(len(methods)), [LABELS[one] for one in methods])
        left.invert_yaxis()
        left.set_xscale("symlog", linthresh=10.0)
        left.set_xticks([-50, -10, 0, 10, 50, 200], ["-50", "-10", "0", "10", "50", "200"])
        left.minorticks_off()
        left.margins(x=0.1)
        left.set_xlabel("Rate error (%), of each seed; from above 1.5, 3, 6 kbps")
        right.set_xscale("log")
        right.set_xticks([1.5, 3.0, 6.0, 12.0], ["1.5", "3", "6", "12"])
        right.minorticks_off()
        right.set_xlabel("Measured rate (KL, kbps)")
        right.set_ylabel("Mel distance")
        (folder / "rate_control.png").write_bytes(figure_png(figure))


if __name__ == "__main__":
    main()
