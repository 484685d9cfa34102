"""The rows of one domain as arrays: every place by every clip, one array per quantity.

A place is a (system, curve, point, variant). Comparisons ask the same few questions of the same
rows hundreds of times; arrays answer them without touching a table again. Nothing is averaged or
left out here: what has no value is NaN, and whose clips are compared is decided by who compares.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from rdbench.resampling import resample_weights
from rdbench.store.schema import COLUMNS, Kind
from rdbench.types import Status, StoreError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    Array = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

Kept = TypeVar("Kept")
RESIDUAL_DELAY = "residual_delay"
# The order of the codes in `Quantity.status`; 0 is "no row".
STATUSES = ("", Status.OK.value, Status.UNDEFINED.value, Status.FAILED.value)


class Place(NamedTuple):
    """What was decoded."""

    system: str
    curve: str
    point: str
    variant: str

    @property
    def text(self) -> str:
        """As "opus 12" or "vae 6 mean"."""
        shown = f"{self.system} {self.point}"
        return shown if self.variant in ("codes", "sample") else f"{shown} {self.variant}"


@dataclass(frozen=True)
class Quantity:
    """One metric or rate on every place and clip.

    values: (places, clips), NaN where the status is not ok; rates in bits. status: codes into
    `STATUSES`. reasons: by (place, clip), where the status is not ok.
    """

    values: Array
    status: npt.NDArray[np.int8]
    unit: str
    reasons: Mapping[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratings:
    """Scores that people gave: (places, listeners, clips), NaN where one gave none."""

    values: Array
    listeners: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """One domain. groups: the group of each clip, a number from 0. seconds: (places, clips).

    metrics, rates: by (key, backend). ratings: by key, for metrics that listeners gave.
    """

    domain: str
    places: tuple[Place, ...]
    clips: tuple[str, ...]
    groups: npt.NDArray[np.intp]
    seconds: Array
    metrics: Mapping[tuple[str, str], Quantity]
    rates: Mapping[tuple[str, str], Quantity]
    ratings: Mapping[str, Ratings] = field(default_factory=dict)
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    def keep(self, key: tuple[Any, ...], make: Callable[[], Kept]) -> Kept:
        """What `make` returns; the same again for the same key.

        Comparisons ask for the same curve on the same clips again and again.
        """
        if key not in self._kept:
            self._kept[key] = make()
        kept: Kept = self._kept[key]
        return kept

    def group_sums(self, values: Array, chosen: Flags) -> Array:
        """Sums over the clips of each group, (…, groups that have a chosen clip)."""
        _, codes = np.unique(self.groups[chosen], return_inverse=True)
        member = np.zeros((len(codes), int(codes.max()) + 1 if len(codes) else 0))
        member[np.arange(len(codes)), codes] = 1.0
        result: Array = values[..., chosen] @ member
        return result

    def weights(self, groups: int, *, resamples: int, seed: int) -> Array:
        """Weights of a bootstrap over `groups` groups; the same for every comparison here."""
        place = [seed, zlib.crc32(self.domain.encode())]
        return self.keep(
            ("weights", groups, resamples, seed),
            lambda: resample_weights(groups, resamples=resamples, seed=place),
        )


def panels(rows: pd.DataFrame) -> list[Panel]:
    """One panel per domain of `rows` (the columns of `rdbench.store.schema.Row`), in their order.

    Rows of whole points (clip "") and costs are left out. Of rows that name the same thing twice,
    the last one counts. Raises StoreError where columns are missing.
    """
    absent = [column for column in COLUMNS if column not in rows.columns]
    if absent:
        raise StoreError(
            f"the measurements lack the columns {', '.join(absent)}; were they made by rdbench?"
        )
    kept = rows[(rows["clip"] != "") & (rows["kind"] != Kind.COST.value)]
    return [
        _panel(str(domain), part)
        for domain, part in kept.groupby("domain", sort=False, observed=True)
    ]


def _panel(domain: str, rows: pd.DataFrame) -> Panel:
    import pandas as pd

    place_code, places = _codes(rows, ["system", "curve", "point", "variant"])
    clip_code, clip_index = pd.factorize(rows["clip"])
    clips = tuple(map(str, clip_index))
    shape = (len(places), len(clips))
    what_code, whats = _codes(rows, ["kind", "key", "backend"])
    status = rows["status"].map({name: code for code, name in enumerate(STATUSES)})
    flat = _Flat(
        place_code,
        np.asarray(clip_code),
        rows["value"].to_numpy(float),
        np.asarray(status.fillna(STATUSES.index("failed")), dtype=np.int8),
        rows["unit"],
        rows["reason"],
    )
    seconds = np.full(shape, np.nan)
    # Rows of what failed before anything was read say 0.
    np.fmax.at(seconds, (place_code, clip_code), rows["seconds"].to_numpy(float))
    metrics: dict[tuple[str, str], Quantity] = {}
    rates: dict[tuple[str, str], Quantity] = {}
    order = np.argsort(what_code, kind="stable")
    bounds = np.searchsorted(what_code[order], np.arange(len(whats) + 1))
    for code, (kind, key, backend) in enumerate(whats):
        chosen = order[bounds[code] : bounds[code + 1]]
        found = metrics if kind == Kind.METRIC.value else rates
        found[key, backend] = flat.quantity(chosen, shape)
    _lend_backends(metrics)
    _lend_backends(rates)
    return Panel(
        domain,
        tuple(Place(*place) for place in places),
        clips,
        _groups(rows, np.asarray(clip_code), clips),
        seconds,
        metrics,
        rates,
    )


@dataclass(frozen=True)
class _Flat:
    """Columns of all rows, by position."""

    place: npt.NDArray[np.intp]
    clip: npt.NDArray[np.intp]
    value: Array
    status: npt.NDArray[np.int8]
    unit: pd.Series[str]
    reason: pd.Series[str]

    def quantity(self, chosen: npt.NDArray[np.intp], shape: tuple[int, int]) -> Quantity:
        values = np.full(shape, np.nan)
        status = np.zeros(shape, dtype=np.int8)
        place, clip = self.place[chosen], self.clip[chosen]
        state = self.status[chosen]
        # A value that is no number is none, whatever its status says.
        broken = (state == 1) & ~np.isfinite(self.value[chosen])
        state = np.where(broken, np.int8(3), state)
        values[place, clip] = np.where(state == 1, self.value[chosen], np.nan)
        status[place, clip] = state
        wrong = chosen[state != 1]
        reasons = {
            (int(self.place[i]), int(self.clip[i])): str(self.reason.iloc[i])
            for i in wrong.tolist()
        }
        return Quantity(values, status, str(self.unit.iloc[chosen[0]]), reasons)


def _codes(
    rows: pd.DataFrame, columns: Sequence[str]
) -> tuple[npt.NDArray[np.intp], list[tuple[str, ...]]]:
    """A number for each distinct combination, in order of appearance, and the combinations."""
    import pandas as pd

    total: npt.NDArray[np.intp] = np.zeros(len(rows), dtype=np.intp)
    for column in columns:
        codes, names = pd.factorize(rows[column])
        total = total * len(names) + codes
    codes, _ = pd.factorize(total)
    number = np.asarray(codes, dtype=np.intp)
    first = np.unique(number, return_index=True)[1]
    named = [rows[column].iloc[first].astype(str).tolist() for column in columns]
    return number, list(zip(*named, strict=True))


def _groups(
    rows: pd.DataFrame, clip_code: npt.NDArray[np.intp], clips: Sequence[str]
) -> npt.NDArray[np.intp]:
    """The group of each clip; a clip without one is a group of its own."""
    import pandas as pd

    first = np.unique(clip_code, return_index=True)[1]
    named = rows["group"].iloc[first].astype(str).tolist()
    keys = [("group", g) if g else ("clip", c) for g, c in zip(named, clips, strict=True)]
    index = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    codes = np.array([index[key] for key in keys], dtype=np.intp)
    return np.asarray(pd.factorize(codes)[0], dtype=np.intp)


def _lend_backends(quantities: dict[tuple[str, str], Quantity]) -> None:
    """Counts failures that name no backend with the one that scored the other clips."""
    for key in [key for key, backend in quantities if backend == ""]:
        named = [b for k, b in quantities if k == key and b]
        blank = quantities[key, ""]
        if not named or (blank.status == 1).any():
            continue
        for backend in named:
            scored = quantities[key, backend]
            empty = (scored.status == 0) & (blank.status != 0)
            quantities[key, backend] = Quantity(
                scored.values,
                np.where(empty, blank.status, scored.status),
                scored.unit,
                {**blank.reasons, **scored.reasons},
            )
        del quantities[key, ""]
