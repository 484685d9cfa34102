"""The record of a reproduction: what was decoded again, and whether it came out as submitted.

It names the digest of what it reproduced, so that it says nothing of a submission whose manifest or
rows were edited since. A system is *reproduced* where every one of its rates and scores that were
measured again is the submitted one; all else is *self-reported*. Two values x and y are one where

    |x − y| ≤ tolerance + SPREAD · σ + ROUNDING · max(|x|, 1)

with the tolerance that the metric states between its backends, and σ the standard deviation of the
submitted values over the clips of that point. Codecs and metrics that compute with floats differ
between processors: Opus, decoded on another one, moved scores by up to 0.8 % of σ. One hundredth of
it on every clip moves a mean over 40 clips by a thirtieth of the half-width of its interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.leaderboard.submission import RECORD, Submission, read_record_json
from rdbench.store.atomic import write_atomic
from rdbench.store.manifest import as_json
from rdbench.store.schema import Kind
from rdbench.types import Status

if TYPE_CHECKING:
    import pandas as pd

REPRODUCED, SELF_REPORTED = "reproduced", "self-reported"
ROUNDING = 1e-5
"""Relative: sums of thousands of numbers in single precision differ by so much between machines."""
SPREAD = 0.01
QUANTITY = ["system", "point", "variant", "domain", "kind", "key", "backend"]
ASKED = ["system", "variant", "kind", "key", "backend"]
CELL = ["system", "point", "variant", "domain", "clip", "kind", "key", "backend"]


@dataclass(frozen=True)
class SystemRecord:
    """One system: how many values were compared, how many were the same, and the largest change.

    largest: by metric or kind of rate, the largest difference. reason: why nothing was compared.
    """

    compared: int
    same: int
    largest: Mapping[str, float]
    reason: str = ""

    @property
    def reproduced(self) -> bool:
        """Whether everything that was compared came out the same, and something was."""
        return 0 < self.compared == self.same


@dataclass(frozen=True)
class Record:
    """digest: of the submission. seed, share, clips: which clips. versions: what measured them."""

    digest: str
    seed: int
    share: float
    clips: tuple[str, ...]
    systems: Mapping[str, SystemRecord]
    versions: Mapping[str, Any]


def compared(
    submitted: pd.DataFrame, again: pd.DataFrame, manifest: Mapping[str, Any]
) -> dict[str, SystemRecord]:
    """Row by row, by system of `submitted`; `again` has the rows of some of the clips.

    manifest: of what was measured again, whose tolerances count. Compared are all rates and scores
    that were submitted of these clips, of the variants and quantities that were measured again; one
    that is missing there, at a point that failed for example, differs.
    """
    tolerances = {
        key: float(card.get("tolerance") or 0.0)
        for key, card in (manifest.get("metrics") or {}).items()
        if isinstance(card.get("tolerance"), int | float)
    }
    mine, theirs = _cells(submitted), _cells(again)
    spread = mine.groupby(QUANTITY, sort=False)["value"].transform("std").fillna(0.0)
    mine = mine.assign(spread=spread)[mine["clip"].isin(set(again["clip"]))]
    mine = mine.merge(theirs[ASKED].drop_duplicates(), on=ASKED)
    joined = mine.merge(theirs, on=CELL, suffixes=("", "_again"), how="left")
    old, new = joined["value"].to_numpy(float), joined["value_again"].to_numpy(float)
    allowed = np.array([tolerances.get(key, 0.0) for key in joined["key"]], dtype=float)
    allowed += SPREAD * joined["spread"].to_numpy(float)
    apart = np.abs(old - new)
    with np.errstate(invalid="ignore"):
        near = apart <= allowed + ROUNDING * np.maximum(np.abs(old), 1.0)
    same_status = (joined["status"] == joined["status_again"]).to_numpy()
    joined = joined.assign(same=same_status & (near | np.isnan(old)), apart=apart)
    found = {}
    for name in submitted["system"].unique():
        part = joined[joined["system"] == name]
        largest = part.groupby("key", sort=False)["apart"].max()
        known = {str(key): float(value) for key, value in largest.dropna().items()}
        reason = "" if len(part) else _why(again[again["system"] == name])
        found[str(name)] = SystemRecord(len(part), int(part["same"].sum()), known, reason)
    return found


def write_record(submission: Submission, record: Record) -> None:
    """Leaves the record beside the submission; raises StoreError."""
    content = {
        "digest": record.digest,
        "seed": record.seed,
        "share": record.share,
        "clips": list(record.clips),
        "systems": record.systems,
        "versions": dict(record.versions),
    }
    text = as_json(content) + "\n"
    write_atomic(submission.folder / RECORD, text.encode(), within=submission.folder)


def badges(submission: Submission) -> tuple[dict[str, str], str]:
    """The badge of each system, and a sentence where a record counts for nothing or differs."""
    systems = list(submission.manifest.get("systems") or {})
    plain = dict.fromkeys(systems, SELF_REPORTED)
    content = read_record_json(submission.folder)
    if content is None:
        return plain, ""
    if content.get("digest") != submission.digest:
        return plain, (
            f"the reproduction of {submission.name} is of what it was before an edit, and counts "
            "for nothing; reproduce it again"
        )
    told = content.get("systems")
    records = told if isinstance(told, dict) else {}
    good = {name for name in systems if _is_good(records.get(name))}
    differ = [name for name in systems if _differs(records.get(name))]
    said = ""
    if differ:
        said = f"reproducing {submission.name} gave other values for {', '.join(differ)}"
    return {name: REPRODUCED if name in good else SELF_REPORTED for name in systems}, said


def _is_good(told: Any) -> bool:
    counts = _counts(told)
    return 0 < counts[0] == counts[1]


def _differs(told: Any) -> bool:
    counts = _counts(told)
    return counts[0] != counts[1]


def _counts(told: Any) -> tuple[int, int]:
    values = told if isinstance(told, dict) else {}
    found = tuple(values.get(name) for name in ("compared", "same"))
    one, two = (value if isinstance(value, int) else 0 for value in found)
    return one, two


def _cells(rows: pd.DataFrame) -> pd.DataFrame:
    measured = rows["kind"].isin([Kind.METRIC.value, Kind.RATE.value]) & (rows["clip"] != "")
    return rows.loc[measured & (rows["status"] != Status.FAILED.value), [*CELL, "value", "status"]]


def _why(rows: pd.DataFrame) -> str:
    """Why a system was not measured again."""
    reasons = [str(text) for text in rows["reason"].unique() if text]
    return reasons[0][:200] if reasons else "nothing of it was measured again"


def differences_of(record: Record) -> Iterator[str]:
    """A sentence for each system that is not reproduced."""
    for name, one in record.systems.items():
        if one.reproduced:
            continue
        if not one.compared:
            yield f"{name} was not reproduced: {one.reason}"
            continue
        worst = ", ".join(
            f"{key} by up to {value:.3g}" for key, value in one.largest.items() if value > 0
        )
        yield (
            f"{name} came out otherwise: {one.compared - one.same} of {one.compared} values "
            f"differ ({worst or 'in what has a value'})"
        )
