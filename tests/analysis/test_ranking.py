"""Ranks stand only where differences are significant."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbench.analysis.ranking import Duel, Ranking, _ranks, rankings
from rdbench.analysis.runs import Run
from rdbench.store.schema import COLUMNS, Kind, Row
from rdbench.types import Status

CLIPS = 12


def row(system: str, point: str, clip: int, *, kind: Kind, key: str, value: float) -> Row:
    return Row(
        unit_key=f"{system}{point}{clip}{key}", system=system, curve=system, point=point,
        variant="codes", clip=str(clip), domain="speech", group="", seconds=2.0, kind=kind,
        key=key, value=value, unit="", backend="", status=Status.OK, reason="",
    )  # fmt: skip


def system(
    name: str, kbps: tuple[float, ...], gain: float, kind: str = "payload", bits: float = 1.0
) -> list[Row]:
    """Quality is the logarithm of a rate, plus what a clip has; bits: a factor on the rate."""
    rows = []
    for rate in kbps:
        for clip in range(CLIPS):
            own = 0.3 * math.sin(7 * clip)
            noise = 0.05 * math.sin(13 * clip + 5 * rate + len(name))
            score = math.log(rate) + own + gain + noise
            for what, key, value in (
                (Kind.METRIC, "mos", score), (Kind.RATE, kind, 2000 * rate * bits)
            ):  # fmt: skip
                rows.append(row(name, f"{rate:g}", clip, kind=what, key=key, value=value))
    return rows


def ranked(*systems: list[Row]) -> list[Ranking]:
    rows = [one for rows in systems for one in rows]
    frame = pd.DataFrame([one.as_dict() for one in rows], columns=list(COLUMNS))
    manifest = {
        "systems": {
            one.system: {"curve": one.system, "headline": one.key}
            for one in rows if one.kind is Kind.RATE
        },
        "metrics": {"mos": {"direction": "higher"}},
    }  # fmt: skip
    return list(rankings(Run("test", frame, manifest)))


def quiet(name: str, gain: float) -> list[Row]:
    """`system("one", (6.0,), 0.0)` at twice the rate, and with a `gain` that clips disagree on."""
    rows = []
    for known in system("one", (6.0,), 0.0, bits=2.0):
        sign = 3 if int(known.clip) % 2 else -1
        moved = known.value + gain * sign * (known.kind is Kind.METRIC)
        rows.append(replace(known, unit_key=f"{name}{known.unit_key}", system=name, curve=name,
                            value=moved))  # fmt: skip
    return rows


RATES = (2.0, 4.0, 8.0, 16.0)


def test_fewer_bits_at_equal_quality_rank_first_and_equal_ones_share() -> None:
    one = system("one", RATES, 0.0)
    twin = [replace(x, system="twin", curve="twin", unit_key=f"t{x.unit_key}") for x in one]
    (found,) = ranked(one, twin, system("cheap", RATES, 0.0, bits=0.5))
    ranks = dict(zip(found.curves, found.ranks, strict=True))
    assert ranks == {"one": (2, 3), "twin": (2, 3), "cheap": (1, 1)}
    duel = next(d for d in found.duels if {d.first, d.second} == {0, 2})
    assert duel.quantity == "bits"
    assert duel.value == pytest.approx(100.0, abs=2.0)  # twice the bits


def test_kinds_of_rate_have_rankings_of_their_own() -> None:
    found = ranked(system("packets", RATES, 0.0), system("tokens", RATES, 5.0, "nominal"))
    assert {one.kind: one.curves for one in found} == {
        "payload": ("packets",), "nominal": ("tokens",)
    }  # fmt: skip
    assert all(one.ranks == (None,) for one in found)


def test_curves_without_quality_in_common_are_compared_at_equal_bits() -> None:
    (found,) = ranked(system("low", RATES, 0.0), system("high", RATES, 9.0))
    assert found.ranks == ((2, 2), (1, 1))
    assert found.duels[0].quantity == "quality"
    assert found.duels[0].value == pytest.approx(-9.0, abs=0.1)


def test_curves_with_nothing_in_common_have_no_rank() -> None:
    (found,) = ranked(system("low", RATES, 0.0), system("high", (200.0, 400.0, 800.0), 0.0))
    assert found.ranks == (None, None)
    assert "do not overlap" in found.duels[0].reason


def test_systems_of_one_rate_are_compared_by_their_scores() -> None:
    near = ranked(system("one", (6.0,), 0.0), system("two", (6.3,), 1.0))[0]
    assert near.ranks == ((2, 2), (1, 1))
    far = ranked(system("one", (6.0,), 0.0), system("two", (12.0,), 1.0))[0]
    assert far.ranks == (None, None)
    assert "needs over 10 % more bits" in far.duels[0].reason
    for gain in (0.001, -0.001):  # noise: its sign decides nothing
        found = ranked(system("one", (6.0,), 0.0), quiet("two", gain))[0]
        assert found.ranks == (None, None)


VERDICTS = st.sampled_from(["first", "second", "alike", "open"])


@given(st.integers(2, 6).flatmap(lambda n: st.tuples(
    st.just(n), st.lists(VERDICTS, min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2)
)))  # fmt: skip
def test_ranges_of_what_is_alike_overlap_and_the_better_is_never_behind(
    drawn: tuple[int, list[str]],
) -> None:
    count, verdicts = drawn
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    duels = [Duel(i, j, verdict) for (i, j), verdict in zip(pairs, verdicts, strict=True)]
    ranks = _ranks(count, duels)
    for duel in duels:
        one, two = ranks[duel.first], ranks[duel.second]
        if duel.verdict == "alike":
            assert one is not None
            assert two is not None
            assert max(one[0], two[0]) <= min(one[1], two[1])
        elif duel.verdict == "first":
            assert one is not None
            assert two is not None
            assert one[0] <= two[0]
            assert one[1] <= two[1]
    assert all(rank is None or 1 <= rank[0] <= rank[1] <= count for rank in ranks)
