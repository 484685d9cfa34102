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
PLACE = ["system", "point", "variant", "domain", "kind", "key", "backend"]


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"point": str}, keep_default_na=False, na_values=["", "nan"])


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_means_and_rates_are_those_of_the_rows(run: Path) -> None:
    """A score is the mean over clips, a rate total bits over total seconds."""
    rows = pd.concat(pd.read_parquet(part) for part in (run / "measurements").glob("*.parquet"))
    rows = rows[(rows["status"] == "ok") & (rows["clip"] != "")].astype({"point": str})
    by_place = rows.groupby(PLACE)
    totals = by_place[["value", "seconds"]].sum()
    kbps, means = totals["value"] / totals["seconds"] / 1000, by_place["value"].mean()
    published = table(run / "table.csv").fillna({"backend": "", "variant": ""})
    published = published[published["kind"].isin(["metric", "rate"]) & (published["n_ok"] > 0)]
    found = {"metric": 0, "rate": 0}
    for one in published.itertuples():
        place = tuple(getattr(one, name) for name in PLACE)
        if place not in means.index:  # a value of a set of clips, which has no mean
            continue
        expected = kbps[place] if one.kind == "rate" else means[place]
        assert one.value == pytest.approx(expected, rel=1e-12, abs=1e-12)
        found[one.kind] += 1
    assert min(found.values()) > 50


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_bd_rates_are_the_packages_on_the_published_points(run: Path) -> None:
    points = table(run / "table.csv")
    points = points[(points["kind"] == "metric") & points["headline_kbps"].notna()]
    compared = table(run / "tables" / "bd_rate.csv")
    compared = compared[
        (compared["quantity"] == "bd_rate")
        & (compared["basis"] == "headline")
        & compared["value"].notna()
        & compared["repaired"].isna()
        & (compared["n_clips"] == compared["n_total"])
    ]
    assert len(compared) > 10
    checked = 0
    for one in compared.itertuples():
        sides = []
        for curve, variant in (
            (one.reference, one.reference_variant), (one.curve, one.variant)
        ):  # fmt: skip
            side = points[
                (points["curve"] == curve)
                & (points["variant"] == variant)
                & (points["domain"] == one.domain)
                & (points["key"] == one.key)
            ].sort_values("headline_kbps")
            sign = 1 if one.better == "higher" else -1
            sides += [side["headline_kbps"].to_numpy(), sign * side["value"].to_numpy()]
        if any((np.diff(quality) <= 0).any() for quality in sides[1::2]):
            continue
        expected = bjontegaard.bd_rate(
            *sides, method=one.method, require_matching_points=False, min_overlap=0
        )
        assert one.value == pytest.approx(expected, rel=1e-9)
        checked += 1
    assert checked > 10
