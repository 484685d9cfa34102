"""What a run is asked for, as the manifest keeps it: the rows that a finished folder holds.

The manifest lists the clips with their domains. The plan lists, for every step and domain, the
quantities of each clip, so that a reader can tell what is missing without rdbench's registries or
the spec. A quantity is `kind/key`, with `/backend` behind it where rows of one key differ by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdbench.engine.costs import UNITS, cost_clips, cost_steps
from rdbench.engine.plan import Metric, PlannedClip, Step, System, quantities
from rdbench.store.schema import Kind
from rdbench.types import KL_PRIOR, RateKind

if TYPE_CHECKING:
    from rdbench.engine.bits import BitsPass


def expected_rows(
    systems: Iterable[System],
    metrics: Mapping[str, Sequence[Metric]],
    clips: Sequence[PlannedClip],
    *,
    costs: int,
    bits: BitsPass | None,
) -> list[dict[str, Any]]:
    """The plan: one entry for each step and domain.

    metrics: by domain. costs: clips of the cost pass, 0 without one. bits: the pass that counts
    entropy-coded bits, None without. An entry holds system, point, variant, domain, `each` (the
    quantities of every clip of the domain) and `whole` (those of the step, with the clip "").
    """
    domains = list(dict.fromkeys(clip.clip.domain for clip in clips))
    entries = []
    for system in systems:
        for step in system.steps:
            for domain in filter(system.takes, domains):
                each = [_named(what) for what in quantities(step, metrics[domain])]
                entries.append(_entry(step, domain, each=each))
        if costs and system.codec is not None and cost_clips(system, clips, costs):
            for step in cost_steps(system):
                entries.append(_entry(step, "", whole=[f"{Kind.COST}/{key}" for key in UNITS]))
        if bits:
            for step, domain, each, whole in bits.expected([system], clips):
                entries.append(_entry(step, domain, each=each, whole=whole))
    return entries


def _named(what: str) -> str:
    if what == f"{Kind.RATE}/{RateKind.KL}":  # a fitted prior has rows of the same key
        return f"{what}/{KL_PRIOR}"
    return what if "/" in what else f"{Kind.METRIC}/{what}"


def _entry(
    step: Step, domain: str, *, each: Sequence[str] = (), whole: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "system": step.system.name,
        "point": step.point.name,
        "variant": step.variant.value,
        "domain": domain,
        "each": [_listed(what) for what in each],
        "whole": [_listed(what) for what in whole],
    }


def _listed(what: str) -> list[str]:
    kind, key, model, *_ = (*what.split("/", 2), "")
    return [kind, key, model]
