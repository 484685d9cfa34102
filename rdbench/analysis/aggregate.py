"""From rows per clip to numbers per point: means, rates, intervals, and what is missing.

Domains are never pooled, and every number carries how many clips it rests on. The mean of a score
is over clips with status ok; the rate of a point is total bits over total seconds. Both are ratios
of sums over clips, and their intervals those of `rdbench.analysis.stats`, over groups of clips; a
rate cannot fall under zero and is read on an axis of logarithms, on which its interval is taken.

What has no score on a clip is not better for it. A point whose score is undefined on a clip where
another has one (it muted the clip, say) is marked, and its mean is over the clips that all points
have. The rate beside a score is always that of the score's clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import LEAST_SCORED, by_domain
from rdbench.analysis.rate_model import choose, preference
from rdbench.analysis.runs import planned_clips
from rdbench.analysis.stats.intervals import CELLS, intervals, spread
from rdbench.analysis.stats.leave_one_out import columns_of, means, ratio_columns
from rdbench.store.schema import BESIDE, MEASURED, Kind
from rdbench.store.variants import BUILT_IN, VariantCard
from rdbench.types import Status, StoreError

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import GivenTo, Run

# What one aggregate is about.
IDENTITY = ["system", "curve", "point", "variant", "domain", "kind", "key", "backend"]
# What a rate is joined to a score by.
POINT = ["system", "curve", "point", "variant", "domain"]
POINT_COLUMNS = [
    *IDENTITY, "value", "low", "high", "unit", "n_ok", "n_total", "n_undefined", "n_failed",
    "n_apart", "n_groups", "note", "reason", "common", "rates",
]  # fmt: skip
APART = "apart"  # the status of a score that a mean leaves out, since not all points have one
FEW_SCORED = "scored on fewer than half of the clips: no mean"
NONE_IN_COMMON = "no clip on which all points have a score: no mean"
ONCE_PER_POINT = "measured once per point: no interval"
NOT_FINITE = "the value is not a finite number although its status is ok"


def points(
    frame: pd.DataFrame,
    *,
    manifest: Mapping[str, Any] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """One row per (system, curve, point, variant, domain, kind, key, backend) of `frame`.

    frame: the columns of `rdbench.store.schema.Row`. The result has `POINT_COLUMNS`: value, low
    and high in `unit` ("kbps" for rates); n_ok, n_undefined, n_failed clips out of n_total, the
    clips that this system, point and variant was given in this domain; n_groups, the groups with
    a value; note, on the interval; reason, the most frequent one among clips without a value;
    common, whether the mean is over the clips that all points with scores on half of theirs have,
    since on some this point's score is undefined and another's is not (n_ok counts these, and
    n_apart what is left out);
    rates, of a score that not all
    clips have: (kind, model, kbps, low, high) over the clips that have it.
    Rows of a whole point (clip "") have no interval (`run_points` gives values of sets one).
    manifest: its plan says which clips were
    asked for; without one, n_total counts those that have a row. Its metrics
    say in which range a score lies, which no interval leaves.

    Raises StoreError where columns are missing, and for a plan that is none.
    """
    import pandas as pd

    rows = _prepared(frame)
    if rows.empty:
        return pd.DataFrame(columns=POINT_COLUMNS)
    per_clip = rows[rows["clip"] != ""]
    asked = planned_clips(manifest or {})
    tables = []
    for _, part in per_clip.groupby("domain", sort=False, observed=True):
        table, numerators, denominators = _sums(part, part["sampling_group"], asked)
        made = _with_intervals(table, numerators, denominators, confidence)
        made["rates"] = _rates_of_scores(made, part, confidence)
        tables.append(_within_range(made, manifest or {}))
    whole = rows[rows["clip"] == ""]
    if not whole.empty:
        tables.append(_whole_points(whole))
    result = pd.concat(tables, ignore_index=True)
    order = rows.drop_duplicates(IDENTITY)[IDENTITY]
    return order.merge(result, on=IDENTITY, how="left")[POINT_COLUMNS]


def run_points(run: Run, *, confidence: float = 0.95) -> pd.DataFrame:
    """`points` of a run, with the intervals of what is more than a mean over clips.

    A score that listeners gave is the mean over its answers, and its interval draws listeners and
    clips; where only one person listened there is none. The value of a set of clips has the
    interval of how it changes without each group.
    """
    table = points(run.rows, manifest=run.manifest, confidence=confidence)
    if (run.ratings is None and not run.sets) or table.empty:
        return table
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for scores in by_domain(run):
        for metric, given in scores.metrics.items():
            if given.sets is None and metric[0] not in scores.ratings:
                continue
            for index, point in enumerate(scores.points):
                chosen = np.isfinite(given.values[index])
                if not chosen.any():
                    continue
                columns = columns_of(scores, chosen, metric[0])
                mean = means(scores, [index], metric, chosen)
                made = columns.interval(mean, confidence=confidence)
                numbers = {
                    "value": mean[0, 0], "low": made.low[0], "high": made.high[0],
                    "note": made.notes[0],
                }  # fmt: skip
                if given.sets is not None:
                    clips = int(np.isfinite(scores.seconds[index]).sum())
                    numbers |= {"n_ok": int(chosen.sum()), "n_total": clips}
                    numbers["n_groups"] = len(columns.groups)
                found[*point, scores.domain, Kind.METRIC.value, *metric] = numbers
    for number, key in enumerate(table[IDENTITY].itertuples(index=False, name=None)):
        for column, cell in found.get(key, {}).items():
            table.loc[table.index[number], column] = cell
    return _within_range(table, run.manifest)


def rate_distortion(
    points: pd.DataFrame,
    headline: Mapping[str, str | None],
    *,
    rate: str = "headline",
    variants: Mapping[str, VariantCard] = BUILT_IN,
) -> pd.DataFrame:
    """Each score of `points` beside the rate of the same system, point, variant and domain.

    headline: per system the rate kind that stands for it, None for an anchor. rate: "headline",
    or one rate kind for all systems. variants: of `rdbench.store.variants.variants_of`; one with
    a rate of its own (`coded`) always has that.

    Adds rate_kind ("" for anchors), rate_backend, kbps, kbps_low, kbps_high (NaN where that rate
    was not measured), anchor, and rate_point: whether (rate, score) is a point that can be
    transmitted. kbps is over the clips that the score is of. Decoding the mean at the price of the
    KL is not a rate point: such rows carry the sample's
    rate and rate_point False.
    """
    import pandas as pd

    scores = points[points["kind"] == Kind.METRIC.value].copy()
    kinds = [
        _own_rate(variants, variant) or _rate_kind(headline.get(system), rate)
        for system, variant in zip(scores["system"], scores["variant"], strict=True)
    ]
    scores["rate_kind"] = pd.Series(kinds, index=scores.index, dtype=object)
    rates = _one_model(points[points["kind"] == Kind.RATE.value]).rename(
        columns={
            "key": "rate_kind", "backend": "rate_backend",
            "value": "kbps", "low": "kbps_low", "high": "kbps_high",
        }
    )[[*POINT, "rate_kind", "rate_backend", "kbps", "kbps_low", "kbps_high"]]  # fmt: skip
    joined = scores.merge(
        _for_every_variant(rates, scores, variants), on=[*POINT, "rate_kind"], how="left"
    )
    joined["rate_backend"] = joined["rate_backend"].fillna("")
    _use_rates_of_scores(joined)
    joined["anchor"] = [
        headline.get(system) is None and not _own_rate(variants, variant)
        for system, variant in zip(joined["system"], joined["variant"], strict=True)
    ]
    sent = [name for name, card in variants.items() if card.transmitted]
    transmittable = joined["variant"].isin(sent)
    joined["rate_point"] = transmittable & ~joined["anchor"] & joined["kbps"].notna()
    return joined.drop(columns="kind")


def _prepared(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with `ok`, `sampling_group`, `numerator` and `denominator`, without duplicates."""
    absent = [column for column in MEASURED if column not in frame.columns]
    if absent:
        raise StoreError(
            f"the measurements lack the columns {', '.join(absent)}; were they made by rdbench?"
        )
    rows = frame[~frame["kind"].isin([kind.value for kind in BESIDE])].copy()
    for column in rows.columns:
        if rows[column].dtype == "category":
            rows[column] = rows[column].astype(str)
    rows = rows.astype({"value": float, "seconds": float})
    rows = _fill_backends(rows)
    # A unit that was done again replaces what it gave before; no clip counts twice.
    rows = rows.drop_duplicates([*IDENTITY, "clip"], keep="last")

    is_rate = rows["kind"] == Kind.RATE.value
    usable = np.isfinite(rows["value"]) & (~is_rate | (rows["seconds"] > 0))
    broken = (rows["status"] == "ok") & ~usable
    rows["status"] = rows["status"].mask(broken, "failed")
    rows["reason"] = rows["reason"].mask(broken, NOT_FINITE)
    rows["ok"] = rows["status"] == "ok"
    rows["sampling_group"] = rows["group"].where(rows["group"] != "", rows["clip"])
    numerator = rows["value"].where(~is_rate, rows["value"] / 1000)
    rows["numerator"] = numerator.where(rows["ok"], 0.0)
    rows["denominator"] = rows["seconds"].where(is_rate, 1.0).where(rows["ok"], 0.0)
    return _on_common_clips(rows.reset_index(drop=True))


def _on_common_clips(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with `common`, and scores set apart that such a point's mean leaves out.

    A point that has no score on most of its clips costs the others none of theirs: all of its own
    are set apart.
    """
    rows["common"] = False
    scores = rows[(rows["kind"] == Kind.METRIC.value) & (rows["clip"] != "")]
    where = ["domain", "key", "backend"]
    at = [*where, "clip"]
    muted = scores["status"] == Status.UNDEFINED.value
    muted &= scores.groupby(at, observed=True)["ok"].transform("any")
    if not muted.any():
        return rows
    point = scores.groupby(IDENTITY, sort=False, observed=True).ngroup()
    enough = scores["ok"].groupby(point).transform("mean") >= LEAST_SCORED
    marked = muted.groupby(point).transform("any") & scores["ok"].groupby(point).transform("any")
    having = (scores["ok"] & enough).groupby([scores[c] for c in at]).transform("sum")
    points = point.where(enough).groupby([scores[c] for c in where]).transform("nunique")
    apart = scores.index[marked & scores["ok"] & ((having < points) | ~enough)]
    rows.loc[scores.index, "common"] = marked
    rows.loc[apart, ["numerator", "denominator"]] = 0.0
    rows.loc[apart, "status"] = APART
    return rows


def _fill_backends(rows: pd.DataFrame) -> pd.DataFrame:
    """Counts failures that name no backend with the one that scored the other clips."""
    blank = (rows["backend"] == "") & (rows["status"] != "ok")
    if not blank.any():
        return rows
    place = [column for column in IDENTITY if column != "backend"]
    named = rows.loc[rows["backend"] != "", IDENTITY].drop_duplicates()
    named = named.drop_duplicates(place, keep=False).rename(columns={"backend": "only"})
    only = rows[place].merge(named, on=place, how="left")["only"].fillna("").to_numpy()
    rows["backend"] = rows["backend"].where(~blank, only)
    return rows


def _sums(
    part: pd.DataFrame, groups: pd.Series[str], asked: Mapping[GivenTo, set[str]]
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The aggregates of one domain, and their sums per group (aggregates, groups)."""
    import pandas as pd

    grouped = part.groupby(IDENTITY, sort=False, observed=True)
    number = grouped.ngroup().to_numpy()
    table = grouped.agg(unit=("unit", "first"), common=("common", "any")).reset_index()
    table["unit"] = table["unit"].mask(table["kind"] == Kind.RATE.value, "kbps")
    codes, names = pd.factorize(groups, sort=True)
    cells = number * len(names) + codes
    size, shape = len(table) * len(names), (len(table), len(names))
    numerators, denominators = (
        np.bincount(cells, weights=part[column].to_numpy(float), minlength=size).reshape(shape)
        for column in ("numerator", "denominator")
    )
    for status in ("ok", "undefined", "failed", APART):
        hits = (part["status"] == status).to_numpy(float)
        counts = np.bincount(number, weights=hits, minlength=len(table))
        table[f"n_{status}"] = counts.astype(np.int64)
    table = table.merge(_given(part, asked), on=POINT, how="left")
    return _with_reasons(table, part), numerators, denominators


def _given(part: pd.DataFrame, asked: Mapping[GivenTo, set[str]]) -> pd.DataFrame:
    """n_total by place: the clips that were asked for, whether they have a row or not."""
    import pandas as pd

    named = [*POINT, "clip"]
    there = part[named].drop_duplicates().astype(str)
    places = there[POINT].drop_duplicates()
    plan = [
        (*place, clip)
        for place in places.itertuples(index=False, name=None)
        for clip in asked.get((place[0], place[2], place[3], place[4]), ())
    ]
    clips = pd.concat([there, pd.DataFrame(plan, columns=named, dtype=object)]).drop_duplicates()
    return clips.groupby(POINT, sort=False).size().rename("n_total").reset_index()


def _with_reasons(table: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    """Adds the most frequent reason among the rows that are not ok."""
    missing = part[~part["ok"]]
    counts = missing.groupby([*IDENTITY, "reason"], sort=True, observed=True).agg(
        n=("clip", "size")
    )
    ordered = counts.reset_index().sort_values("n", ascending=False, kind="stable")
    reasons = ordered.drop_duplicates(IDENTITY)[[*IDENTITY, "reason"]]
    table = table.merge(reasons, on=IDENTITY, how="left")
    table["reason"] = table["reason"].fillna("")
    return table


def _with_intervals(
    table: pd.DataFrame, numerators: np.ndarray, denominators: np.ndarray, confidence: float
) -> pd.DataFrame:
    """The table with Σ n / Σ d of each row and its interval; sums per group (rows, groups)."""
    is_rate = (table["kind"] == Kind.RATE.value).to_numpy()
    step = max(1, CELLS // max(1, numerators.shape[1]))
    parts = [
        ratio_intervals(
            numerators[start : start + step],
            denominators[start : start + step],
            logarithmic=is_rate[start : start + step],
            confidence=confidence,
        )
        for start in range(0, len(table), step)
    ]
    found = {name: [x for part in parts for x in part[name]] for name in parts[0]}
    table = table.assign(**found, n_groups=(denominators > 0).sum(axis=1))
    none = (table["n_ok"] == 0) & (table["n_apart"] > 0)
    few = table["n_apart"] < LEAST_SCORED * table["n_total"]
    table.loc[none, "note"] = np.where(few[none], FEW_SCORED, NONE_IN_COMMON)
    return table


def ratio_intervals(
    numerators: np.ndarray,
    denominators: np.ndarray,
    *,
    logarithmic: np.ndarray,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Ratios Σ n / Σ d with their intervals: value, low, high, note, each (ratios,).

    numerators, denominators: sums per group (ratios, groups), 0 for a group that has nothing to
    say. logarithmic: which of them (ratios,) are rates: taken on the scale of logarithms, where
    they are above zero in all groups' absence, and certain where they do not vary. NaN where there
    is none, and the note says why.
    """
    columns = ratio_columns(numerators, denominators)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = denominators / denominators.sum(axis=1, keepdims=True)
        scaled = logarithmic & (np.nan_to_num(columns, nan=1.0) > 0).all(axis=1)
        logs = np.where(scaled[:, None], np.log(columns), columns)
    given = spread(logs[:, 0], logs[:, 1:], np.nan_to_num(share))
    made = intervals(logs[:, 0], given, certain=logarithmic, confidence=confidence)
    low, high = (np.exp(end, out=end.copy(), where=scaled) for end in (made.low, made.high))
    return {"value": columns[:, 0], "low": low, "high": high, "note": made.notes}


def _within_range(table: pd.DataFrame, manifest: Mapping[str, Any]) -> pd.DataFrame:
    """Intervals cut at the ends of their metric's range: no mean of scores lies beyond them."""
    cards = manifest.get("metrics") or {}
    known = [
        cards.get(key, {}) if kind == Kind.METRIC.value else {}
        for kind, key in zip(table["kind"], table["key"], strict=True)
    ]
    lower = np.array([_number(card.get("lower"), -np.inf) for card in known])
    upper = np.array([_number(card.get("upper"), np.inf) for card in known])
    # A score that is itself beyond a rounded end stays within its interval.
    low = np.where(table["low"] < lower, np.minimum(lower, table["value"]), table["low"])
    high = np.where(table["high"] > upper, np.maximum(upper, table["value"]), table["high"])
    return table.assign(low=low, high=high)


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) else otherwise


def _whole_points(rows: pd.DataFrame) -> pd.DataFrame:
    table, numerators, denominators = _sums(rows, rows["system"], {})
    total, count = numerators.sum(axis=1), denominators.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(count > 0, total / count, np.nan)
    nothing: dict[str, Any] = {"low": np.nan, "high": np.nan, "n_groups": 0, "rates": ""}
    return table.assign(value=value, note=ONCE_PER_POINT, **nothing)


def _rates_of_scores(table: pd.DataFrame, part: pd.DataFrame, confidence: float) -> list[Any]:
    """Per aggregate the rates of its clips, "" where they are those of all clips."""
    found: list[Any] = [""] * len(table)
    fewer = (table["kind"] == Kind.METRIC.value) & (table["n_ok"] < table["n_total"])
    if not (fewer & (table["n_ok"] > 0)).any():
        return found
    used = part[(part["kind"] == Kind.METRIC.value) & (part["denominator"] > 0)]
    clips_of = used.groupby(IDENTITY, sort=False, observed=True)["clip"].agg(frozenset).to_dict()
    rates = part[(part["kind"] == Kind.RATE.value) & part["ok"]]
    owner = ["system", "curve", "point"]
    of_point: dict[Any, pd.DataFrame] = dict(iter(rates.groupby(owner, sort=False, observed=True)))
    made: dict[tuple[Any, ...], Any] = {}
    for number in np.flatnonzero(fewer):
        row = table.iloc[number]
        clips = clips_of.get(tuple(row[IDENTITY]), frozenset())
        rows = of_point.get(tuple(row[owner]))
        if not clips or rows is None:
            continue
        what = (*row[owner], row["variant"], clips)
        if what not in made:
            made[what] = _rates_on(rows, str(row["variant"]), clips, confidence)
        found[number] = made[what]
    return found


def _rates_on(
    rows: pd.DataFrame, variant: str, clips: frozenset[str], confidence: float
) -> tuple[tuple[str, str, float, float, float], ...]:
    """(kind, model, kbps, low, high) of the rates of one point on some of its clips.

    A variant without a rate of its own has that of another, as in `rate_distortion`.
    """
    own_first = rows.assign(other=rows["variant"] != variant).sort_values("other", kind="stable")
    chosen = own_first.drop_duplicates(["key", "backend", "clip"])
    chosen = chosen[chosen["clip"].isin(clips)]
    found = []
    for (kind, model), part in chosen.groupby(["key", "backend"], sort=False, observed=True):
        sums = part.groupby("sampling_group", sort=True)[["numerator", "denominator"]].sum()
        over, under = (sums[column].to_numpy()[None] for column in sums)
        made = ratio_intervals(over, under, logarithmic=np.array([True]), confidence=confidence)
        value, low, high = (float(made[name][0]) for name in ("value", "low", "high"))
        found.append((str(kind), str(model), value, low, high))
    return tuple(found)


def _use_rates_of_scores(joined: pd.DataFrame) -> None:
    """Puts the rates of a score's own clips in the place of those of all clips."""
    asked: list[Any] = list(
        zip(joined.index, joined["rate_kind"], joined["rate_backend"], joined["rates"], strict=True)
    )
    for row, kind, model, rates in asked:
        for *rate, kbps, low, high in rates:
            if rate == [kind, model]:
                joined.loc[row, ["kbps", "kbps_low", "kbps_high"]] = kbps, low, high


def _own_rate(variants: Mapping[str, VariantCard], variant: str) -> str:
    return variants[variant].rate if variant in variants else ""


def _rate_kind(kind: str | None, rate: str) -> str:
    if kind is None:
        return ""
    return str(kind) if rate == "headline" else rate


def _one_model(rates: pd.DataFrame) -> pd.DataFrame:
    """The rows of one model for each curve, variant and kind (`rdbench.analysis.rate_model`)."""
    kept = []
    keys = ["curve", "variant", "domain", "key"]
    for (*_, kind), part in rates.groupby(keys, sort=False, observed=True):
        measured = part[part["value"].notna()]
        points = {
            str(model): set(there[["system", "point"]].itertuples(index=False, name=None))
            for model, there in measured.groupby("backend", sort=False, observed=True)
        }
        best = choose(str(kind), points) or min(map(str, part["backend"]), key=preference)
        kept.append(part.index[part["backend"] == best])
    chosen = {index for part in kept for index in part}
    return rates[rates.index.isin(chosen)]


def _for_every_variant(
    rates: pd.DataFrame, scores: pd.DataFrame, variants: Mapping[str, VariantCard]
) -> pd.DataFrame:
    """Rates for each variant that was scored.

    A KL belongs to the posterior, whatever is decoded from it: a variant without rates of its own
    (the mean) has those of its point, but never the bits of the coded stream.
    """
    import pandas as pd

    own = [column for column in POINT if column != "variant"]
    wanted = scores[[*POINT, "rate_kind"]].drop_duplicates()
    has_own = wanted.merge(rates[[*POINT, "rate_kind"]].drop_duplicates(), how="left",
                           indicator=True)  # fmt: skip
    orphans = has_own[has_own["_merge"] == "left_only"].drop(columns="_merge")
    streams = [name for name, card in variants.items() if card.rate]
    orphans = orphans[~orphans["variant"].isin(streams)]
    shared = rates[~rates["variant"].isin(streams)]
    shared = shared.drop_duplicates([*own, "rate_kind", "rate_backend"]).drop(columns="variant")
    lent = orphans.merge(shared, on=[*own, "rate_kind"], how="inner")
    return pd.concat([rates, lent], ignore_index=True) if len(lent) else rates
