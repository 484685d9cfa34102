"""Which points make a curve, under which kind of rate, and on which clips two of them compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.models import choose
from rdbench.types import RateKind, RdbenchError, Variant

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.analysis.arrays import Panel

    Flags = npt.NDArray[np.bool_]

# Beside a headline that is not bits of a stream: the decodable stream of the same family.
DECODABLE = {RateKind.KL.value: RateKind.CODED.value, RateKind.NOMINAL.value: "entropy"}
MEAN_REFUSED = (
    "refused: it decodes the mean of the latent at the price of a sample, which no one can "
    "transmit; it is no rate point"
)


@dataclass(frozen=True)
class Side:
    """One curve of a comparison.

    rate: (kind, probability model). places: numbers of the panel's places. refusal: "" or why it
    is no curve. left_out: points without a single score or rate.
    """

    curve: str
    variant: str
    rate: tuple[str, str]
    places: tuple[int, ...]
    refusal: str = ""
    left_out: tuple[str, ...] = ()


def curve_names(panel: Panel, headlines: Mapping[str, str | None]) -> list[str]:
    """The curves on the rate axis (anchors such as the identity have no rate)."""
    rated = (
        p.curve for p in panel.places if headlines.get(p.system) or p.variant == Variant.CODED.value
    )
    return list(dict.fromkeys(rated))


def require_curve(name: str, known: Sequence[str], *, option: str = "--anchor") -> None:
    """Raises RdbenchError where `name` is not among the `known` curves."""
    if name in known:
        return
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known) or 'none'}"
    raise RdbenchError(f"{option} {name!r} is not a curve of this run; {meant}")


def headline_side(panel: Panel, headlines: Mapping[str, str | None], curve: str) -> Side:
    """The curve as it is headlined: what is transmitted, at its family's kind of rate."""
    members = [i for i, place in enumerate(panel.places) if place.curve == curve]
    kinds = {headlines.get(panel.places[i].system) for i in members} - {None}
    transmitted = [Variant.CODES.value, Variant.SAMPLE.value]
    if not kinds:  # a latent without a prior has no headline, and may have a stream
        kinds, transmitted = {RateKind.CODED.value}, [Variant.CODED.value]
    variants = {panel.places[i].variant for i in members}
    variant = next((v for v in transmitted if v in variants), "")
    places = tuple(i for i in members if panel.places[i].variant == variant)
    side = Side(curve, variant, (str(min(map(str, kinds), default="")), ""), places)
    if len(kinds) > 1:
        named = " and ".join(sorted(map(str, kinds)))
        return replace(side, refusal=f"refused: its systems have rates of two kinds ({named})")
    if not places:
        return replace(side, refusal=_nothing_sent(variants))
    return _with_model(panel, side)


def decodable_side(panel: Panel, side: Side) -> Side:
    """The same curve under the bits of a decodable stream, where its headline is not that.

    A payload is its own. `coded` has its own reconstruction, `entropy` that of the headline.
    """
    kind = DECODABLE.get(side.rate[0])
    if kind is None:
        return side
    if kind == RateKind.CODED.value:
        places = tuple(
            i
            for i, p in enumerate(panel.places)
            if p.curve == side.curve and p.variant == Variant.CODED.value
        )
        found = replace(side, variant=Variant.CODED.value, rate=(kind, ""), places=places)
    else:
        found = replace(side, rate=(kind, ""))
    if not found.places or not any(k == kind for k, _ in panel.rates):
        return replace(found, refusal=f"not measured: {side.curve} has no {kind} rate here")
    return _with_model(panel, found)


def mean_side(panel: Panel, curve: str) -> Side | None:
    """The refusal of a curve's mean-decoded points, where there are any."""
    places = tuple(
        i
        for i, p in enumerate(panel.places)
        if p.curve == curve and p.variant == Variant.MEAN.value
    )
    if not places:
        return None
    return Side(curve, Variant.MEAN.value, ("kl", ""), places, refusal=MEAN_REFUSED)


def usable(panel: Panel, side: Side, metric: tuple[str, str]) -> Side:
    """The side without points that have no clip with both score and rate, which it names."""
    if side.refusal:
        return side
    known = _known(panel, side, metric)
    some = [bool(row.any()) for row in known]
    kept = tuple(i for i, has in zip(side.places, some, strict=True) if has)
    missing = tuple(
        panel.places[i].text for i, has in zip(side.places, some, strict=True) if not has
    )
    result = replace(side, places=kept, left_out=missing)
    if not kept:
        return replace(result, refusal=f"{side.curve} has no clip with both score and rate")
    return result


def common_clips(panel: Panel, sides: Sequence[Side], metric: tuple[str, str]) -> Flags:
    """The clips that every point of every side has scores and rates for, (clips,)."""
    chosen = np.ones(len(panel.clips), dtype=bool)
    for side in sides:
        chosen &= _known(panel, side, metric).all(axis=0)
    return chosen


def given_clips(panel: Panel, sides: Sequence[Side], metric: tuple[str, str]) -> int:
    """How many clips any of the points was given for this metric."""
    index = [i for side in sides for i in side.places]
    status = panel.metrics[metric].status[index]
    return int((status != 0).any(axis=0).sum())


def _known(panel: Panel, side: Side, metric: tuple[str, str]) -> Flags:
    index = list(side.places)
    rates = panel.rates[side.rate].values[index]
    with np.errstate(invalid="ignore"):
        known: Flags = (
            np.isfinite(panel.metrics[metric].values[index])
            & np.isfinite(rates)
            & (panel.seconds[index] > 0)
        )
    return known


def _with_model(panel: Panel, side: Side) -> Side:
    """The side with the probability model of its rate (`rdbench.analysis.models`)."""
    kind = side.rate[0]
    points = {
        model: {place for place in side.places if (quantity.status[place] == 1).any()}
        for (measured, model), quantity in panel.rates.items()
        if measured == kind
    }
    best = choose(kind, points)
    if best is None:
        return replace(side, refusal=f"not measured: {side.curve} has no {kind} rate here")
    return replace(side, rate=(kind, best))


def _nothing_sent(variants: set[str]) -> str:
    if Variant.MEAN.value in variants:
        return MEAN_REFUSED
    return "refused: none of its points is decoded from what is transmitted at its rate"
