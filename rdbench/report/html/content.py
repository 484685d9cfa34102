"""What the page is told: aggregates at opening, and scores of a metric or a clip when asked for.

All statistics are made by `rdbench.analysis`; the page picks among them. A number that is not
there is null, and beside it stands the reason. The page's rate axis is a choice: `headline`, or one
kind of rate for all systems. The page rounds what it shows, as tables do: aggregates come to it as
they are, and scores of clips, of which there are many, with `SPARE` more digits than are shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import PointKey
from rdbench.report.cards import (
    RATE_MEANING,
    RunCard,
    clips_text,
    describe,
    few_groups,
    ordered,
    records,
)
from rdbench.report.figures.style import ANCHOR_COLOUR, Dash, card_styles
from rdbench.report.html.numbering import Numbering, number, point_name
from rdbench.report.names import clean
from rdbench.report.numbers import score_text
from rdbench.report.tables.rows import POINT_KEY

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.arrays import DomainScores
    from rdbench.analysis.runs import Run
    from rdbench.report.config import ReportConfig

LONGEST_NAME = 300
LONGEST_REASON = 200
HEADLINE = "headline"
SPARE = 4
KBPS_DECIMALS = 2


@dataclass(frozen=True)
class Content:
    """A run as a report needs it; points: its aggregates (`rdbench.analysis.aggregate.run_points`).

    caveats: sentences on the run (`rdbench.report.text.status.caveats`).
    """

    folder: Path
    run: Run
    points: pd.DataFrame
    card: RunCard
    numbers: Numbering
    caveats: tuple[str, ...] = ()

    @cached_property
    def rates(self) -> dict[str, pd.DataFrame]:
        """Per axis, `headline` first: one row per point and domain with a rate or an anchor."""
        kinds = self.points.loc[self.points["kind"] == "rate", "key"]
        axes = [HEADLINE, *ordered(list(kinds), list(RATE_MEANING))]
        return {
            axis: self.card.rate_distortion(self.points, rate=axis).drop_duplicates(
                [*POINT_KEY, "domain"]
            )
            for axis in axes
        }

    @property
    def axes(self) -> list[str]:
        """`headline`, and every kind of rate that was measured."""
        return list(self.rates)

    @cached_property
    def scores(self) -> dict[str, DomainScores]:
        """Scores and rates per clip, by domain."""
        from rdbench.analysis.arrays import by_domain

        return {scores.domain: scores for scores in by_domain(self.run)}


def read_content(folder: Path, *, config: ReportConfig) -> Content:
    """Reads the run in `folder` as `config` shows it.

    Raises StoreError for a folder that is no run, and SpecError for a configuration that names what
    the run does not have.
    """
    from rdbench.analysis.aggregate import run_points
    from rdbench.analysis.runs import read_run
    from rdbench.report.config import configured
    from rdbench.report.text.status import caveats

    whole = read_run(folder)
    run = configured(whole, config)
    points = run_points(run)
    card = describe(points, run.manifest)
    numbers = number(run.rows, points, card)
    return Content(folder, run, points, card, numbers, caveats(whole))


def overview(content: Content) -> dict[str, Any]:
    """What the page has from the start."""
    card, numbers = content.card, content.numbers
    styles = card_styles(card)
    curves = list(dict.fromkeys(curve for _, curve, *_ in numbers.points))
    steps = list(dict.fromkeys((key.system, key.point) for key in numbers.points))
    return {
        "curves": [
            {
                "name": card.curve_label(curve),
                "colour": styles[curve].colour if curve in styles else ANCHOR_COLOUR,
                "marker": styles[curve].marker if curve in styles else "",
                "dash": _dash(styles[curve].dash) if curve in styles else "",
                "anchor": curve not in card.curves,
            }
            for curve in curves
        ],
        "points": [
            {
                "name": point_name(key, card),
                "system": card.systems[key.system].label,
                "point": clean(key.point),
                "variant": clean(key.variant),
                "step": steps.index((key.system, key.point)),
                "curve": curves.index(key.curve),
                "anchor": card.systems[key.system].anchor and not card.variant(key.variant).rate,
                "stream": bool(card.variant(key.variant).rate),
                "diagnostic": key.variant in card.diagnostic,
            }
            for key in numbers.points
        ],
        "domains": [_domain(content, index) for index in range(len(numbers.domains))],
        "metrics": [_metric(content, *metric) for metric in numbers.metrics],
        "axes": content.axes,
        "clips": [clean(name, longest=LONGEST_NAME) for _, name in numbers.clips],
    }


def scores_of(content: Content, domain: int, metric: int) -> list[list[float | None] | None]:
    """Per point the score of every clip of the domain; None for a point without any row.

    Empty for a metric of a set of clips, of which no clip has a score.
    """
    numbers = content.numbers
    scores = content.scores.get(numbers.domains[domain])
    measured = scores.metrics.get(numbers.metrics[metric]) if scores else None
    # The value of a set of clips is no clip's.
    if scores is None or measured is None or measured.sets is not None:
        return []
    digits = _decimals(content, numbers.metrics[metric][0]) + SPARE
    at = {name: index for index, name in enumerate(scores.clips)}
    order = [at[numbers.clips[clip][1]] for clip in numbers.clips_of(domain)]
    row_of = {key: index for index, key in enumerate(scores.points)}
    found: list[list[float | None] | None] = []
    for key in numbers.points:
        row = row_of.get(key)
        if row is None or not measured.status[row].any():
            found.append(None)
        else:
            found.append([_number(value, digits) for value in measured.values[row, order]])
    return found


def clip_scores(content: Content, clip: int) -> dict[str, Any]:
    """All that was measured on one clip, by point.

    scores: point -> a value per metric, or null. reasons: "point/metric" -> why there is none.
    kbps: point -> [kind, rate of this clip] at the headline.
    """
    numbers = content.numbers
    domain, name = numbers.clips[clip]
    measured = content.scores[domain]
    column = measured.clips.index(name)
    scores: dict[int, list[float | None]] = {}
    reasons: dict[str, str] = {}
    number_of = numbers.point_of
    for row, key in enumerate(measured.points):
        where = number_of[key]
        if not np.isfinite(measured.seconds[row, column]):
            continue
        values: list[float | None] = []
        for index, metric in enumerate(numbers.metrics):
            per_clip = measured.metrics.get(metric)
            if per_clip is not None and per_clip.sets is not None:
                per_clip = None  # its value is that of a set, and no clip's
            value = math.nan if per_clip is None else float(per_clip.values[row, column])
            values.append(_number(value, _decimals(content, metric[0]) + SPARE))
            why = "" if per_clip is None else per_clip.reasons.get((row, column), "")
            if why:
                reasons[f"{where}/{index}"] = clean(why, longest=LONGEST_REASON)
        scores[where] = values
    return {"scores": scores, "reasons": reasons, "kbps": _clip_rates(content, measured, column)}


def _clip_rates(
    content: Content, scores: DomainScores, column: int
) -> dict[int, tuple[str, float | None]]:
    found: dict[int, tuple[str, float | None]] = {}
    number_of = content.numbers.point_of
    row_of = {key: row for row, key in enumerate(scores.points)}
    headline = content.rates[HEADLINE]
    for rate in records(headline[headline["domain"] == scores.domain]):
        key = PointKey(rate.system, rate.curve, rate.point, rate.variant)
        bits = scores.rates.get((rate.rate_kind, rate.rate_backend))
        row = row_of.get(key)
        if bits is None or row is None:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            kbps = bits.values[row, column] / scores.seconds[row, column] / 1000
        found[number_of[key]] = (rate.rate_kind, _number(kbps, KBPS_DECIMALS + SPARE))
    return found


def _domain(content: Content, domain: int) -> dict[str, Any]:
    name = content.numbers.domains[domain]
    inside = content.points[
        (content.points["domain"] == name) & content.points["kind"].isin(["metric", "rate"])
    ]
    return {
        "name": content.card.domain_label(name) or "all clips",
        "note": clips_text(inside),
        "caution": few_groups(inside),
        "clips": content.numbers.clips_of(domain),
        "metrics": _aggregates(content, inside),
        "rates": {axis: _axis(content, table, name) for axis, table in content.rates.items()},
    }


def _aggregates(content: Content, inside: pd.DataFrame) -> dict[int, dict[int, list[Any]]]:
    """By metric and point: [value, low, high, clips ok, clips, most frequent reason]."""
    point_of, metric_of = content.numbers.point_of, content.numbers.metric_of
    found: dict[int, dict[int, list[Any]]] = {}
    for row in records(inside[inside["kind"] == "metric"]):
        metric = metric_of.get((row.key, row.backend))
        if metric is None:
            continue
        ends = [_number(value) for value in (row.value, row.low, row.high)]
        reason = clean(row.reason, longest=LONGEST_REASON)
        point = point_of[PointKey(row.system, row.curve, row.point, row.variant)]
        found.setdefault(metric, {})[point] = [*ends, int(row.n_ok), int(row.n_total), reason]
    return found


def _axis(content: Content, table: pd.DataFrame, domain: str) -> dict[int, list[Any]]:
    """By point: [kind, kbps, low, high, whether (rate, score) can be transmitted]."""
    point_of = content.numbers.point_of
    return {
        point_of[PointKey(row.system, row.curve, row.point, row.variant)]: [
            row.rate_kind,
            *(_number(value) for value in (row.kbps, row.kbps_low, row.kbps_high)),
            bool(row.rate_point),
        ]
        for row in records(table[table["domain"] == domain])
    }


def _metric(content: Content, key: str, backend: str) -> dict[str, Any]:
    card = content.card.metrics[key]
    several = [name for name, _ in content.numbers.metrics].count(key) > 1
    suffix = f", {clean(backend)}" if several else ""
    return {
        "name": card.name + suffix,
        "title": card.title + suffix,
        "arrow": card.arrow,
        "better": card.direction,
        "decimals": _decimals(content, key),
        "ceiling": _number(card.identity, 6),
        "set": card.scope == "set",
    }


def _dash(dash: Dash) -> str:
    """As plotly has it: lengths in pixels, for lines of two pixels."""
    if isinstance(dash, str):
        return "solid"
    return ",".join(f"{2 * length:g}px" for length in dash[1])


def _decimals(content: Content, key: str) -> int:
    """How many decimals a score is worth, as tables write it."""
    return len(score_text(content.card.metrics[key])(0.0).partition(".")[2])


def _number(value: float, digits: int | None = None) -> float | None:
    """A number, rounded where asked for, or None for what is none.

    Adding zero takes the sign off −0.
    """
    if not math.isfinite(value):
        return None
    return (float(value) if digits is None else round(float(value), digits)) + 0.0
