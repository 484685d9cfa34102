"""One model of the bits stands for a kind of rate, in figures and in BD-rates alike."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from small_runs import changed, make_run

from rdbench.analysis.aggregate import points, rate_distortion
from rdbench.analysis.arrays import by_domain
from rdbench.analysis.curves.sides import curve_names, decodable_side, headline_side
from rdbench.analysis.paired import paired_table
from rdbench.analysis.rate_model import choose
from rdbench.analysis.runs import Run
from rdbench.store.variants import variants_of

PRIOR = "Gaussian prior, fit 12345678"
CURVES = {
    "old": ("payload", {"5": 5.0, "8": 8.0, "12": 12.0}, 8.0),
    "new": ("kl", {"5": 5.0, "8": 8.0, "12": 12.0}, 8.0),
}


def with_models(run: Run, kind: str, models: dict[str, float]) -> Run:
    """The rates of the curve `new` under several models, each a factor of its bits."""
    ours = (run.rows["system"] == "new") & (run.rows["kind"] == "rate")
    several = [
        run.rows[ours].assign(backend=model, key=kind, value=run.rows[ours]["value"] * factor)
        for model, factor in models.items()
    ]
    return Run(run.name, pd.concat([run.rows[~ours], *several], ignore_index=True), run.manifest)


def test_a_kl_is_against_the_standard_prior_even_where_a_clip_lacks_it() -> None:
    run = with_models(make_run(CURVES), "kl", {PRIOR: 0.5, "N(0, I)": 1.0})
    lost = (run.rows["backend"] == "N(0, I)") & (run.rows["clip"] == "folder/c03.wav")
    run = changed(run, lost, status="failed", value=math.nan)
    (scores,) = by_domain(run)
    assert headline_side(scores, run.headlines, "new").rate == ("kl", "N(0, I)")
    shown = rate_distortion(points(run.rows), run.headlines)
    assert set(shown.loc[shown["system"] == "new", "rate_backend"]) == {"N(0, I)"}
    pair = paired_table(run, reference="old", metrics=["quality"]).iloc[0]
    assert pair["kbps"] == pytest.approx(5.0)


def test_figures_and_bd_rates_count_entropy_under_the_same_model() -> None:
    curves = CURVES | {"new": ("nominal", {"5": 5.0, "8": 8.0, "12": 12.0}, 8.0)}
    run = make_run(curves)
    coded = with_models(run, "entropy", {"adaptive order-0": 0.9, "adaptive context": 0.8})
    nominal = run.rows[(run.rows["system"] == "new") & (run.rows["kind"] == "rate")]
    run = Run(run.name, pd.concat([coded.rows, nominal], ignore_index=True), run.manifest)
    (scores,) = by_domain(run)
    side = decodable_side(scores, headline_side(scores, run.headlines, "new"))
    assert side.rate == ("entropy", "adaptive context")
    shown = rate_distortion(points(run.rows), run.headlines, rate="entropy")
    assert set(shown.loc[shown["system"] == "new", "rate_backend"]) == {"adaptive context"}


def test_a_model_without_a_value_at_every_point_gives_way_to_one_that_has() -> None:
    there = {"static order-0, fit x": {"5"}, "adaptive order-0": {"5", "8"}}
    assert choose("entropy", there) == "adaptive order-0"
    assert choose("entropy", {"static order-0, fit x": set()}) is None


def test_a_latent_without_a_prior_is_a_curve_by_its_stream() -> None:
    run = make_run(CURVES)
    run = with_models(run, "coded", {"steps sent": 1.0})
    new = run.rows["system"] == "new"
    run = changed(run, new, variant="coded")
    run.manifest["systems"]["new"]["headline"] = None
    (scores,) = by_domain(run)
    assert curve_names(scores, run.headlines) == ["old", "new"]
    side = headline_side(scores, run.headlines, "new")
    assert (side.variant, side.rate, side.refusal) == ("coded", ("coded", "steps sent"), "")


def test_a_variant_of_a_plugin_is_what_the_manifest_says_of_it() -> None:
    run = make_run(CURVES)
    new = run.rows["system"] == "new"
    stream = run.rows[new].assign(variant="dithered")
    stream["key"] = stream["key"].where(stream["kind"] != "rate", "coded")
    noise = run.rows[new & (run.rows["kind"] == "metric")].assign(variant="louder")
    rows = pd.concat([run.rows, stream, noise], ignore_index=True)
    told = {
        "dithered": {"source": "stream", "transmitted": True, "rate": "coded", "digest": ""},
        "louder": {"source": "noise", "transmitted": False, "rate": "", "digest": ""},
    }
    run = Run(run.name, rows, {**run.manifest, "variants": told})
    (scores,) = by_domain(run)
    side = decodable_side(scores, headline_side(scores, run.headlines, "new"))
    assert (side.variant, side.rate, side.refusal) == ("dithered", ("coded", ""), "")
    numbers = [scores.find(f"new/8/{variant}") for variant in ("sample", "dithered", "louder")]
    names = [scores.name(number) for number in numbers if number is not None]
    assert names == ["new 8", "new 8 dithered", "new 8 louder"]
    assert scores.find("new/8") == numbers[0]
    shown = rate_distortion(points(rows), run.headlines, variants=variants_of(run.manifest))
    shown = shown[(shown["system"] == "new") & (shown["key"] == "quality")]
    kinds = shown.groupby("variant")["rate_kind"].unique().map(list).to_dict()
    assert kinds == {"sample": ["kl"], "dithered": ["coded"], "louder": ["kl"]}
    sent = shown.groupby("variant")["rate_point"].all().to_dict()
    assert sent == {"sample": True, "dithered": True, "louder": False}
