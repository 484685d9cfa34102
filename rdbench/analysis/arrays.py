"""The rows of one domain as arrays: every point by every clip, one array per quantity.

A point is a (system, curve, point, variant). Comparisons ask the same few questions of the same
rows hundreds of times; arrays answer them without touching a table again. Nothing is averaged or
left out here: what has no value is NaN, and whose clips are compared is decided by who compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from rdbench.resampling import group_names
from rdbench.store.schema import MEASURED, Kind
from rdbench.store.variants import VariantCard, variants_of
from rdbench.types import Status, StoreError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from rdbench.analysis.runs import Run
    from rdbench.analysis.sets import SetScore

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

Kept = TypeVar("Kept")
OF_SETS = (Kind.METRIC.value, Kind.LATENT.value)
"""Kinds of rows of which a set of clips has values."""
RESIDUAL_DELAY = "residual_delay"
LEAST_SCORED = 0.5
"""The share of its clips on which a point needs a score to be compared: one that is mute on most
of them would leave the others few clips to stand on.
"""
# The order of the codes in `ClipValues.status`; 0 is "no row".
STATUSES = ("", Status.OK.value, Status.UNDEFINED.value, Status.FAILED.value)
ABSENT, OK, UNDEFINED, FAILED = range(4)


class PointKey(NamedTuple):
    """What was decoded: one variant of one point of a system."""

    system: str
    curve: str
    point: str
    variant: str


@dataclass(frozen=True)
class ClipValues:
    """One metric or rate on every point and clip.

    values: (points, clips), NaN where the status is not ok; rates in bits. status: codes into
    `STATUSES`. reasons: by (point, clip), where the status is not ok. sets: for a metric of sets,
    what the value of each point is made of; its value then stands at every clip that it is of.
    """

    values: Array
    status: npt.NDArray[np.int8]
    unit: str
    reasons: Mapping[tuple[int, int], str] = field(default_factory=dict)
    sets: Mapping[int, SetScore] | None = None

    def same_set(self, points: Sequence[int], chosen: Flags) -> bool:
        """Whether the values of these points are all of the `chosen` clips (clips,) alone."""
        return self.sets is None or bool((np.isfinite(self.values[list(points)]) == chosen).all())


@dataclass(frozen=True)
class Ratings:
    """Scores that people gave: (points, listeners, clips), NaN where one gave none."""

    values: Array
    listeners: tuple[str, ...]


@dataclass(frozen=True)
class DomainScores:
    """One domain. groups: the group of each clip, numbers from 0 in the order of the groups' names
    (`rdbench.resampling`). seconds: (points, clips).

    metrics, rates: by (key, backend). ratings: by key, for metrics that listeners gave. latents:
    statistics of latents over all clips, by (key, backend), as values of sets.
    """

    domain: str
    points: tuple[PointKey, ...]
    clips: tuple[str, ...]
    groups: npt.NDArray[np.intp]
    seconds: Array
    metrics: Mapping[tuple[str, str], ClipValues]
    rates: Mapping[tuple[str, str], ClipValues]
    variants: Mapping[str, VariantCard]
    ratings: Mapping[str, Ratings] = field(default_factory=dict)
    latents: Mapping[tuple[str, str], ClipValues] = field(default_factory=dict)
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    def keep(self, key: tuple[Any, ...], make: Callable[[], Kept]) -> Kept:
        """What `make` returns; the same again for the same key.

        Comparisons ask for the same curve on the same clips again and again.
        """
        if key not in self._kept:
            self._kept[key] = make()
        kept: Kept = self._kept[key]
        return kept

    def card(self, index: int) -> VariantCard:
        """What the variant of a point is; one that no manifest describes cannot be transmitted."""
        name = self.points[index].variant
        return self.variants.get(name) or VariantCard(name, "", transmitted=False)

    def name(self, index: int) -> str:
        """A point as "opus 12" or "vae 6 mean"."""
        system, _, point, variant = self.points[index]
        return f"{system} {point}" + ("" if self.card(index).headline else f" {variant}")

    def find(self, name: str) -> int | None:
        """The point that SYSTEM/POINT or SYSTEM/POINT/VARIANT names; None where it is not here."""
        for index, (system, _, point, variant) in enumerate(self.points):
            full = f"{system}/{point}/{variant}"
            if name == full or (name == f"{system}/{point}" and self.card(index).headline):
                return index
        return None

    def group_sums(self, values: Array, chosen: Flags) -> Array:
        """Sums over the clips of each group, (…, groups that have a chosen clip)."""
        clips = np.flatnonzero(chosen)
        clips = clips[np.argsort(self.groups[clips], kind="stable")]
        first = np.flatnonzero(np.diff(self.groups[clips], prepend=-1))
        result: Array = np.add.reduceat(values[..., clips], first, axis=-1)
        return result


def by_domain(run: Run) -> list[DomainScores]:
    """The rows of each domain of `run`, in the order of the domains' first rows.

    What is neither a metric nor a rate nor a latent's statistic over all clips is left out, and so
    are rates of whole points. Of rows that name the same thing twice, the last one counts. Raises
    StoreError where columns are missing.
    """
    absent = [column for column in MEASURED if column not in run.rows.columns]
    if absent:
        raise StoreError(
            f"the measurements lack the columns {', '.join(absent)}; were they made by rdbench?"
        )
    measured = run.rows["kind"].isin([Kind.METRIC.value, Kind.RATE.value])
    of_clips = run.rows["clip"] != ""
    whole = run.rows[run.rows["kind"].isin(OF_SETS) & ~of_clips]
    return [
        _domain_scores(run, str(domain), part, whole[whole["domain"] == domain])
        for domain, part in run.rows[measured & of_clips].groupby(
            "domain", sort=False, observed=True
        )
    ]


def _domain_scores(run: Run, domain: str, rows: pd.DataFrame, whole: pd.DataFrame) -> DomainScores:
    import pandas as pd

    point_code, named = _codes(rows, PointKey._fields)
    points = tuple(PointKey(*names) for names in named)
    clip_code, clip_index = pd.factorize(rows["clip"])
    clips = tuple(map(str, clip_index))
    shape = (len(points), len(clips))
    what_code, whats = _codes(rows, ["kind", "key", "backend"])
    status = rows["status"].map({name: code for code, name in enumerate(STATUSES)})
    flat = _Flat(
        point_code,
        np.asarray(clip_code),
        rows["value"].to_numpy(float),
        np.asarray(status.fillna(FAILED), dtype=np.int8),
        rows["unit"],
        rows["reason"],
    )
    seconds = np.full(shape, np.nan)
    # Rows of what failed before anything was read say 0.
    np.fmax.at(seconds, (point_code, clip_code), rows["seconds"].to_numpy(float))
    metrics: dict[tuple[str, str], ClipValues] = {}
    rates: dict[tuple[str, str], ClipValues] = {}
    order = np.argsort(what_code, kind="stable")
    bounds = np.searchsorted(what_code[order], np.arange(len(whats) + 1))
    for code, (kind, key, backend) in enumerate(whats):
        chosen = order[bounds[code] : bounds[code + 1]]
        found = metrics if kind == Kind.METRIC.value else rates
        found[key, backend] = flat.values(chosen, shape)
    _lend_backends(metrics)
    _lend_backends(rates)
    given = np.isfinite(seconds)
    latents: dict[tuple[str, str], ClipValues] = {}
    for names, part in whole.groupby(["kind", "key", "backend"], sort=False, observed=True):
        kind, key, backend = map(str, names)
        sets = [
            one for one in run.sets
            if (one.domain, one.kind, one.key) == (domain, kind, key)
            and one.backend in ("", backend)
        ]  # fmt: skip
        found = metrics if kind == Kind.METRIC.value else latents
        found[key, backend] = _set_values(part, sets, points, clips, given)
    return DomainScores(
        domain,
        points,
        clips,
        _groups(rows, np.asarray(clip_code), clips),
        seconds,
        metrics,
        rates,
        variants_of(run.manifest),
        {} if run.ratings is None else _answers(run.ratings, points, clips),
        latents,
    )


def _set_values(
    rows: pd.DataFrame,
    sets: Sequence[SetScore],
    points: Sequence[PointKey],
    clips: Sequence[str],
    given: Flags,
) -> ClipValues:
    """One metric of sets; given: the clips of each point, where nothing says which it is of."""
    point_of = {point: i for i, point in enumerate(points)}
    made = {point_of[PointKey(*one.point)]: one for one in sets if one.point in point_of}
    values, status = np.full(given.shape, np.nan), np.zeros(given.shape, dtype=np.int8)
    reasons: dict[tuple[int, int], str] = {}
    columns = [*PointKey._fields, "value", "status", "reason"]
    for *names, value, state, reason in rows[columns].itertuples(index=False, name=None):
        i = point_of.get(PointKey(*map(str, names)))
        if i is None:
            continue
        ok = state == Status.OK and np.isfinite(value)
        code = OK if ok else (UNDEFINED if state == Status.UNDEFINED else FAILED)
        its = np.isin(clips, made[i].clips) if ok and i in made else given[i]
        status[i], values[i] = np.where(its, code, 0), np.where(its & ok, value, np.nan)
        reasons |= {} if ok else {(i, int(c)): str(reason) for c in np.flatnonzero(its)}
    return ClipValues(values, status, str(rows["unit"].iloc[0]), reasons, made)


def _answers(
    ratings: pd.DataFrame, points: Sequence[PointKey], clips: Sequence[str]
) -> dict[str, Ratings]:
    """Every listener's answers, by metric."""
    point_of = {point: i for i, point in enumerate(points)}
    clip_of = {name: i for i, name in enumerate(clips)}
    found = {}
    for key, part in ratings.groupby("metric", sort=False):
        listeners = tuple(sorted(set(part["listener"])))
        number = {name: i for i, name in enumerate(listeners)}
        values = np.full((len(points), len(listeners), len(clips)), np.nan)
        fields = part[[*PointKey._fields, "clip", "listener", "score"]]
        for *point, clip, listener, score in fields.itertuples(index=False, name=None):
            i, c = point_of.get(PointKey(*point)), clip_of.get(clip)
            if i is not None and c is not None:
                values[i, number[listener], c] = score
        # A listener who heard nothing of this domain is none of its listeners.
        heard = np.isfinite(values).any(axis=(0, 2))
        if heard.any():
            names = tuple(n for n, has in zip(listeners, heard, strict=True) if has)
            found[str(key)] = Ratings(values[:, heard], names)
    return found


@dataclass(frozen=True)
class _Flat:
    """Columns of all rows, by position."""

    point: npt.NDArray[np.intp]
    clip: npt.NDArray[np.intp]
    value: Array
    status: npt.NDArray[np.int8]
    unit: pd.Series[str]
    reason: pd.Series[str]

    def values(self, chosen: npt.NDArray[np.intp], shape: tuple[int, int]) -> ClipValues:
        values = np.full(shape, np.nan)
        status = np.zeros(shape, dtype=np.int8)
        point, clip = self.point[chosen], self.clip[chosen]
        state = self.status[chosen]
        # A value that is no number is none, whatever its status says.
        broken = (state == OK) & ~np.isfinite(self.value[chosen])
        state = np.where(broken, np.int8(FAILED), state)
        values[point, clip] = np.where(state == OK, self.value[chosen], np.nan)
        status[point, clip] = state
        wrong = chosen[state != OK]
        reasons = {
            (int(self.point[i]), int(self.clip[i])): str(self.reason.iloc[i])
            for i in wrong.tolist()
        }
        return ClipValues(values, status, str(self.unit.iloc[chosen[0]]), reasons)


def _codes(
    rows: pd.DataFrame, columns: Sequence[str]
) -> tuple[npt.NDArray[np.intp], list[tuple[str, ...]]]:
    """A number for each distinct combination, in order of appearance, and the combinations."""
    import pandas as pd

    number: npt.NDArray[np.intp] = np.zeros(len(rows), dtype=np.intp)
    for column in columns:
        codes, names = pd.factorize(rows[column])
        number = np.asarray(pd.factorize(number * len(names) + codes)[0], dtype=np.intp)
    first = np.unique(number, return_index=True)[1]
    named = [rows[column].iloc[first].astype(str).tolist() for column in columns]
    return number, list(zip(*named, strict=True))


def _groups(
    rows: pd.DataFrame, clip_code: npt.NDArray[np.intp], clips: Sequence[str]
) -> npt.NDArray[np.intp]:
    """The group of each clip; a clip without one is a group of its own."""
    first = np.unique(clip_code, return_index=True)[1]
    group_of = dict(zip(clips, rows["group"].iloc[first].astype(str), strict=True))
    number = {name: i for i, name in enumerate(group_names(group_of))}
    return np.array([number[group or clip] for clip, group in group_of.items()], dtype=np.intp)


def _lend_backends(quantities: dict[tuple[str, str], ClipValues]) -> None:
    """Counts failures that name no backend with the one that scored the other clips."""
    for key in [key for key, backend in quantities if backend == ""]:
        named = [b for k, b in quantities if k == key and b]
        blank = quantities[key, ""]
        if not named or (blank.status == OK).any():
            continue
        for backend in named:
            scored = quantities[key, backend]
            empty = (scored.status == 0) & (blank.status != 0)
            quantities[key, backend] = ClipValues(
                scored.values,
                np.where(empty, blank.status, scored.status),
                scored.unit,
                {**blank.reasons, **scored.reasons},
            )
        del quantities[key, ""]
