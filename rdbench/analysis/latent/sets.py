"""Statistics of latents as values of sets of clips: what their intervals are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.sets import SetScore
from rdbench.latent.stored import read_group_sums
from rdbench.latent.summary import ALL, of_copy, statistics_of
from rdbench.store.schema import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.analysis.runs import Run
    from rdbench.latent.statistics import LatentSums


def with_latents(run: Run, folder: Path) -> Run:
    """The run in `folder`, its statistics of latents comparable: with their values without each
    group of clips. Raises StoreError for a folder that is damaged.
    """
    if not (run.rows["kind"] == Kind.LATENT.value).any():
        return run
    named = run.rows[run.rows["clip"] != ""].drop_duplicates("clip")
    groups = dict(zip(named["clip"].astype(str), named["group"].astype(str), strict=True))
    made = []
    for stored, parts in read_group_sums(folder, groups):
        left_out = _without_each(parts)
        point = (stored.system, stored.curve, stored.point, stored.variant)
        made += [
            SetScore(
                point, stored.domain, key, stored.clips, values, np.empty(0),
                Kind.LATENT.value, of_copy(ALL, stored.copy),
            )
            for key, values in left_out.items()
            if np.isfinite(values).all()
        ]  # fmt: skip
    return replace(run, sets=(*run.sets, *made))


def _without_each(parts: tuple[LatentSums, ...]) -> dict[str, np.ndarray]:
    """Every statistic without each group, (groups,), NaN where undefined; empty for one group."""
    found = []
    for number in range(len(parts) if len(parts) > 1 else 0):
        others = [part for index, part in enumerate(parts) if index != number]
        found.append(statistics_of(sum(others[1:], start=others[0])))
    keys = found[0] if found else statistics_of(parts[0])
    return {key: np.array([one[key].value for one in found]) for key in keys}
