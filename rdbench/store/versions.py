"""Readers of older schema versions: a step from each version to the next.

A part and a manifest carry the version they were written with. What is older than this rdbench is
brought up step by step while it is read, and the file stays as it is; what is newer is refused
(`too_new`). Whoever raises `SCHEMA_VERSION` adds a step to both tables below, and the tests ask for
a stored run of the version that is left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.store.schema import SCHEMA_VERSION, Kind
from rdbench.store.variants import BUILT_IN
from rdbench.types import KL_PRIOR, RateKind, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "MANIFESTS",
    "PARTS",
    "SCHEMA_VERSION",
    "too_new",
    "upgrade_manifest",
    "upgrade_table",
]


def _manifest_of_version_2(content: dict[str, Any]) -> dict[str, Any]:
    """Names quantities as lists, and describes variants; what is damaged stays as it is."""
    plan, systems, metrics = (content.get(name) for name in ("plan", "systems", "metrics"))
    changed = dict(content)
    names: list[Any] = []
    if isinstance(plan, list):
        names += [entry.get("variant") for entry in plan if isinstance(entry, Mapping)]
        changed["plan"] = [_entry(entry) for entry in plan]
    for system in systems.values() if isinstance(systems, Mapping) else ():
        if isinstance(system, Mapping) and isinstance(system.get("variants"), list):
            names += system["variants"]
    known = [name for name in names if isinstance(name, str) and name in BUILT_IN]
    changed["variants"] = {name: BUILT_IN[name].as_dict() for name in known}
    if isinstance(metrics, Mapping):
        added: dict[str, Any] = {"scope": "clip", "options": {}, "model_file": None}
        changed["metrics"] = {
            key: added | dict(card) if isinstance(card, Mapping) else card
            for key, card in metrics.items()
        }
    return changed


def _entry(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    lists = {name: entry[name] for name in ("each", "whole") if isinstance(entry.get(name), list)}
    return {**entry, **{name: [_quantity(one) for one in lists[name]] for name in lists}}


def _quantity(name: Any) -> Any:
    """kind/key or kind/key/model as [kind, key, model]; what is no text stays as it is."""
    if not isinstance(name, str):
        return name
    kind, key, model, *_ = (*name.split("/", 2), "", "")
    if (kind, key, model) == (Kind.RATE, RateKind.KL, ""):
        model = KL_PRIOR  # fitted priors have always been named
    return [kind, key, model]


def _manifest_of_version_3(content: dict[str, Any]) -> dict[str, Any]:
    """Says with what the rows that do not say it themselves were measured, the last of them."""
    found = content.get("versions")
    if not isinstance(found, Mapping):
        return content
    return content | {"provenance": {"": {"versions": dict(found)}}}


def _part_of_version_3(table: pa.Table) -> pa.Table:
    """Rows that do not say with what they were measured."""
    import pyarrow as pa

    return table.append_column("provenance", pa.repeat("", len(table)))


def _manifest_of_version_4(content: dict[str, Any]) -> dict[str, Any]:
    """Says under which quantity the features of a metric of sets lie: each had its own."""
    metrics = content.get("metrics")
    if not isinstance(metrics, Mapping):
        return content
    cards = {
        key: {**card, "feature": [key, ""]}
        if isinstance(card, Mapping) and card.get("scope") == "set"
        else card
        for key, card in metrics.items()
    }
    return content | {"metrics": cards}


PARTS: dict[int, Callable[[pa.Table], pa.Table]] = {
    1: lambda table: table,
    2: _part_of_version_3,
    3: lambda table: table,
}
"""By version: what makes a table of the next version from a table of this one."""

MANIFESTS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _manifest_of_version_2,
    2: _manifest_of_version_3,
    3: _manifest_of_version_4,
}
"""The same for manifests."""


def upgrade_table(table: pa.Table, version: int) -> pa.Table:
    """A part's table of `version` as one of this version; raises KeyError without a step."""
    for step in range(version, SCHEMA_VERSION):
        table = PARTS[step](table)
    return table


def upgrade_manifest(content: dict[str, Any], version: int) -> dict[str, Any]:
    """A manifest of `version` as one of this version; raises KeyError without a step."""
    for step in range(version, SCHEMA_VERSION):
        content = MANIFESTS[step](content)
    return content


def too_new(path: Path, version: int) -> StoreError:
    """The sentence for a file of a later schema."""
    return StoreError(
        f"{path} has schema version {version}, this rdbench reads up to {SCHEMA_VERSION}; "
        "update rdbench to read it"
    )
