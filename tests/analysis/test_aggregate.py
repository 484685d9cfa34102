"""Aggregates: the right sums, nothing pooled, nothing hidden."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbench.analysis.aggregate import (
    NOT_FINITE,
    ONCE_PER_POINT,
    POINT_COLUMNS,
    points,
    rate_distortion,
)
from rdbench.analysis.arrays import by_domain
from rdbench.analysis.runs import Run
from rdbench.analysis.stats.intervals import ONE_GROUP
from rdbench.store.schema import BESIDE, COLUMNS, Kind, Row
from rdbench.types import Status, StoreError


def row(clip: str, value: float, **changes: Any) -> dict[str, Any]:
    """A metric row of a codec `opus` at point 6, with changes."""
    fields: dict[str, Any] = {
        "unit_key": "", "system": "opus", "curve": "Opus", "point": "6", "variant": "codes",
        "clip": clip, "domain": "speech", "group": clip, "seconds": 2.0, "kind": Kind.METRIC,
        "key": "pesq_wb", "value": value, "unit": "MOS-LQO", "backend": "pesq",
        "status": Status.OK, "reason": "",
    }  # fmt: skip
    return Row(**{**fields, **changes}).as_dict()


def rate(clip: str, bits: float, seconds: float, **changes: Any) -> dict[str, Any]:
    defaults = {"kind": Kind.RATE, "key": "payload", "unit": "bit", "backend": ""}
    return row(clip, bits, **{**defaults, "seconds": seconds, **changes})


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def only(table: pd.DataFrame, **where: str) -> Any:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_rate_is_total_bits_over_total_seconds_not_a_mean_of_rates() -> None:
    found = only(points(frame(rate("a", 6000, 1.0), rate("b", 36000, 3.0))), kind="rate")
    assert found["value"] == pytest.approx(10.5)
    assert found["unit"] == "kbps"
    assert (found["n_ok"], found["n_total"]) == (2, 2)


def test_no_interval_leaves_the_range_of_its_metric() -> None:
    rows = frame(
        *(row(name, value) for name, value in zip("abcd", (1.0, 1.1, 4.6, 4.5), strict=True))
    )
    free = only(points(rows), kind="metric")
    card = {"lower": 1.2, "upper": 4.6}
    bound = only(points(rows, manifest={"metrics": {"pesq_wb": card}}), kind="metric")
    assert free["low"] < 1.2
    assert free["high"] > 4.6
    assert (bound["low"], bound["value"], bound["high"]) == (1.2, free["value"], 4.6)
    beyond = {"metrics": {"pesq_wb": {"lower": 3.0, "upper": None}}}
    kept = only(points(rows, manifest=beyond), kind="metric")
    assert kept["low"] == kept["value"]
    assert kept["high"] == free["high"]


def test_mean_is_over_scored_clips_and_the_rest_is_counted() -> None:
    nan = float("nan")
    found = only(
        points(
            frame(
                row("a", 2.0),
                row("b", 3.0),
                row("c", nan, status=Status.UNDEFINED, reason="too short"),
                row("d", nan, status=Status.UNDEFINED, reason="too short"),
                row("e", nan, status=Status.FAILED, reason="no speech", backend=""),
                rate("f", 1000, 1.0),
            )
        ),
        kind="metric",
    )
    assert found["value"] == pytest.approx(2.5)
    counts = found[["n_ok", "n_undefined", "n_failed", "n_total", "n_groups"]].tolist()
    assert counts == [2, 2, 1, 6, 2]
    assert found["reason"] == "too short"


def test_clips_that_were_asked_for_and_not_done_are_counted() -> None:
    here = {"system": "opus", "point": "6", "variant": "codes", "domain": "speech"}
    other = {**here, "domain": "music"}
    manifest = {
        "corpus": {"clips": [{"name": n, "domain": "speech"} for n in "abcd"]
                   + [{"name": "m", "domain": "music"}]},
        "plan": [
            {**here, "each": [["rate", "payload", ""], ["metric", "pesq_wb", ""]], "whole": []},
            {**other, "each": [["rate", "payload", ""]], "whole": []},
            {**here, "domain": "", "each": [], "whole": [["cost", "encode_rtf", ""]]},
        ],
    }  # fmt: skip
    cost = row("", 0.02, kind=Kind.COST, key="encode_rtf", unit="×", domain="", seconds=0.0)
    rows = frame(row("a", 2.0), rate("a", 1000, 1.0), rate("b", 1000, 1.0), cost)
    table = points(rows, manifest=manifest)
    assert table[["kind", "n_ok", "n_total"]].values.tolist() == [
        ["metric", 1, 4], ["rate", 2, 4], ["cost", 1, 1],
    ]  # fmt: skip
    # Without a plan there is nothing but the rows to count.
    assert points(rows)["n_total"].tolist() == [2, 2, 1]
    with pytest.raises(StoreError, match="plan"):
        points(rows, manifest={**manifest, "plan": 3})


def test_nothing_scored_is_nan_not_zero() -> None:
    failed = row("a", float("nan"), status=Status.FAILED, reason="codec raised")
    found = only(points(frame(failed)), kind="metric")
    assert np.isnan([found["value"], found["low"], found["high"]]).all()
    assert found["n_ok"] == 0
    assert found["reason"] == "codec raised"


def test_a_value_that_is_not_finite_is_a_failure() -> None:
    found = only(points(frame(row("a", 2.0), row("b", float("inf")))), kind="metric")
    assert (found["value"], found["n_failed"], found["reason"]) == (2.0, 1, NOT_FINITE)


def test_domains_and_backends_are_never_pooled() -> None:
    found = points(
        frame(row("a", 1.0), row("b", 3.0, domain="music"), row("a", 1.5, backend="torch"))
    )
    assert found["value"].tolist() == [1.0, 3.0, 1.5]
    assert list(found.columns) == POINT_COLUMNS


def test_a_domain_has_the_same_intervals_whatever_else_a_run_holds() -> None:
    speech = [row(f"s{i}", 1 + i % 7, group=f"g{i % 5}") for i in range(20)]
    music = [row(f"m{i}", 4 - i % 3, domain="music") for i in range(9)]
    alone = only(points(frame(*speech)), domain="speech")
    beside = only(points(frame(*music, *speech)), domain="speech")
    assert alone[["low", "high"]].tolist() == beside[["low", "high"]].tolist()


def test_groups_not_clips_are_drawn() -> None:
    rows = [row(f"{g}{i}", g, group=f"g{g}") for g in range(4) for i in range(25)]
    by_group = only(points(frame(*rows)), kind="metric")
    by_clip = only(points(frame(*[{**r, "group": ""} for r in rows])), kind="metric")
    assert (by_group["n_groups"], by_clip["n_groups"]) == (4, 100)
    assert by_group["high"] - by_group["low"] > 3 * (by_clip["high"] - by_clip["low"])


def test_one_group_has_a_value_and_a_reason_but_no_interval() -> None:
    found = only(points(frame(row("a", 2.0, group="g"), row("b", 3.0, group="g"))), kind="metric")
    assert found["value"] == 2.5
    assert np.isnan(found["low"])
    assert found["note"] == ONE_GROUP


def test_costs_of_a_whole_point_have_no_interval() -> None:
    cost = row("", 0.02, kind=Kind.COST, key="encode_rtf", unit="×", domain="", seconds=0.0)
    found = only(points(frame(row("a", 2.0), cost)), kind="cost")
    assert (found["value"], found["unit"], found["note"]) == (0.02, "×", ONCE_PER_POINT)
    assert np.isnan(found["low"])


def test_a_repeated_unit_counts_once_with_its_last_value() -> None:
    found = only(points(frame(row("a", 1.0), row("b", 2.0), row("a", 4.0))), kind="metric")
    assert (found["value"], found["n_ok"]) == (3.0, 2)


def test_categories_and_an_empty_frame_are_taken() -> None:
    table = frame(row("a", 1.0), row("b", 2.0)).astype({"system": "category", "kind": "category"})
    assert only(points(table), kind="metric")["value"] == 1.5
    empty = points(frame())
    assert empty.empty
    assert list(empty.columns) == POINT_COLUMNS


def test_a_foreign_frame_is_refused_in_a_sentence() -> None:
    with pytest.raises(StoreError, match="lack the columns curve, group"):
        points(frame(row("a", 1.0)).drop(columns=["curve", "group"]))


def vae(variant: str, value: float) -> dict[str, Any]:
    return row("a", value, system="vae6", curve="VAE", variant=variant)


def test_rates_meet_scores_by_kind_and_the_mean_is_no_rate_point() -> None:
    shared = {"system": "vae6", "curve": "VAE"}
    table = points(
        frame(
            row("a", 3.0),
            rate("a", 12000, 2.0),
            rate("a", 14000, 2.0, key="container"),
            vae("sample", 2.0),
            vae("mean", 2.5),
            vae("coded", 1.9),
            rate("a", 8000, 2.0, key="kl", variant="sample", **shared),
            rate("a", 10000, 2.0, key="coded", variant="coded", **shared),
            row("a", 4.6, system="identity", curve="identity", point="-"),
        )
    )
    headline = {"opus": "payload", "vae6": "kl", "identity": None}
    found = rate_distortion(table, headline).set_index(["system", "variant"])
    got = found[["rate_kind", "kbps", "rate_point", "anchor"]]
    assert got.loc[("opus", "codes")].tolist() == ["payload", 6.0, True, False]
    assert got.loc[("vae6", "sample")].tolist() == ["kl", 4.0, True, False]
    assert got.loc[("vae6", "mean")].tolist() == ["kl", 4.0, False, False]
    assert got.loc[("vae6", "coded")].tolist() == ["coded", 5.0, True, False]
    assert got.loc[("identity", "codes"), "rate_kind"] == ""
    assert got.loc[("identity", "codes"), "anchor"]
    assert np.isnan(got.loc[("identity", "codes"), "kbps"])
    assert not got.loc[("identity", "codes"), "rate_point"]

    container = rate_distortion(table, headline, rate="container").set_index(["system", "variant"])
    assert container.loc[("opus", "codes"), "kbps"] == 7.0
    assert np.isnan(container.loc[("vae6", "sample"), "kbps"])
    assert not container.loc[("vae6", "sample"), "rate_point"]


@given(
    st.lists(st.tuples(st.floats(1, 1e6), st.floats(0.01, 100)), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
@settings(max_examples=30, deadline=None)
def test_rates_do_not_depend_on_order(clips: list[tuple[float, float]], random: Any) -> None:
    rows = [rate(f"c{i}", bits, seconds) for i, (bits, seconds) in enumerate(clips)]
    first = points(frame(*rows)).iloc[0]
    random.shuffle(rows)
    second = points(frame(*rows)).iloc[0]
    total = sum(b for b, _ in clips) / sum(s for _, s in clips) / 1000
    assert first["value"] == pytest.approx(total, rel=1e-9)
    assert second["value"] == pytest.approx(total, rel=1e-9)
    np.testing.assert_allclose(first["low"], second["low"], rtol=1e-9)


@pytest.mark.parametrize("kind", BESIDE)
def test_what_lies_beside_measurements_is_none(kind: Kind) -> None:
    """A run that is given as rows may hold them all."""
    beside = row("a", 1.0, kind=kind, key="clipped", backend="", reason="clipped by 3 dB")
    rows = frame(row("a", 2.0), beside, row("", 1.0, kind=kind, key="frechet", backend="jackknife"))
    assert points(rows)["key"].tolist() == ["pesq_wb"]
    (scores,) = by_domain(Run("rows", rows, {}))
    assert list(scores.metrics) == [("pesq_wb", "pesq")]
    assert not scores.rates
