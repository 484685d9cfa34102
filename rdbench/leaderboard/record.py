"""The record of a reproduction: what was decoded again, and whether it came out as submitted.

It names the digest of what it reproduced, so that it says nothing of a submission whose manifest or
rows were edited since. A system is *reproduced* where every one of its rates and scores of the
clips that were decoded again is the submitted one; all else is *self-reported*. What a reproduction
leaves out is not compared: entropy-coded bits, values of sets of clips, further seeds, and latents
that came from outside of the codec. Two values x and y are one where their durations are within
`SECONDS`, and

    |x − y| ≤ tolerance + SPREAD · σ + ROUNDING · max(|x|, 1)

with the tolerance that the metric states between its backends, and σ the standard deviation of the
submitted values over the clips of that point. Codecs and metrics that compute with floats differ
between processors: Opus, decoded on another one, moved scores by up to 0.8 % of σ. One hundredth of
it on every clip moves a mean over 40 clips by a thirtieth of the half-width of its interval.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.leaderboard.submission import RECORD, Submission, read_record_json
from rdbench.store.atomic import write_atomic
from rdbench.store.manifest import as_json
from rdbench.store.schema import Kind
from rdbench.types import RateKind, Status

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

REPRODUCED, SELF_REPORTED = "reproduced", "self-reported"
ROUNDING = 1e-5
"""Relative: sums of thousands of numbers in single precision differ by so much between machines."""
SPREAD = 0.01
SECONDS = 1e-3
"""By which durations of one clip may differ: codecs count samples at rates of their own."""
QUANTITY = ["system", "point", "variant", "domain", "kind", "key", "model"]
CELL = ["system", "point", "variant", "domain", "clip", "kind", "key", "model"]


@dataclass(frozen=True)
class SystemRecord:
    """One system: how many values were compared, how many were the same, and the largest change.

    largest: by metric or kind of rate, the largest difference. reason: why nothing was compared, or
    what was not measured again.
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
    submitted: pd.DataFrame,
    again: pd.DataFrame,
    manifest: Mapping[str, Any],
    *,
    left_out: Collection[str] = (),
) -> dict[str, SystemRecord]:
    """Row by row, by system of `submitted`; `again` has the rows of some of the clips.

    manifest: of what was measured again, whose tolerances count. left_out: variants that were not
    to be measured again. Compared are all other rates and scores that were submitted of these
    clips, whatever computed them; one that is missing there, of a point that failed for example,
    or of a metric that nobody asked for, differs. Of a system of which nothing was measured again
    nothing is compared.
    """
    mine, theirs = _cells(submitted), _cells(again)
    mine = mine.assign(allowed=allowances(mine, manifest.get("metrics") or {}))
    mine = mine[mine["clip"].isin(set(again["clip"])) & ~mine["variant"].isin(set(left_out))]
    mine = mine[mine["system"].isin(set(theirs["system"]))]
    joined = mine.merge(theirs, on=CELL, suffixes=("", "_again"), how="left")
    old, new = joined["value"].to_numpy(float), joined["value_again"].to_numpy(float)
    apart = np.abs(old - new)
    near = apart <= joined["allowed"].to_numpy(float)
    lengths = (joined["seconds"] - joined["seconds_again"]).abs().to_numpy(float) <= SECONDS
    same_status = (joined["status"] == joined["status_again"]).to_numpy()
    same = same_status & lengths & (near | np.isnan(old))
    joined = joined.assign(same=same, apart=apart)
    found = {}
    for name in submitted["system"].unique():
        part = joined[joined["system"] == name]
        largest = part.groupby("key", sort=False)["apart"].max()
        known = {str(key): float(value) for key, value in largest.dropna().items()}
        there = set(part.loc[part["status_again"].notna(), "key"])
        lacking = [str(key) for key in part["key"].unique() if key not in there]
        reason = f"not measured again: {', '.join(lacking)}" if lacking else ""
        if not len(part):
            reason = _why(again[again["system"] == name])
        found[str(name)] = SystemRecord(len(part), int(part["same"].sum()), known, reason)
    return found


def allowances(rows: pd.DataFrame, metrics: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """By how much another value may differ from that of each row and be the same; see the module.

    metrics: their cards, of which the tolerances count. NaN where a row has no value.
    """
    tolerances = {
        key: float(card.get("tolerance") or 0.0)
        for key, card in metrics.items()
        if isinstance(card.get("tolerance"), int | float)
    }
    known = rows if "model" in rows else rows.assign(model=rows["backend"])
    values = rows["value"].to_numpy(float)
    spread = known.groupby(QUANTITY, sort=False)["value"].transform("std").fillna(0.0)
    stated = np.array([tolerances.get(key, 0.0) for key in rows["key"]], dtype=float)
    allowed = stated + SPREAD * spread.to_numpy(float) + ROUNDING * np.maximum(np.abs(values), 1.0)
    return np.asarray(allowed, dtype=float)


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
    """The rows that are compared; model: what a rate is counted with, "" of a score."""
    score, rate = rows["kind"] == Kind.METRIC.value, rows["kind"] == Kind.RATE.value
    measured = (score | (rate & (rows["key"] != RateKind.ENTROPY.value))) & (rows["clip"] != "")
    chosen = rows[measured & (rows["status"] != Status.FAILED.value)]
    model = chosen["backend"].where(chosen["kind"] == Kind.RATE.value, "")
    return chosen.assign(model=model)[[*CELL, "value", "seconds", "status"]]


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
            f"differ ({worst or one.reason or 'in what has a value, or in duration'})"
        )
