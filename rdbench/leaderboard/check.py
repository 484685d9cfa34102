"""What is wrong with a submission, told as a leaderboard's CI tells it: a sentence each.

Nothing of a submission is trusted: its folder holds what a submission holds, its rows are what was
written and all that was planned, its protocol is the one whose fingerprint it states, its scores
lie where the metric has them, its clips have one duration each, and its nominal rates are at least
what its frames and codebooks make. What numbers alone cannot tell, a reproduction tells
(`rdbench.leaderboard.reproduce`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from rdbench.analysis.arrays import RESIDUAL_DELAY
from rdbench.analysis.extent import check_extent
from rdbench.analysis.runs import contents
from rdbench.leaderboard.form import unfilled
from rdbench.leaderboard.nominal import uncounted, wrong_rates
from rdbench.leaderboard.record import SECONDS
from rdbench.leaderboard.submission import NAMES, Submission, read_submission
from rdbench.store.reader import read_rows
from rdbench.store.schema import Kind
from rdbench.store.validate import validate_run
from rdbench.store.variants import variants_of
from rdbench.types import RateKind, SpecError, Status, StoreError

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.metrics.base import MetricDefinition

SHOWN = 3
SLACK = 1e-3  # of a bound: programs round
MOST_BITS_PER_SECOND, LARGEST_SCORE = 1e9, 1e12
"""No audio has more; sums of larger numbers overflow, and a site of all would fail with one."""
HEX_DIGITS = 64


@dataclass(frozen=True)
class Checked:
    """What a check found. submission: None where it cannot be read. notes: no problems."""

    submission: Submission | None
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_submission(folder: Path) -> Checked:
    """Checks the submission in `folder`; nothing that lies there raises anything."""
    try:
        found = read_submission(folder)
        validated = validate_run(folder)
        if validated.problems:
            return Checked(found, validated.problems)
        rows = read_rows(folder)
        check_extent(rows, found.name)
        variants_of(found.manifest)
    except (StoreError, SpecError) as error:
        return Checked(None, (str(error),))
    manifest = found.manifest
    problems = [
        *_other_files(folder),
        *unfilled(found.form, manifest),
        *_protocol(manifest),
        *_clips(manifest),
        *_unknown_systems(rows, manifest),
    ]
    if not problems:
        problems = [
            *_unasked(rows, manifest),
            *_lengths(rows),
            *_scores(rows, manifest),
            *_rates(rows),
            *wrong_rates(rows, manifest),
        ]
    notes = [*validated.notes, *_paths(manifest.get("spec"))]
    if names := uncounted(rows, manifest):
        notes.append(
            f"nominal rates of {_listed(names)} cannot be counted again: the manifest states "
            "neither codebooks nor a target rate"
        )
    return Checked(found, tuple(problems), tuple(notes))


def _other_files(folder: Path) -> Iterator[str]:
    names = sorted({path.name for path in folder.iterdir()} - NAMES)
    if names:
        yield f"{folder} holds {_listed(names)}, which no submission has; take that away"


def _protocol(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Whether the fingerprint is that of the protocol beside it, and the spec is one."""
    from rdbench.spec.model import BenchmarkSpec, ProtocolSpec

    stated = dict(manifest.get("protocol") or {})
    told, resampler = stated.pop("fingerprint", None), stated.pop("resampler", None)
    try:
        made = ProtocolSpec.model_validate(stated).fingerprint(str(resampler))
        spec = BenchmarkSpec.model_validate(manifest.get("spec"))
    except ValidationError:
        yield "the protocol or the spec in manifest.json is none; submit what `rdbench run` wrote"
        return
    if made != told or spec.protocol.fingerprint(str(resampler)) != told:
        yield (
            "the protocol in manifest.json is not the one whose fingerprint stands beside it; "
            "submit what `rdbench run` wrote"
        )


def _clips(manifest: Mapping[str, Any]) -> Iterator[str]:
    known = contents(manifest)
    if not known:
        yield "manifest.json names no clips; submit what `rdbench run` wrote"
    blank = [name for (_, name), content in known.items() if len(content) != HEX_DIGITS]
    if blank:
        yield f"{len(blank)} clips have no hash ({_listed(blank)}); run with clips that can be read"


def _unknown_systems(rows: pd.DataFrame, manifest: Mapping[str, Any]) -> Iterator[str]:
    known = manifest.get("systems") or {}
    strange = [name for name in rows["system"].unique() if name not in known]
    if strange:
        yield f"manifest.json does not know the systems {_listed(strange)}; submit both as run"
    metrics = rows.loc[rows["kind"] == Kind.METRIC.value, "key"].unique()
    cards = manifest.get("metrics") or {}
    unknown = [
        key
        for key in metrics
        if key != RESIDUAL_DELAY and cards.get(key, {}).get("direction") not in ("higher", "lower")
    ]
    if unknown:
        yield (
            f"manifest.json does not say of the metrics {_listed(unknown)} which way is better; "
            "submit both as run"
        )


def _unasked(rows: pd.DataFrame, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Metrics that the spec does not ask for, and no reproduction would measure."""
    from rdbench.spec.model import DEFAULT, BenchmarkSpec

    asked = BenchmarkSpec.model_validate(manifest.get("spec")).metrics
    scores = rows.loc[rows["kind"] == Kind.METRIC.value, ["domain", "key"]].drop_duplicates()
    strange: dict[str, None] = {}
    for domain, key in scores.itertuples(index=False):
        known = {one.key for name in (domain, DEFAULT) for one in asked.get(name, ())}
        if key not in known and key != RESIDUAL_DELAY:
            strange[str(key)] = None
    if strange:
        yield (
            f"the spec in manifest.json does not ask for the metrics {_listed(strange)}, of which "
            "there are scores; submit both as run"
        )


def _lengths(rows: pd.DataFrame) -> Iterator[str]:
    """Clips that are said to be longer in some rows than in others."""
    measured = rows["kind"].isin([Kind.METRIC.value, Kind.RATE.value])
    measured &= (rows["status"] != Status.FAILED.value) & (rows["clip"] != "")
    clips = rows[measured].groupby(["domain", "clip"], sort=False)["seconds"]
    apart = clips.max() - clips.min()
    names = [clip for _, clip in apart.index[(apart > SECONDS).to_numpy()]]
    if names:
        yield (
            f"{len(names)} clips have several durations ({_listed(names)}); submit the seconds as "
            "they were measured"
        )


def _scores(rows: pd.DataFrame, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Scores that no clip can have, and metrics that are said to mean something else."""
    ok = rows[(rows["kind"] == Kind.METRIC.value) & (rows["status"] == Status.OK.value)]
    for key, part in ok.groupby("key", sort=False):
        card = (manifest.get("metrics") or {}).get(str(key)) or {}
        known = _definition(str(key), card.get("version"))
        if known is not None and known.direction.value != card.get("direction"):
            yield (
                f"manifest.json says of {key} that {card.get('direction')} is better, and in this "
                f"version {known.direction.value} is; submit both as run"
            )
        of = (known.lower, known.upper) if known else (card.get("lower"), card.get("upper"))
        low = max(_bound(of[0], -math.inf), -LARGEST_SCORE)
        high = min(_bound(of[1], math.inf), LARGEST_SCORE)
        slack = SLACK * (high - low if high - low < LARGEST_SCORE else 1.0)
        out = part[(part["value"] < low - slack) | (part["value"] > high + slack)]
        if len(out):
            first = out.iloc[0]
            yield (
                f"{len(out)} scores of {key} lie outside of {low:g} to {high:g} (first "
                f"{first['value']:g}, {first['system']} {first['point']} at {first['clip']}); "
                "submit scores as they were measured"
            )


def _definition(key: str, version: Any) -> MetricDefinition | None:
    """What this rdbench knows of a metric in this version; its bounds count, and not those said."""
    from rdbench.metrics.registry import definition, keys

    try:
        found = definition(key) if key in keys() else None
    except SpecError:
        return None
    return found if found is not None and found.version == version else None


def _rates(rows: pd.DataFrame) -> Iterator[str]:
    ok = rows[(rows["kind"] == Kind.RATE.value) & (rows["status"] == Status.OK.value)]
    if (ok["value"] < 0).any():
        yield "some rates are negative; submit rates as they were measured"
    if (ok["value"] > MOST_BITS_PER_SECOND * ok["seconds"].clip(lower=1.0)).any():
        yield (
            f"some rates are over {MOST_BITS_PER_SECOND:g} bits per second, which no audio needs; "
            "submit rates as they were measured"
        )
    kinds = {kind.value for kind in RateKind}
    if strange := sorted(set(ok["key"]) - kinds):
        yield f"there is no kind of rate {_listed(strange)}; submit rates as they were measured"


def _paths(value: Any) -> Iterator[str]:
    """A note on paths of one machine that a spec names, since everybody will read them."""
    found = sorted(set(_texts(value)))
    if found:
        yield f"the spec in manifest.json names paths of your machine: {_listed(found)}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and len(PurePosixPath(value).parts) > 2 and value.startswith("/"):
        yield value
    for item in value.values() if isinstance(value, dict) else ():
        yield from _texts(item)
    for item in value if isinstance(value, list) else ():
        yield from _texts(item)


def _bound(value: Any, otherwise: float) -> float:
    """A bound of a metric's card, where infinite ones are text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return otherwise
    return otherwise if math.isnan(number) else number


def _listed(names: Any) -> str:
    shown = ", ".join(str(name) for name in list(names)[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
