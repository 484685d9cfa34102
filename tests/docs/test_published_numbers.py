"""The published tables follow from the published measurements, by arithmetic that is not ours."""

from __future__ import annotations

from pathlib import Path

import bjontegaard
import numpy as np
import pandas as pd
import pytest
from doc_sandbox import ROOT

RUNS = sorted(path.parent for path in (ROOT / "results").glob("*/table.csv"))
RUNS = [run for run in RUNS if run.name != "quick"]  # what `make quickstart` leaves
COMPARED = [run for run in RUNS if (run / "tables" / "bd_rate.csv").is_file()]  # of several curves
OWNER = ["system", "curve", "point", "variant", "domain"]
PLACE = ["system", "point", "variant", "domain", "kind", "key", "backend"]


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"point": str}, keep_default_na=False, na_values=["", "nan"])


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_means_and_rates_are_those_of_the_rows(run: Path) -> None:
    """A score is the mean over clips, a rate total bits over total seconds."""
    rows = pd.concat(pd.read_parquet(part) for part in (run / "measurements").glob("*.parquet"))
    # Of no clip are rates of all clips as one stream, and values of sets of clips, without a mean.
    ours = (rows["clip"] != "") | (rows["kind"] == "rate")
    rows = rows[(rows["status"] == "ok") & ours].astype({"point": str})
    by_place = rows.groupby(PLACE)
    totals = by_place[["value", "seconds"]].sum()
    kbps, means = totals["value"] / totals["seconds"] / 1000, by_place["value"].mean()
    published = table(run / "table.csv").fillna({"backend": "", "variant": ""})
    published = published[published["kind"].isin(["metric", "rate"]) & (published["n_ok"] > 0)]
    found = {"metric": 0, "rate": 0}
    for one in published.itertuples():
        place = tuple(getattr(one, name) for name in PLACE)
        if place not in means.index:
            continue
        expected = kbps[place] if one.kind == "rate" else means[place]
        assert one.value == pytest.approx(expected, rel=1e-12, abs=1e-12)
        found[one.kind] += 1
    assert min(found.values()) >= 20


@pytest.mark.parametrize("run", COMPARED, ids=lambda run: run.name)
def test_bd_rates_are_the_packages_on_the_published_points(run: Path) -> None:
    points = table(run / "table.csv")
    rates = points[points["kind"] == "rate"].fillna({"backend": ""})
    rates = rates.rename(columns={"value": "kbps", "key": "rate", "backend": "model"})
    points = points[points["kind"] == "metric"].merge(
        rates[[*OWNER, "rate", "model", "kbps"]], on=OWNER
    )
    compared = table(run / "tables" / "bd_rate.csv")
    models = ["rate_model", "reference_rate_model"]
    compared[models] = compared[models].fillna("")
    compared = compared[
        (compared["quantity"] == "bd_rate")
        & compared["value"].notna()
        & compared["repaired"].isna()
        & (compared["n_clips"] == compared["n_total"])
    ]
    assert len(compared) > 10
    checked = streams = 0
    for one in compared.itertuples():
        sides = []
        for curve, variant, rate, model in (
            (one.reference, one.reference_variant, one.reference_rate_kind,
             one.reference_rate_model),
            (one.curve, one.variant, one.rate_kind, one.rate_model),
        ):  # fmt: skip
            side = points[
                (points["curve"] == curve)
                & (points["variant"] == variant)
                & (points["domain"] == one.domain)
                & (points["key"] == one.key)
                & (points["rate"] == rate)
                & (points["model"] == model)
            ].sort_values("kbps")
            sign = 1 if one.better == "higher" else -1
            sides += [side["kbps"].to_numpy(), sign * side["value"].to_numpy()]
        if any((np.diff(quality) <= 0).any() for quality in sides[1::2]):
            continue
        expected = bjontegaard.bd_rate(
            *sides, method=one.method, require_matching_points=False, min_overlap=0
        )
        assert one.value == pytest.approx(expected, rel=1e-9)
        checked += 1
        streams += one.basis == "decodable"
    assert checked - streams > 10
    if "coded" in set(compared["rate_kind"]):
        assert streams > 10


def test_rates_on_clips_of_other_corpora_are_those_of_the_page() -> None:
    """The VAEs heard LibriSpeech alone in training; docs/validity.md gives both."""
    parts = (ROOT / "results" / "speech_16k" / "measurements").glob("*.parquet")
    rows = pd.concat(pd.read_parquet(part) for part in parts)
    rows = rows[(rows["kind"] == "rate") & (rows["key"] == "kl") & (rows["backend"] == "N(0, I)")]
    rows = rows[(rows["variant"] == "sample") & (rows["status"] == "ok")]
    rows = rows[~rows["group"].str.startswith("librispeech")]
    assert rows["clip"].nunique() == 23
    found = rows.groupby("system")[["value", "seconds"]].sum()
    targets = {"vae_1k5": 1.5, "vae_3k": 3.0, "vae_6k": 6.0, "vae_12k": 12.0, "vae_24k": 24.0}
    over = found["value"] / found["seconds"] / 1000 / pd.Series(targets) - 1
    told = ", ".join(f"{over[name]:+.1%}".rstrip("%") for name in targets)
    assert f"**{told} %**" in (ROOT / "docs" / "validity.md").read_text(encoding="utf-8")
