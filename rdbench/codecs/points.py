"""What a spec lists under `points`, turned into operating points.

A number is a rate in kbps, matched to the `target_kbps` that a point's name promises; a string is
a point's name. Codecs with a list of rates use `resolve`; encoders that take any rate within
limits make their points with `continuous`. Both refuse duplicates and sort cheapest first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rdbench.suggest import nearest
from rdbench.types import CodecError, OperatingPoint

TOLERANCE = 0.02
"""Relative difference up to which a requested number of kbps means a point's `target_kbps`."""


def resolve(
    codec_name: str,
    requested: Sequence[float | str] | None,
    available: Sequence[OperatingPoint],
    default: Sequence[str] | None = None,
) -> tuple[OperatingPoint, ...]:
    """The points of `available` that `requested` means, cheapest first.

    Args:
        codec_name: for error messages.
        requested: numbers in kbps (the nearest `target_kbps` within 2 %) or names of points; None
            means `default`.
        available: every point of the codec.
        default: names of the points that None stands for; None means all of `available`.

    Raises:
        CodecError: for an unknown rate or name (names the nearest one), for a duplicate, and for
            an empty list.
    """
    if requested is None:
        requested = default if default is not None else [point.name for point in available]
    _check_sequence(codec_name, requested)
    return ordered(codec_name, [_find(codec_name, item, available) for item in requested])


def continuous(  # noqa: PLR0917
    codec_name: str,
    requested: Sequence[float | str] | None,
    low: float,
    high: float,
    default: Sequence[float],
    settings: Callable[[float], Mapping[str, Any]] | None = None,
) -> tuple[OperatingPoint, ...]:
    """Points of an encoder that takes any rate from `low` to `high` kbps, cheapest first.

    Args:
        codec_name: for error messages.
        requested: numbers in kbps, or the same as text ("24", "9.6"); None means `default`. A
            point is called by its number, `f"{kbps:g}"`.
        low: lowest rate in kbps, inclusive.
        high: highest rate in kbps, inclusive.
        default: the rates that None stands for.
        settings: gives a point's settings for its rate in kbps; `{"kbps": rate}` by default.

    Raises:
        CodecError: for a rate outside the limits, something that is not a number, a duplicate,
            and an empty list.
    """
    chosen: Sequence[float | str] = default if requested is None else requested
    _check_sequence(codec_name, chosen)
    points = []
    for item in chosen:
        kbps = _number(codec_name, item, low, high)
        extra = {"kbps": kbps} if settings is None else settings(kbps)
        points.append(OperatingPoint(f"{kbps:g}", kbps, extra))
    return ordered(codec_name, points)


def ordered(codec_name: str, points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """`points` sorted by `target_kbps` (stable; points without one first, as they come).

    Raises CodecError where two points have one name.
    """
    seen: set[str] = set()
    for point in points:
        if point.name in seen:
            raise CodecError(f"{codec_name}: point {point.name!r} is listed twice; list it once")
        seen.add(point.name)
    return tuple(sorted(points, key=lambda p: -1.0 if p.target_kbps is None else p.target_kbps))


def _check_sequence(codec_name: str, requested: Sequence[float | str]) -> None:
    if isinstance(requested, (str, bytes)) or not isinstance(requested, Sequence):
        raise CodecError(f"{codec_name}: points must be a list, not {requested!r}")
    if not requested:
        raise CodecError(
            f"{codec_name}: the list of points is empty; leave it out to get the default points"
        )


def _find(
    codec_name: str, item: float | str, available: Sequence[OperatingPoint]
) -> OperatingPoint:
    names = [point.name for point in available]
    if isinstance(item, str):
        for point in available:
            if point.name == item:
                return point
        hint = nearest(item, names, many="it has")
        raise CodecError(f"{codec_name} has no operating point {item!r}; {hint}")
    kbps = _finite(codec_name, item)
    rated = [(point, point.target_kbps) for point in available if point.target_kbps is not None]
    if not rated:
        raise CodecError(
            f"{codec_name} has no rate, so {item!r} names no point; it has: {', '.join(names)}"
        )
    closest, target = min(rated, key=lambda pair: abs(pair[1] - kbps))
    if abs(target - kbps) > TOLERANCE * target:
        raise CodecError(
            f"{codec_name} has no operating point at {kbps:g} kbps; "
            f"the nearest is {closest.name!r} at {target:g} kbps"
        )
    return closest


def _number(codec_name: str, item: float | str, low: float, high: float) -> float:
    value: Any = item
    if isinstance(item, str):
        try:
            value = float(item)
        except ValueError:
            raise CodecError(
                f"{codec_name}: {item!r} is not a rate; "
                f"list numbers of kbps from {low:g} to {high:g}"
            ) from None
    kbps = _finite(codec_name, value)
    if not low <= kbps <= high:
        limit = low if kbps < low else high
        raise CodecError(
            f"{codec_name} does not take {kbps:g} kbps; it takes {low:g} to {high:g} kbps, "
            f"the nearest is {limit:g}"
        )
    return kbps


def _finite(codec_name: str, item: Any) -> float:
    if isinstance(item, bool) or not isinstance(item, (int, float)) or not math.isfinite(item):
        raise CodecError(
            f"{codec_name}: {item!r} is not a point; list numbers of kbps or names of points"
        )
    return float(item)
