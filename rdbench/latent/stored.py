"""The sums of latents that a run keeps, added up over clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.latent.statistics import LatentSums
from rdbench.store.schema import Kind, Quantity
from rdbench.types import StoreError

if TYPE_CHECKING:
    from pathlib import Path

SUMS = Quantity(Kind.FEATURE, "latent_sums")


@dataclass(frozen=True)
class StoredSums:
    """Sums over clips of one domain at one point; labels as in rows."""

    system: str
    curve: str
    point: str
    domain: str
    clips: tuple[str, ...]
    sums: LatentSums


def read_sums(run: Path) -> Iterator[StoredSums]:
    """What a run has, one point and domain after the other.

    Raises StoreError for a folder that is damaged, and for arrays that are no sums.
    """
    from rdbench.store.attachments import told
    from rdbench.store.features import read_features

    columns = ("unit_key", "key", "system", "curve", "point", "domain")
    keys: dict[tuple[str, str, str, str], set[str]] = {}
    for row in told(run, Kind.FEATURE, columns).to_pylist():
        if row["key"] == SUMS.key:
            place = (row["system"], row["curve"], row["point"], row["domain"])
            keys.setdefault(place, set()).add(row["unit_key"])
    for (system, curve, point, domain), units in sorted(keys.items(), key=lambda item: item[0]):
        found = read_features(run, SUMS, units)
        if not found:
            continue
        try:
            parts = [LatentSums.unpack(one.array) for one in found]
            total = sum(parts[1:], start=parts[0])
        except ValueError as error:
            raise StoreError(f"{run}: {system} at {point}: {error}") from error
        yield StoredSums(system, curve, point, domain, tuple(one.clip for one in found), total)
