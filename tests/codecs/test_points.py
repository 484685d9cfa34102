"""What a spec lists as points becomes operating points, or one clear sentence."""

from __future__ import annotations

import pytest

from rdbench.codecs.points import continuous, resolve
from rdbench.types import CodecError, OperatingPoint

AVAILABLE = [OperatingPoint(name, float(name), {}) for name in ("1.5", "3", "6", "12", "24")]


def named(points):
    return [point.name for point in points]


def test_none_means_all_or_the_default() -> None:
    assert named(resolve("x", None, AVAILABLE)) == ["1.5", "3", "6", "12", "24"]
    assert named(resolve("x", None, AVAILABLE, default=["12", "3"])) == ["3", "12"]


def test_numbers_and_names_mix_and_come_out_cheapest_first() -> None:
    assert named(resolve("x", [24, "1.5", 6.09], AVAILABLE)) == ["1.5", "6", "24"]


@pytest.mark.parametrize("item", [6.13, 5.87, 7])
def test_a_number_further_than_two_percent_names_the_nearest(item: float) -> None:
    with pytest.raises(CodecError, match=r"nearest is '6' at 6 kbps"):
        resolve("x", [item], AVAILABLE)


@pytest.mark.parametrize("requested", [["6", "6"], [6, "6"], [6, 6.05]])
def test_duplicates_are_refused(requested: list[float | str]) -> None:
    with pytest.raises(CodecError, match="'6' is listed twice"):
        resolve("x", requested, AVAILABLE)


def test_an_unknown_name_gets_a_suggestion_or_the_list() -> None:
    with pytest.raises(CodecError, match=r"did you mean '1\.5'"):
        resolve("x", ["15"], AVAILABLE)
    with pytest.raises(CodecError, match=r"it has: 1\.5, 3, 6, 12, 24"):
        resolve("x", ["best"], AVAILABLE)


@pytest.mark.parametrize("bad", [[], "6", 6, [True], [None], [float("nan")]])
def test_what_is_not_a_list_of_points_is_refused(bad: object) -> None:
    with pytest.raises(CodecError):
        resolve("x", bad, AVAILABLE)  # type: ignore[arg-type]


def test_a_codec_without_rates_refuses_numbers() -> None:
    with pytest.raises(CodecError, match="has no rate"):
        resolve("x", [6], [OperatingPoint("identity", None, {})])


def test_continuous_rates_take_their_number_as_name() -> None:
    points = continuous("x", [24, "9.6", 6], 6, 256, default=[64])
    assert [(p.name, p.target_kbps) for p in points] == [("6", 6), ("9.6", 9.6), ("24", 24)]
    assert named(continuous("x", None, 6, 256, default=[64, 32])) == ["32", "64"]


@pytest.mark.parametrize(("item", "nearest"), [(5, "6"), (300, "256"), ("-4", "6")])
def test_a_rate_outside_the_limits_names_them(item: float | str, nearest: str) -> None:
    with pytest.raises(CodecError, match=f"6 to 256 kbps, the nearest is {nearest}"):
        continuous("x", [item], 6, 256, default=[64])


@pytest.mark.parametrize("bad", [["fast"], [24, "24"], [], [float("inf")]])
def test_continuous_refuses_what_is_no_rate(bad: list[float | str]) -> None:
    with pytest.raises(CodecError):
        continuous("x", bad, 6, 256, default=[64])
