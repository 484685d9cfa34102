"""The value of a set of clips, and what it would be if other groups had been drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.metrics.base import MetricDefinition, SetBackend
from rdbench.resampling import group_names
from rdbench.types import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Features = npt.NDArray[np.float32]

_ROWS = 256  # weightings at once, lest those of thousands of groups take gigabytes


@dataclass(frozen=True)
class SetScore:
    """The score of a set, and what its interval is made of.

    groups: those that were summarized, in the order of their names. bootstrap: float64
    (resamples,), the value under each row of the weights that were given. jackknife: float64
    (groups,), the value without each group. NaN where there is no value.
    """

    score: Score
    groups: tuple[str, ...]
    bootstrap: Array
    jackknife: Array


def score_set(
    definition: MetricDefinition,
    backend: SetBackend,
    *,
    reference: Mapping[str, Features],
    reconstruction: Mapping[str, Features],
    groups: Mapping[str, str],
    weights: Array,
) -> SetScore:
    """The score of the clips that have both features, all of one domain.

    reference, reconstruction: what `SetBackend.feature` made, by clip. groups: the group of every
    clip of the domain ("" for none), whose names in order are the columns of `weights`, float64
    (resamples, groups): how often each group is drawn (`rdbench.resampling.resample_weights`).
    A group none of whose clips has features has no part in any value.
    """
    import numpy as np

    names = group_names(groups)
    members: dict[str, list[str]] = {name: [] for name in names}
    for clip, group in groups.items():
        if clip in reference and clip in reconstruction and len(reference[clip]):
            members[group or clip].append(clip)
    used = [index for index, name in enumerate(names) if members[name]]
    clips = sum(map(len, members.values()))
    if clips < max(definition.minimum_clips, 1):
        reason = (
            f"{clips} clips have features, and {definition.key} needs {definition.minimum_clips}"
        )
        nothing = np.full(len(weights), np.nan)
        return SetScore(Score.undefined(reason), names, nothing, np.full(len(names), np.nan))
    sides = (
        [backend.summary([side[clip] for clip in members[names[index]]]) for index in used]
        for side in (reference, reconstruction)
    )
    values = backend.distance(reference=next(sides), reconstruction=next(sides))
    point = float(values(np.ones((1, len(used))))[0])
    whole = np.full(len(names), point)
    for start in range(0, len(used), _ROWS):
        part = used[start : start + _ROWS]
        without = np.ones((len(part), len(used)))
        without[np.arange(len(part)), start + np.arange(len(part))] = 0
        whole[part] = values(without)
    resampled = [values(weights[i : i + _ROWS, used]) for i in range(0, len(weights), _ROWS)]
    score = (
        Score(point)
        if math.isfinite(point)
        else Score.undefined(f"{definition.key}: {clips} clips hold too little to compare")
    )
    return SetScore(score, names, np.concatenate(resampled), whole)
