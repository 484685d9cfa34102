"""What a run keeps of latents: sums, added up over clips, and clips frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from rdbench.latent.frames import LatentFrames
from rdbench.latent.statistics import LatentSums
from rdbench.resampling import group_names
from rdbench.store.schema import Kind, Quantity
from rdbench.types import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.store.features import Feature

SUMS = Quantity(Kind.FEATURE, "latent_sums")
FRAMES = Quantity(Kind.FEATURE, "latent_frames")


def sums_of(copy: str) -> Quantity:
    """The sums of a degraded copy of a clip; copy: "" for the clip itself."""
    return replace(SUMS, model=copy)


_LABELS = ("system", "curve", "point", "variant", "domain", "backend")


class _Place(NamedTuple):
    system: str
    curve: str
    point: str
    variant: str
    domain: str
    copy: str


@dataclass(frozen=True)
class StoredSums:
    """Sums over clips of one domain at one point; labels as in rows. variant: the one that stands
    for what was encoded. copy: of which degraded copy of the clips, "" for themselves.
    """

    system: str
    curve: str
    point: str
    variant: str
    domain: str
    copy: str
    clips: tuple[str, ...]
    sums: LatentSums


def read_sums(run: Path) -> Iterator[StoredSums]:
    """What a run has of the clips themselves, one point and domain after the other.

    Raises StoreError for a folder that is damaged, and for arrays that are no sums.
    """
    for place, found in _features(run, copies=False):
        clips = tuple(one.clip for one in found)
        (total,) = _added(run, place, found, dict.fromkeys(clips, "")).values()
        yield StoredSums(*place, clips, total)


def read_group_sums(
    run: Path, groups: Mapping[str, str]
) -> Iterator[tuple[StoredSums, tuple[LatentSums, ...]]]:
    """As `read_sums`, of copies too, and beside each the sums of every group of its clips.

    Groups stand in the order of their names.

    groups: by clip, "" for a clip that is a group of its own.
    """
    for place, found in _features(run, copies=True):
        group_of = {one.clip: groups.get(one.clip, "") or one.clip for one in found}
        parts = _added(run, place, found, group_of)
        ordered = tuple(parts[name] for name in group_names(group_of))
        total = sum(ordered[1:], start=ordered[0])
        yield StoredSums(*place, tuple(group_of), total), ordered


@dataclass(frozen=True)
class StoredFrames:
    """A clip frame by frame at one point; labels as in rows."""

    system: str
    point: str
    domain: str
    clip: str
    frames: LatentFrames


def read_frames(run: Path, *, clips: int) -> list[StoredFrames]:
    """What a run has of the first `clips` clips of each domain, in the order of their names.

    Raises StoreError for a folder that is damaged, and for arrays that are no frames.
    """
    from rdbench.store.attachments import told
    from rdbench.store.features import read_features

    columns = ("unit_key", "key", "domain", "clip")
    rows = [row for row in told(run, Kind.FEATURE, columns).to_pylist() if row["key"] == FRAMES.key]
    names: dict[str, set[str]] = {}
    for row in rows:
        names.setdefault(row["domain"], set()).add(row["clip"])
    first = {domain: sorted(found)[:clips] for domain, found in names.items()}
    keys = {row["unit_key"] for row in rows if row["clip"] in first[row["domain"]]}
    try:
        return [
            StoredFrames(
                one.system, one.point, one.domain, one.clip, LatentFrames.unpack(one.array)
            )
            for one in read_features(run, FRAMES, keys)
        ]
    except ValueError as error:
        raise StoreError(f"{run}: {error}") from error


def _features(run: Path, *, copies: bool) -> Iterator[tuple[_Place, list[Feature]]]:
    from rdbench.store.attachments import told
    from rdbench.store.features import read_features

    keys: dict[_Place, set[str]] = {}
    for row in told(run, Kind.FEATURE, ("unit_key", "key", *_LABELS)).to_pylist():
        if row["key"] == SUMS.key and (copies or not row["backend"]):
            place = _Place(*(row[name] for name in _LABELS))
            keys.setdefault(place, set()).add(row["unit_key"])
    for place, units in sorted(keys.items()):
        found = read_features(run, sums_of(place.copy), units)
        if found:
            yield place, found


def _added(
    run: Path, place: _Place, found: Sequence[Feature], groups: Mapping[str, str]
) -> dict[str, LatentSums]:
    """By group, the sums of its clips."""
    totals: dict[str, LatentSums] = {}
    try:
        for one in found:
            sums, group = LatentSums.unpack(one.array), groups[one.clip]
            totals[group] = totals[group] + sums if group in totals else sums
    except ValueError as error:
        raise StoreError(f"{run}: {place.system} at {place.point}: {error}") from error
    return totals
