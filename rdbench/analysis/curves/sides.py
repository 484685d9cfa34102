"""Which points make a curve, under which kind of rate, and on which clips two of them compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.arrays import ABSENT, LEAST_SCORED
from rdbench.analysis.rate_model import choose
from rdbench.store.variants import first_stream
from rdbench.suggest import nearest
from rdbench.types import RateKind, RdbenchError

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.analysis.arrays import DomainScores

    Flags = npt.NDArray[np.bool_]

# Beside a headline that is not bits of a stream: the decodable stream of the same family.
DECODABLE = {RateKind.KL.value: RateKind.CODED.value, RateKind.NOMINAL.value: "entropy"}
MEAN = "mean"  # the source of a variant that is decoded from a posterior's mean
MEAN_REFUSED = (
    "refused: it decodes the mean of the latent at the price of a sample, which no one can "
    "transmit; it is no rate point"
)


@dataclass(frozen=True)
class Side:
    """One curve of a comparison.

    rate: (kind, probability model). points: numbers of the domain's points. refusal: "" or why it
    is no curve. left_out: points with score and rate on fewer than half of their clips.
    """

    curve: str
    variant: str
    rate: tuple[str, str]
    points: tuple[int, ...]
    refusal: str = ""
    left_out: tuple[str, ...] = ()


def curve_names(scores: DomainScores, headlines: Mapping[str, str | None]) -> list[str]:
    """The curves on the rate axis (anchors, such as the identity, have no rate)."""
    rated = (
        p.curve
        for i, p in enumerate(scores.points)
        if headlines.get(p.system) or scores.card(i).rate
    )
    return list(dict.fromkeys(rated))


def require_curve(name: str, known: Sequence[str], *, option: str = "--anchor") -> None:
    """Raises RdbenchError where `name` is not among the `known` curves."""
    if name in known:
        return
    hint = nearest(name, known, many="curves")
    raise RdbenchError(f"{option} {name!r} is not a curve of this run; {hint}")


def headline_side(scores: DomainScores, headlines: Mapping[str, str | None], curve: str) -> Side:
    """The curve as it is headlined: what is transmitted, at its family's kind of rate."""
    members = [i for i, point in enumerate(scores.points) if point.curve == curve]
    kinds = {headlines.get(scores.points[i].system) for i in members} - {None}
    sent = [i for i in members if scores.card(i).headline]
    if not kinds:  # a latent without a prior has no headline, and may have a stream
        sent = [i for i in members if scores.card(i).transmitted and scores.card(i).rate]
        kinds = {scores.card(i).rate for i in sent[:1]}
    variant = scores.points[sent[0]].variant if sent else ""
    points = tuple(i for i in sent if scores.points[i].variant == variant)
    side = Side(curve, variant, (str(min(map(str, kinds), default="")), ""), points)
    if len(kinds) > 1:
        named = " and ".join(sorted(map(str, kinds)))
        return replace(side, refusal=f"refused: its systems have rates of two kinds ({named})")
    if not points:
        return replace(side, refusal=_nothing_sent(scores, members))
    return _with_model(scores, side)


def decodable_side(scores: DomainScores, side: Side) -> Side:
    """The same curve under the bits of a decodable stream, where its headline is not that.

    A payload is its own; a stated rate has none. `coded` has its own reconstruction, of the stream
    that the spec names first; `entropy` has that of the headline.
    """
    if side.rate[0] == RateKind.STATED.value and not side.refusal:
        return replace(side, refusal=f"not measured: the rate of {side.curve} is stated")
    kind = DECODABLE.get(side.rate[0])
    if kind is None:
        return side
    found = replace(side, rate=(kind, ""))
    if kind == RateKind.CODED.value:
        streams = [
            i
            for i, p in enumerate(scores.points)
            if p.curve == side.curve and scores.card(i).rate == kind
        ]
        measured = {scores.points[i].variant for i in streams}
        cards = (card for name, card in scores.variants.items() if name in measured)
        variant = first_stream(cards) or str(kind)
        points = tuple(i for i in streams if scores.points[i].variant == variant)
        found = replace(found, variant=variant, points=points)
    if not found.points or not any(k == kind for k, _ in scores.rates):
        return replace(found, refusal=f"not measured: {side.curve} has no {kind} rate here")
    return _with_model(scores, found)


def mean_side(scores: DomainScores, curve: str) -> Side | None:
    """The refusal of a curve's mean-decoded points, where there are any."""
    points = tuple(
        i for i, p in enumerate(scores.points) if p.curve == curve and scores.card(i).source == MEAN
    )
    if not points:
        return None
    variant = scores.points[points[0]].variant
    return Side(curve, variant, (RateKind.KL.value, ""), points, refusal=MEAN_REFUSED)


def usable(scores: DomainScores, side: Side, metric: tuple[str, str]) -> Side:
    """The side without points that have score and rate on too few clips, which it names."""
    if side.refusal:
        return side
    known = _known(scores, side, metric).sum(axis=1)
    given = (scores.metrics[metric].status[list(side.points)] != ABSENT).sum(axis=1)
    some = ((known > 0) & (known >= LEAST_SCORED * given)).tolist()
    kept = tuple(i for i, has in zip(side.points, some, strict=True) if has)
    missing = tuple(scores.name(i) for i, has in zip(side.points, some, strict=True) if not has)
    result = replace(side, points=kept, left_out=missing)
    if not kept:
        few = "fewer than half of its clips" if known.any() else "no clip"
        return replace(result, refusal=f"{side.curve} has both score and rate on {few}")
    return result


def common_clips(scores: DomainScores, sides: Sequence[Side], metric: tuple[str, str]) -> Flags:
    """The clips that every point of every side has scores and rates for, (clips,)."""
    chosen = np.ones(len(scores.clips), dtype=bool)
    for side in sides:
        chosen &= _known(scores, side, metric).all(axis=0)
    return chosen


def given_clips(scores: DomainScores, sides: Sequence[Side], metric: tuple[str, str]) -> int:
    """How many clips any of the points was given for this metric."""
    index = [i for side in sides for i in side.points]
    status = scores.metrics[metric].status[index]
    return int((status != 0).any(axis=0).sum())


def _known(scores: DomainScores, side: Side, metric: tuple[str, str]) -> Flags:
    index = list(side.points)
    rates = scores.rates[side.rate].values[index]
    with np.errstate(invalid="ignore"):
        known: Flags = (
            np.isfinite(scores.metrics[metric].values[index])
            & np.isfinite(rates)
            & (scores.seconds[index] > 0)
        )
    return known


def _with_model(scores: DomainScores, side: Side) -> Side:
    """The side with the probability model of its rate (`rdbench.analysis.rate_model`)."""
    kind = side.rate[0]
    points = {
        model: {point for point in side.points if (quantity.status[point] == 1).any()}
        for (measured, model), quantity in scores.rates.items()
        if measured == kind
    }
    best = choose(kind, points)
    if best is None:
        return replace(side, refusal=f"not measured: {side.curve} has no {kind} rate here")
    return replace(side, rate=(kind, best))


def _nothing_sent(scores: DomainScores, members: Sequence[int]) -> str:
    if any(scores.card(i).source == MEAN for i in members):
        return MEAN_REFUSED
    return "refused: none of its points is decoded from what is transmitted at its rate"
