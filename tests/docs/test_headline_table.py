"""README's table and sentences, and the page of streams, are what their scripts print."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from doc_sandbox import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import coded_latents
import headline_table

ROW: dict[str, Any] = {
    "reference": "opus", "curve": "vae", "key": "m", "value": -20.0, "low": -25.0, "high": -15.0,
    "share_curve": 0.9, "share_reference": 0.9, "gap_curve": 0.3, "gap_reference": 0.3,
    "narrow": False, "crosses": False, "crossing_kbps": float("nan"), "fewer_bits": "",
}  # fmt: skip
CROSSING = {"crosses": True, "crossing_kbps": 6.87, "fewer_bits": "below"}
GAP = {"narrow": True, "gap_reference": 0.73}


@pytest.mark.parametrize(
    ("changed", "side"),
    [
        ({}, "fewer"),
        ({"value": 20.0, "low": 15.0, "high": 25.0}, "more"),
        ({"high": 5.0}, "either"),
        (CROSSING, "below"),
        (CROSSING | GAP, "below"),
        (CROSSING | {"fewer_bits": ""}, "either"),
        (GAP, "fewer across"),
        ({"narrow": True, "share_curve": 0.1}, "little"),
    ],
)
def test_a_metric_is_told_by_what_its_number_stands_on(changed: dict[str, Any], side: str) -> None:
    assert headline_table._side(SimpleNamespace(**ROW | changed)) == side


def card(*keys: str) -> Any:
    metrics = {key: SimpleNamespace(name=key.upper()) for key in keys}
    return SimpleNamespace(metrics=metrics, curve_label=str.title)


def test_where_curves_cross_no_side_is_said_to_need_fewer_bits() -> None:
    """ "Fewer bits by mel distance" stood where Opus needs fewer above 9.2 kbps."""
    row: Any = SimpleNamespace(**ROW | CROSSING)
    (line,) = headline_table._disagreement("VAE", [row], card("m"))
    assert line == "- VAE: fewer below a crossing and more above it by M (6.9 kbps)."
    assert headline_table._cell(row) == "−20 % [−25, −15], crossing at 6.9 kbps"
    row = SimpleNamespace(**ROW | GAP)
    assert headline_table._cell(row) == "a gap of 73 %"
    assert headline_table._disagreement("VAE", [row], card("m")) == []


def test_si_sdr_is_left_out_beside_the_setting_that_filters() -> None:
    more = SimpleNamespace(**ROW | {"value": 20.0, "low": 15.0, "high": 25.0, "key": "pesq"})
    rows = [SimpleNamespace(**ROW | {"key": "si_sdr"}), more]
    assert headline_table._disagreement("VAE", rows, card("si_sdr", "pesq"))
    for row in rows:
        row.reference = "opus_voip"
    assert headline_table._disagreement("VAE", rows, card("si_sdr", "pesq")) == []


def test_the_pages_have_what_the_script_prints() -> None:
    printed = headline_table.lines(headline_table.RUN)
    for lines, page in zip(printed, ("README.md", "docs/results.md"), strict=True):
        assert "\n".join(lines) in (ROOT / page).read_text(encoding="utf-8")


def test_a_stream_is_held_against_the_samples_of_every_seed() -> None:
    """One seed's sample said 4 %, others 3 to 6 %."""
    points: dict[tuple[str, str], dict[str, float]] = {}
    for number, name in enumerate(coded_latents.MODELS):
        for seed, drawn in enumerate(("sample", "sample@1")):
            points[name, drawn] = {"kbps": 2.0**number, "pesq_wb": 1 + number + 0.1 * seed}
    points["vae_6k", "coded"] = {"kbps": 4.0, "pesq_wb": 3.0}
    gaps = coded_latents.at_equal_quality(points, "vae_6k", "coded", "pesq_wb")
    assert gaps == pytest.approx([0.0, 2**0.1 - 1])
    points["vae_6k", "coded"]["pesq_wb"] = 5.05  # beyond the first seed's samples alone
    assert coded_latents.at_equal_quality(points, "vae_6k", "coded", "pesq_wb") is None
