"""Ladder, truncation and generation of rows whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_runs import clips, make_run

from rdbench.analysis.arrays import by_domain
from rdbench.analysis.latent.decoded import against_reference, decoded_latents, has_latents
from rdbench.analysis.latent.generation import generation_table
from rdbench.analysis.latent.ladder import RUNGS, ladder_table
from rdbench.analysis.latent.truncation import error_of, least_channels, truncation_table
from rdbench.analysis.runs import Run
from rdbench.types import KL_PRIOR

SWEEP = {"vae": ("kl", {"6": 6.0, "12": 12.0, "24": 24.0}, 8.0)}
SOURCES = {"predicted": "predicted", "keep": "truncated sample", "rolled": "rolled sample",
           "collapse": "prior"}  # fmt: skip


def with_variants(run: Run, added: Mapping[str, Mapping[str, float]]) -> Run:
    """The run with variants whose quality differs from the sample's by a number for each point."""
    scores = run.rows[run.rows["kind"] == "metric"]
    cards, parts = {}, []
    run = replace(run, rows=run.rows.assign(backend=run.rows["backend"].replace("", KL_PRIOR)))
    for name, by_point in added.items():
        more = scores["point"].map(by_point).to_numpy(float)
        sign = np.where(scores["key"] == "quality", 1.0, -1.0)
        parts.append(scores.assign(variant=name, value=scores["value"] + sign * more))
        of = name.partition("@")[0]
        source = SOURCES[of.partition("_")[0]]
        cards[name] = {"source": source} | ({"of": of} if "@" in name else {})
    rows = pd.concat(parts, ignore_index=True)
    apart = rows["variant"].str.contains("@")
    metrics = {key: card | {"identity": {"quality": 5.0, "distance": 0.0}[key]}
               for key, card in run.metrics.items()}  # fmt: skip
    return replace(
        run,
        rows=pd.concat([run.rows, rows[~apart]], ignore_index=True),
        seeds=rows[apart].reset_index(drop=True) if apart.any() else None,
        manifest={**run.manifest, "variants": cards, "metrics": metrics},
    )


def everywhere(value: float) -> dict[str, float]:
    return dict.fromkeys(("6", "12", "24"), value)


def test_rungs_are_paired_and_in_their_order() -> None:
    run = make_run({"vae": ("kl", {"6": 6.0}, 8.0)})
    base = run.rows[run.rows["kind"] == "rate"]
    shares = dict(zip(RUNGS, (1.0, 0.99, 0.9, 0.7, 0.6), strict=True))
    parts = [
        base.assign(value=base["value"] * share, backend=rung + (", fit 1" if share < 1 else ""))
        for rung, share in reversed(shares.items())
    ]
    # One clip lacks a rung, and is left out of all.
    parts[0].iloc[0, parts[0].columns.get_loc("value")] = np.nan
    parts[0].iloc[0, parts[0].columns.get_loc("status")] = "failed"
    rows = pd.concat([run.rows[run.rows["kind"] != "rate"], *parts], ignore_index=True)
    table = ladder_table(replace(run, rows=rows))
    assert list(table["rung"]) == list(RUNGS)
    assert list(table["kbps"]) == pytest.approx([6 * share for share in shares.values()])
    assert list(table["falls"])[1:] == pytest.approx([0.06, 0.54, 1.2, 0.6])
    assert set(table["n_clips"]) == {len(clips()) - 1}


def test_k_star_is_the_least_number_that_suffices() -> None:
    losses = {"keep_4": -2.0, "keep_8": -0.01, "keep_16": 0.0, "keep_kl_4": -0.3}
    added = {name: everywhere(loss) for name, loss in losses.items()}
    table = truncation_table(with_variants(make_run(SWEEP), added))
    assert len(table) == 3 * 2 * (1 + len(losses))
    least = least_channels(table).set_index(["point", "key", "order"])
    assert least.loc[("6", "quality", "index"), "least"] == 8
    assert math.isnan(least.loc[("24", "quality", "KL"), "least"])
    assert least.loc[("24", "quality", "KL"), "reason"] == "more than 4"
    full = table[(table["order"] == "all") & (table["point"] == "6")].set_index("key")
    assert full.loc["quality", "error"] == pytest.approx(5 - full.loc["quality", "value"])
    assert full.loc["distance", "error"] == pytest.approx(full.loc["distance", "value"])


def test_a_truncation_that_is_mute_costs_the_others_no_clips() -> None:
    run = with_variants(make_run(SWEEP), {"keep_4": everywhere(-1), "keep_8": everywhere(0)})
    rows = run.rows.copy()
    mute = rows.index[(rows["variant"] == "keep_4") & (rows["point"] == "6")]
    rows.loc[mute[4:], ["value", "status"]] = [np.nan, "undefined"]
    table = truncation_table(replace(run, rows=rows))
    part = table[(table["point"] == "6") & (table["key"] == "quality")].set_index("variant")
    assert part.loc["keep_4", "reason"] == "scored on fewer than half of the clips"
    assert part.loc["keep_8", "n_clips"] == len(clips())


@pytest.mark.parametrize(
    ("card", "score", "error"),
    [
        ({"unit": "dB", "direction": "higher", "identity": 100.0}, 10.0, 0.1),
        ({"unit": "MOS", "direction": "higher", "identity": 4.5}, 3.0, 1.5),
        ({"unit": "", "direction": "lower", "identity": 0.0}, 0.3, 0.3),
        ({"unit": "", "direction": "lower"}, 0.3, math.nan),
        (None, 0.3, math.nan),
    ],
)
def test_an_error_is_the_distance_to_the_best(
    card: dict[str, Any] | None, score: float, error: float
) -> None:
    assert error_of(card)(score) == pytest.approx(error, nan_ok=True)


def test_generation_has_its_own_best_rate_and_shares_of_draws() -> None:
    costs = {"6": -0.2, "12": -0.5, "24": -3.0}
    names = ("predicted", "predicted@1", "predicted@2")
    added = {
        name: {point: cost + shift for point, cost in costs.items()}
        for name, shift in zip(names, (0.0, 0.1, -0.1), strict=True)
    }
    run = with_variants(make_run(SWEEP, noise=0.01), added)
    table = generation_table(run)
    quality = table[table["key"] == "quality"].set_index(["decoded", "point"])
    assert quality["kbps"].loc["sample"].to_dict() == pytest.approx({"6": 6, "12": 12, "24": 24})
    assert quality["best"].loc["sample"].to_dict() == {"6": False, "12": False, "24": True}
    assert quality["share"].loc["sample"].to_dict() == {"6": 0.0, "12": 0.0, "24": 1.0}
    assert quality["best"].loc["predicted"].to_dict() == {"6": False, "12": True, "24": False}
    assert quality["share"].loc["predicted"].sum() == pytest.approx(1.0)
    row = quality.loc[("predicted", "12")]
    assert (row["n_seeds"], row["deviation"]) == (3, pytest.approx(0.1))
    assert row["value"] == pytest.approx(quality.loc[("sample", "12"), "value"] - 0.5)
    assert (row["least"], row["most"]) == pytest.approx((row["value"] - 0.1, row["value"] + 0.1))
    # A distance is better where it is lower.
    other = table[table["key"] == "distance"].set_index(["decoded", "point"])["best"]
    assert other.loc["predicted"].to_dict() == {"6": False, "12": True, "24": False}


def test_two_rates_that_are_alike_share_the_draws() -> None:
    run = make_run({"vae": ("kl", {"6": 6.0, "12": 12.0}, 8.0)}, noise=0.0)
    run = with_variants(run, {"predicted": {"6": 0.0, "12": 0.0}})
    rows = run.rows.copy()
    predicted = rows["variant"] == "predicted"
    rng = np.random.default_rng(0)
    rows.loc[predicted, "value"] = 3.0 + rng.standard_normal(int(predicted.sum()))
    table = generation_table(replace(run, rows=rows))
    shares = table[table["decoded"] == "predicted"]["share"]
    assert ((shares > 0.01) & (shares < 0.99)).any()


def test_tokens_are_no_latents_and_a_mean_stands_in_for_a_sample() -> None:
    assert not has_latents(make_run())
    assert against_reference(make_run()).empty
    run = make_run(SWEEP)
    rows = run.rows.assign(variant="mean")
    plain = replace(run, rows=rows[rows["kind"] == "metric"])
    assert has_latents(plain)
    assert ladder_table(plain).empty
    assert generation_table(plain).empty
    table = against_reference(plain)
    assert set(table["reference_variant"]) == {"mean"}
    assert (table["difference"] == 0).all()
    assert [one.reference for one in decoded_latents(by_domain(plain)[0])] == ["mean"] * 3
