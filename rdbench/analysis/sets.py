"""Values of sets of clips, as runs and baselines keep them: what their intervals are made of.

A metric of a set has one row for a system, point, variant and domain. Beside it are kept the clips
that the value is of, the values without each group of these clips, and its replicates under the
bootstrap of `rdbench.resampling`; groups stand in the order of their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.store.schema import Kind, Quantity
from rdbench.types import StoreError

if TYPE_CHECKING:
    import numpy.typing as npt

    from rdbench.store.features import Feature

    Array = npt.NDArray[np.float64]

Point = tuple[str, str, str, str]
POINT = ("system", "curve", "point", "variant")
SET = "set"
MAX_BYTES = 2**28
"""Most bytes of what the values of a metric are made of: a few thousand numbers each."""
JACKKNIFE, BOOTSTRAP = "jackknife", "bootstrap"


@dataclass(frozen=True)
class SetScore:
    """What one value is made of.

    point: system, curve, point and variant. clips: the names of those that the value is of.
    left_out: without each group, (groups,). drawn: replicates, (resamples,), or none. kind: of the
    row, a metric or a statistic of a latent; backend: that of its row, "" for any.
    """

    point: Point
    domain: str
    key: str
    clips: tuple[str, ...]
    left_out: Array
    drawn: Array
    kind: str = Kind.METRIC.value
    backend: str = ""

    def renamed(self, prefix: str) -> SetScore:
        """The same of a system and curve whose names have a prefix."""
        system, curve, *rest = self.point
        return replace(self, point=(prefix + system, prefix + curve, rest[0], rest[1]))


def read_sets(folder: Path, metrics: Mapping[str, Any]) -> tuple[SetScore, ...]:
    """What the values of sets in a run are made of; metrics: the manifest's cards.

    Raises StoreError for what cannot be read.
    """
    from rdbench.store.attachments import told

    kept = set(told(folder, Kind.FEATURE, ("unit_key", "key"))["key"].to_pylist())
    keys = [key for key, card in metrics.items() if is_set(card) and key in kept]
    return tuple(score for key in keys for score in _read(folder, key, metrics[key]))


def is_set(card: Any) -> bool:
    """Whether a metric's card is that of a metric of sets."""
    return isinstance(card, Mapping) and card.get("scope") == SET


def _read(folder: Path, key: str, card: Mapping[str, Any]) -> list[SetScore]:
    from rdbench.store.features import read_features

    clips: dict[tuple[Point, str], list[str]] = {}
    for name, point, domain in _clips(folder, card.get("feature")):
        clips.setdefault((point, domain), []).append(name)
    arrays = {
        model: {
            (_point(vars(one)), one.domain): _of_groups(one)
            for one in read_features(folder, Quantity(Kind.FEATURE, key, model), most=MAX_BYTES)
        }
        for model in (JACKKNIFE, BOOTSTRAP)
    }
    return [
        SetScore(
            point,
            domain,
            key,
            tuple(clips.get((point, domain), ())),
            left_out,
            arrays[BOOTSTRAP].get((point, domain), np.empty(0)),
        )
        for (point, domain), left_out in arrays[JACKKNIFE].items()
    ]


def _of_groups(feature: Feature) -> Array:
    """The numbers of a value without each group, or of its replicates."""
    array = np.asarray(feature.array, dtype=float)
    if array.ndim != 1:
        raise StoreError(
            f"the feature of unit {feature.unit_key} has {array.ndim} dimensions where a value has "
            "one; delete the folder features and run again"
        )
    return array


def _clips(folder: Path, feature: Any) -> list[tuple[str, Point, str]]:
    """The clips that have a feature, with whose and of which domain it is.

    feature: its key and backend, as the metric's card names them. Arrays are not read: they may be
    as large as the audio.
    """
    from rdbench.store.attachments import told

    columns = ("unit_key", "key", "backend", "domain", "clip", *POINT)
    rows = told(folder, Kind.FEATURE, columns).to_pylist()
    return [
        (row["clip"], _point(row), row["domain"])
        for row in rows
        if [row["key"], row["backend"]] == feature and row["clip"]
    ]


def _point(labels: Mapping[str, Any]) -> Point:
    system, curve, point, variant = (str(labels[name]) for name in POINT)
    return system, curve, point, variant
