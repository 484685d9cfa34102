"""Values of sets of clips in a merged run, whose sets have grown.

A value is computed anew from the features that the runs keep, by the code that a run computes it
with. Where it cannot be (tokens are not kept, a metric is not on this machine, or of another
version) a failed row says so, and the next run makes the value.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
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
from rdbench.store.parts import MEASUREMENTS, columns_of, read_all
from rdbench.store.schema import BESIDE, Kind, Quantity, Row
from rdbench.store.status import Unit, statuses
from rdbench.types import RdbenchError, Score, Status

if TYPE_CHECKING:
    from rdbench.engine.plan.systems import StepId
    from rdbench.store.writer import RunWriter

AGAIN = "run the spec in this folder to have it measured"


def write_sets(writer: RunWriter, manifest: dict[str, Any], grown: frozenset[str]) -> list[str]:
    """Writes the values of sets that the plan of `manifest` asks for and the folder has not.

    grown: the domains of which that may be. Adds to the manifest's `provenance`. Returns sentences
    on what became of the values. Raises StoreError.
    """
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
                asked["sets", _feature(manifest["metrics"], key)] = list(sets.of_metric(key))
            elif quantity.kind is Kind.LATENT:
                asked.setdefault(("latents", sums_of(copy_in(model))), []).append(quantity)
            else:
                asked.setdefault(("", None), []).append(quantity)
        for (owner, feature), quantities in asked.items():
            yield SetWork(0, owner, step, domain, clips[domain], tuple(quantities)), feature


def _feature(metrics: Mapping[str, Any], key: str) -> Quantity:
    """What a metric is made of, as its card says."""
    return Quantity(Kind.FEATURE, *metrics.get(key, {}).get("feature", [key]))


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
            "a value of all clips, of which there are more since runs were merged, and what it is "
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
