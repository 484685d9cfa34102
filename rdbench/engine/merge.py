"""Runs that were made apart, as one run: by clips, by systems, by points, by metrics.

Rows are joined by the store (`rdbench.store.merge`), and nothing is measured. The value of a set of
clips alone is of other clips then: it is computed anew from the features that the runs keep, by the
code that a run computes it with. Where it cannot be (tokens are not kept, a metric is not on this
machine, or of another version) a failed row says so, and the next run makes the value.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.engine.environment import provenance, torch_settings
from rdbench.engine.measure.work import Result, SetWork
from rdbench.engine.passes import latents, sets
from rdbench.engine.plan.clips import PlannedClip
from rdbench.engine.plan.digests import digest
from rdbench.engine.plan.keys import KEY_DIGITS
from rdbench.engine.plan.metrics import Metric
from rdbench.identity import is_code
from rdbench.latent.stored import sums_of
from rdbench.latent.summary import copy_in
from rdbench.store.features import read_features
from rdbench.store.merge.answers import take_answers
from rdbench.store.merge.manifests import joined_manifest
from rdbench.store.merge.place import appearing
from rdbench.store.merge.rows import standing_rows
from rdbench.store.merge.sources import Source, read_sources
from rdbench.store.parts import MEASUREMENTS, RETIRED, columns_of, read_all
from rdbench.store.schema import BESIDE, Kind, Quantity, Row
from rdbench.store.status import Unit, planned_rows, statuses
from rdbench.store.writer import RunWriter
from rdbench.types import RdbenchError, Score, Status

if TYPE_CHECKING:
    import pyarrow as pa

    from rdbench.engine.plan.systems import StepId

AGAIN = "run the spec in this folder to have it measured"


@dataclass(frozen=True)
class Merged:
    """How runs were merged.

    rows: that stand; aside: that moved to `retired`. missing: rows of the joined plan that no run
    has. failed: rows without a measurement. notes: sentences on what a reader should know.
    """

    folder: Path
    rows: int
    aside: int
    missing: int
    failed: int
    notes: tuple[str, ...]


def merge_runs(runs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Merged:
    """Joins the runs in some folders into a new one, which is there whole or not at all.

    Raises StoreError where the runs cannot be joined, or `out` is not empty.
    """
    out = Path(out)
    with appearing(out) as folder:
        # Its lock says from the first moment on that somebody works here.
        with RunWriter(folder) as writer:
            sources = read_sources([Path(run) for run in runs])
            manifest = joined_manifest(sources)
            planned = list(planned_rows(manifest))  # raises where a plan is none
            standing = standing_rows(sources, manifest)
            notes = _of_devices(sources)
            if standing.costs_aside:
                notes.append(
                    f"{standing.costs_aside} costs of a point and machine that another run timed "
                    "too moved to retired/: those of the run named first stand"
                )
            # Of what lies beside a unit, the first run's counts, which is written last.
            for source, rows, aside in reversed(
                list(zip(sources, standing.rows, standing.aside, strict=True))
            ):
                retired = _concatenated(read_all(source.folder / RETIRED), aside)
                writer.copy_from(source.folder, _named(rows, source), _named(retired, source))
            notes += take_answers(sources, folder)
            if standing.grown:
                notes += _write_sets(writer, manifest, standing.grown)
            writer.write_manifest(manifest)
        there = statuses(columns_of(read_all(folder / MEASUREMENTS)))
        missing = sum(unit not in there for unit in planned)
        table = read_all(folder / MEASUREMENTS, ("unit_key", "status"))
        failed = table["status"].to_pylist().count(str(Status.FAILED))
        moved = sum(map(len, standing.aside))
    return Merged(out, len(table), moved, missing, failed, tuple(notes))


def _of_devices(sources: Sequence[Source]) -> list[str]:
    def kind(source: Source) -> str:
        device = str((source.manifest.get("execution") or {}).get("device") or "")
        return device.partition(":")[0]

    kinds = {kind(source): source.name for source in sources}
    if len(kinds) < 2:
        return []
    said = ", ".join(f"{name} on {what or 'an unknown device'}" for what, name in kinds.items())
    return [
        f"the runs were measured on several kinds of devices ({said}), whose values differ in "
        "their last digits; a run in the merged folder measures again what is of the other kind"
    ]


def _concatenated(*tables: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables)


def _named(rows: pa.Table, source: Source) -> pa.Table:
    """The rows with the name under which the merged manifest says what they were measured with."""
    import pyarrow as pa

    names = {name: source.said(name) for name in set(rows["provenance"].to_pylist())}
    said = [names[name] for name in rows["provenance"].to_pylist()]
    place = rows.schema.get_field_index("provenance")
    return rows.set_column(place, "provenance", pa.array(said, pa.string()))


# -- values of sets


@dataclass(frozen=True)
class _Features:
    """The rows of features that the merged run has, by whose they are.

    found: by step (None: of references), domain and quantity, the clips by unit key; without those
    that can have none. known: the same clips and those.
    """

    found: dict[tuple[StepId | None, str, Quantity], dict[str, str]] = field(default_factory=dict)
    known: dict[tuple[StepId | None, str, Quantity], set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> _Features:
        names = (
            "unit_key", "system", "point", "variant", "domain", "clip", "key", "backend", "status",
        )  # fmt: skip
        features = cls()
        for row in read_all(folder / MEASUREMENTS, names, Kind.FEATURE).to_pylist():
            step = (row["system"], row["point"], row["variant"]) if row["system"] else None
            what = step, row["domain"], Quantity(Kind.FEATURE, row["key"], row["backend"])
            features.known.setdefault(what, set()).add(row["clip"])
            if row["status"] == Status.OK:
                features.found.setdefault(what, {})[row["unit_key"]] = row["clip"]
        return features


def _write_sets(writer: RunWriter, manifest: dict[str, Any], grown: frozenset[str]) -> list[str]:
    """Writes the values of sets that the plan asks for and no run has; what it says about them."""
    name, told = provenance("cpu")
    name = digest(["merge", name])[: len(name)]
    metrics = manifest["metrics"]
    features = _Features.of(writer.folder)
    fates: Counter[tuple[str, str]] = Counter()
    with torch_settings(int(manifest["protocol"].get("threads", 1))):
        for work, feature in _works(writer.folder, manifest, grown):
            full, keys = _with_arrays(writer.folder, work, feature, features)
            for result in _measured(full, metrics):
                quantity, score = result.quantity, result.score
                if quantity.kind in BESIDE and score.status is Status.FAILED:
                    continue
                if quantity.kind not in BESIDE:
                    fates[work.domain, score.reason if score.status is Status.FAILED else ""] += 1
                parts = [keys, work.step, work.domain, quantity.kind, quantity.key, quantity.model]
                row = _row(manifest, result, digest(["merge", *parts])[:KEY_DIGITS], name)
                if result.attachment is not None:
                    writer.feature(row, result.attachment)
                else:
                    writer.append([row])
        writer.flush()
    if fates:
        manifest["provenance"][name] = {"run": "merge", **told}
    return [
        f"{count} values of all clips of {domain!r} "
        + (f"are failed rows now: {reason}" if reason else "were computed anew from their features")
        for (domain, reason), count in fates.items()
    ]


def _works(
    folder: Path, manifest: Mapping[str, Any], grown: frozenset[str]
) -> Iterator[tuple[SetWork, Quantity | None]]:
    """What the plan asks of sets and the folder has no row of, each with its feature."""
    there = statuses(columns_of(read_all(folder / MEASUREMENTS)))
    clips = _planned_clips(manifest)
    for entry in manifest["plan"]:
        domain = entry["domain"]
        if domain not in grown:
            continue
        step = entry["system"], entry["point"], entry["variant"]
        asked: dict[tuple[str, Quantity | None], list[Quantity]] = {}
        for kind, key, model in entry["whole"]:
            quantity = Quantity(Kind(kind), key, model)
            if Unit(*step, domain, "", quantity) in there:
                continue
            if quantity.kind is Kind.METRIC:
                asked["sets", Quantity(Kind.FEATURE, key)] = list(sets.of_metric(key))
            elif quantity.kind is Kind.LATENT:
                asked.setdefault(("latents", sums_of(copy_in(model))), []).append(quantity)
            else:
                asked.setdefault(("", None), []).append(quantity)
        for (owner, feature), quantities in asked.items():
            yield SetWork(0, owner, step, domain, clips[domain], tuple(quantities)), feature


def _planned_clips(manifest: Mapping[str, Any]) -> dict[str, tuple[PlannedClip, ...]]:
    """The clips by domain, in the order of their names; where they lie nobody knows here."""
    from rdbench.audio.clip import Clip

    found: dict[str, list[PlannedClip]] = {}
    for one in sorted(manifest["corpus"]["clips"], key=lambda one: str(one["name"])):
        clip = Clip(one["name"], Path(one["name"]), one["domain"], one.get("group", ""))
        found.setdefault(clip.domain, []).append(PlannedClip(clip, one.get("content", ""), 0))
    return {domain: tuple(clips) for domain, clips in found.items()}


def _with_arrays(
    folder: Path, work: SetWork, feature: Quantity | None, features: _Features
) -> tuple[SetWork, list[str]]:
    """The work with what its values are made of, and the keys of that."""
    from dataclasses import replace

    if feature is None:
        return work, []
    arrays: dict[StepId | None, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    keys: list[str] = []
    for step in (None, work.step) if work.owner == "sets" else (work.step,):
        what = step, work.domain, feature
        own = features.found.get(what, {})
        # In the order of clips, as a run adds them up.
        found = read_features(folder, feature, own) if own else []
        arrays[step] = {own[one.unit_key]: one.array for one in found}
        known = features.known.get(what, set()) - (set(own.values()) - arrays[step].keys())
        lost = [clip.name for clip in work.clips if clip.name not in known]
        failures |= dict.fromkeys(lost, "no run has its feature")
        keys += sorted(own)
    references = arrays.get(None, {})
    work = replace(work, arrays=arrays[work.step], references=references, failures=failures)
    return work, keys


def _measured(work: SetWork, metrics: Mapping[str, Any]) -> list[Result]:
    """The results of a set; failed ones where its value cannot be computed here."""
    try:
        if work.owner == "latents":
            return list(latents.values_of_set(work))
        if work.owner == "sets":
            key = work.quantities[0].key
            return list(sets.values_of_set(_metric(key, json.dumps(metrics.get(key, {}))), work))
    except RdbenchError as error:
        return work.failed(Score.failed(f"{error}; {AGAIN}"))
    except Exception as error:  # a metric may be anyone's
        return work.failed(Score.failed(f"{type(error).__name__}: {error}; {AGAIN}"))
    return work.failed(
        Score.failed(
            "it is of all clips together, which are more since runs were merged, and what it is "
            f"made of is not kept; {AGAIN}"
        )
    )


@cache
def _metric(key: str, said: str) -> Metric:
    """The metric of a card (as JSON); raises RdbenchError where it is not the same here."""
    card = json.loads(said)
    if is_code(key):
        raise RdbenchError(f"{key} is Python code, which a merge does not run")
    metric = Metric(key, str(card.get("backend")), json.dumps(card.get("options") or {}))
    model = (card.get("model_file") or {}).get("sha256", "")
    backend = metric.backend
    here = [metric.definition.version, str(backend.version), backend.model_sha256]
    if here != [card.get("version"), str(card.get("backend_version")), model]:
        raise RdbenchError(f"{key} is of another version or model here than in the runs")
    return metric


def _row(manifest: Mapping[str, Any], result: Result, key: str, provenance: str) -> Row:
    assert result.step is not None
    system, point, variant = result.step
    unit, backend = _columns(manifest["metrics"], result.quantity)
    return Row(
        unit_key=key,
        system=system,
        curve=str(manifest["systems"][system]["curve"]),
        point=point,
        variant=variant,
        clip="",
        domain=result.domain,
        group="",
        seconds=0.0,
        kind=result.quantity.kind,
        key=result.quantity.key,
        value=result.score.value,
        unit=unit,
        backend=backend,
        status=result.score.status,
        reason=result.score.reason,
        provenance=provenance,
    )


def _columns(metrics: Mapping[str, Any], quantity: Quantity) -> tuple[str, str]:
    """The unit and the backend of a row, as the passes of a run say them."""
    from rdbench.engine.passes.entropy import EntropyPass

    if quantity.kind is Kind.METRIC:
        card = metrics.get(quantity.key, {})
        return str(card.get("unit")), str(card.get("backend"))
    if quantity.kind is Kind.FEATURE:
        return "", quantity.model
    owner = (
        latents.LatentsPass(enabled=True)
        if quantity.kind is Kind.LATENT
        else EntropyPass(enabled=True, tables=None)
    )
    said = owner.columns(quantity)
    return said.unit, said.backend
