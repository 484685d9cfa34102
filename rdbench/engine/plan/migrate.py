"""Takes up runs whose keys were made by version 1: what they measured is renamed, not repeated.

Keys of version 1 held the names of systems, curves, clips and groups, and no version of rdbench's
own rates, delays and traces. Where the values that those first versions gave are still the same, a
row whose old key can be made from today's plan is the same unit. Costs, delays and metrics of a
newer definition are measured again. Up to version 3, every metric of sets kept features of its own,
whether or not another had made the same. This module can go once nobody has runs of those versions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from rdbench.engine.plan.digests import digest
from rdbench.store.schema import Kind, Quantity
from rdbench.types import KL_PRIOR, RateKind

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.metrics import Metric
    from rdbench.engine.plan.plan import Plan, Unit
    from rdbench.engine.plan.systems import Step
    from rdbench.spec.model import BenchmarkSpec
    from rdbench.store.reader import Index

_ADAPTER = re.compile(r"(^|, )adapter 1(, posterior 1)?$")
"""What version 1 did not have in a codec's version; what is of a later adapter is another unit."""
_ANCHORS = ("identity", "lowpass")


def version_of(folder: Path) -> int | None:
    """Which version wrote the manifest of a run, whose rows may also be of the next; None: none."""
    from rdbench.store.manifest import MANIFEST_NAME, stored_manifest

    if not (folder / MANIFEST_NAME).exists():
        return None
    return int(stored_manifest(folder)["schema_version"])


def renamed(plan: Plan, spec: BenchmarkSpec, device_class: str, index: Index) -> dict[str, str]:
    """New keys by old ones, of all units of `plan` that `index` has under an old key."""
    old = _OldKeys(spec, device_class)
    pairs: dict[str, str] = {}
    for units in plan.units():
        for unit in units:
            for key in old.of(unit, plan):
                pairs.setdefault(key, unit.key)
    held = set(index.table["unit_key"].to_pylist())
    return {key: new for key, new in pairs.items() if key in held}


def shared_features(
    plan: Plan, metrics: Mapping[str, Sequence[Metric]], folder: Path
) -> tuple[dict[str, str], dict[str, Quantity]]:
    """New keys by old ones of features that metrics of sets share, and what they are now, by new.

    metrics: of sets, by domain. Whatever the version of the manifest: features of metrics that no
    plan has named since lie there, or set aside, under their old keys still.
    """
    sharing = {
        metric.key
        for each in metrics.values()
        for metric in each
        if metric.feature != Quantity(Kind.FEATURE, metric.key)
    }
    held, alone = _features_of(folder) if sharing else (set(), set())
    if not sharing & alone:
        return {}, {}
    keys: dict[str, str] = {}
    quantities: dict[str, Quantity] = {}
    for step, clip in product((None, *plan.steps.values()), plan.clips):
        if step is not None and not step.system.takes(clip.domain):
            continue
        place = step.id if step else None
        for metric in metrics.get(clip.domain, ()):
            own, feature = Quantity(Kind.FEATURE, metric.key), metric.feature
            if own == feature or (old := plan.key(place, clip.name, own)) not in held:
                continue
            new = plan.key(place, clip.name, feature)
            if new not in held and new not in quantities:  # one of those made of the same
                keys[old], quantities[new] = new, feature
    return keys, quantities


def _features_of(folder: Path) -> tuple[set[str], set[str]]:
    """Units of a run that are features, those set aside too; and metrics that have their own."""
    import pyarrow.compute as pc

    from rdbench.store.parts import MEASUREMENTS, RETIRED, read_all

    units: set[str] = set()
    metrics: set[str] = set()
    for name in (MEASUREMENTS, RETIRED):
        if (folder / name).is_dir():
            table = read_all(folder / name, ("unit_key", "key", "backend"), kind=Kind.FEATURE)
            units.update(table["unit_key"].to_pylist())
            metrics.update(table["key"].filter(pc.equal(table["backend"], "")).unique().to_pylist())
    return units, metrics


class _OldKeys:
    """The keys of version 1."""

    def __init__(self, spec: BenchmarkSpec, device_class: str) -> None:
        from rdbench.audio.resample import RESAMPLER

        protocol = spec.protocol
        self._run = digest([protocol.fingerprint(RESAMPLER), device_class, protocol.dtype])
        self._seed = protocol.seed
        self._steps: dict[Any, str] = {}

    def of(self, unit: Unit, plan: Plan) -> Iterator[str]:
        """The keys that a unit may have had."""
        if unit.step is None:
            if unit.clip is not None and unit.quantity.kind is Kind.AUDIO:
                yield self._hash(f"{self._run}|{_clip(unit.clip)}|audio/flac")
            return
        step = self._step(unit.step)
        if unit.clip is not None:
            if unit.quantity.key == "residual_delay":
                return  # which was of whole samples
            what = self._what(unit.step, unit.quantity, plan)
            yield self._hash(f"{self._run}|{step}|{_clip(unit.clip)}|{what}")
        elif unit.of is not None and unit.quantity.kind is not Kind.COST:
            yield self._of_set(unit, unit.of.clips, step, plan)

    def _of_set(self, unit: Unit, clips: Sequence[PlannedClip], step: str, plan: Plan) -> str:
        assert unit.step is not None
        name = unit.quantity.model or unit.quantity.key
        what = f"bits/1/{name}{self._fit(unit.step, unit.quantity, plan)}"
        each = [self._hash(f"{self._run}|{step}|{_clip(clip)}|{what}") for clip in clips]
        return digest([name, *each])[:32]

    def _what(self, step: Step, quantity: Quantity, plan: Plan) -> str:
        kind, key = quantity.kind, quantity.key
        fitted = key == RateKind.KL and quantity.model != KL_PRIOR
        if kind is Kind.RATE and (key == RateKind.ENTROPY or fitted):
            return f"bits/1/{quantity.model}{self._fit(step, quantity, plan)}"
        if kind is Kind.METRIC:
            identity = plan.families.owner(quantity).depends(step, quantity)
            return digest(identity[:4])
        return f"{kind.value}/{key}"

    @staticmethod
    def _fit(step: Step, quantity: Quantity, plan: Plan) -> str:
        if quantity.kind is not Kind.RATE:
            return ""
        fitted = plan.families.owner(quantity).depends(step, quantity)[-1]
        return f"/{fitted}" if fitted else ""

    def _step(self, step: Step) -> str:
        if step.id not in self._steps:
            system, info, coder = step.system, step.system.info, step.coder
            version = _ADAPTER.sub("", info.version) if info else ""
            if system.recipe.name in _ANCHORS and not version:
                version = "1"
            codec = info and [version, info.weights_sha256, *system.source]
            named = [f"{coder.name} {coder.digest}"] if coder else []
            self._steps[step.id] = digest(
                [
                    system.name,
                    system.spec.curve,
                    system.recipe.name,
                    dict(system.spec.options),
                    codec,
                    step.point.name,
                    dict(step.point.settings),
                    step.decoded,
                    self._seed if step.variant.seeded else None,
                    *named,
                ]
            )
        return self._steps[step.id]

    @staticmethod
    def _hash(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _clip(planned: PlannedClip) -> str:
    clip = planned.clip
    return digest([planned.content, clip.name, clip.domain, clip.group])
