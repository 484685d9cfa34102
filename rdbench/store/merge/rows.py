"""Which rows of several runs stand, which move aside, and which two cannot both be true.

A unit (one key) that several runs measured is one row: of the first run in which it did not fail.
Two values of one unit are a refusal, but for costs: the same machine is never twice as fast.

Rows of one place (one quantity of one clip, or set, at one point) under different keys were
measured otherwise. Where one of them failed it moves aside for the other; where both have one value
the first stands; where their values differ nobody can say which is meant, and that is a refusal.

The value of a set belongs to exactly its clips. Where the merged run has other clips of its domain
it moves aside, whatever it is: `Standing.grown` names those domains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.store.merge.sources import Source
from rdbench.store.parts import MEASUREMENTS, bounded, read_all
from rdbench.store.schema import LABELS, Kind
from rdbench.types import Status, StoreError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_READ = ("unit_key", *LABELS, "kind", "key", "backend", "status", "value", "seconds", "unit")
_PLACE = ["system", "point", "variant", "clip", "domain", "kind", "key", "model"]
_SAME = ("status", "value", "seconds", "unit", "backend")
_ONE_BACKEND = (Kind.METRIC, Kind.USAGE)
"""Kinds of rows that a place has one of, whatever computed it."""


@dataclass(frozen=True)
class Standing:
    """rows, aside: of each run, the table of those that stand, and of those that move aside.

    grown: the domains of which the merged run has more clips than one of the runs that it is of.
    costs_aside: how many costs of the same point and machine moved aside.
    """

    rows: list[pa.Table]
    aside: list[pa.Table]
    grown: frozenset[str]
    costs_aside: int


def standing_rows(sources: Sequence[Source], joined: Mapping[str, Any]) -> Standing:
    """What becomes of the rows of `sources` in the run whose manifest is `joined`.

    Raises StoreError for rows that contradict each other, for parts that cannot be read, and for
    more rows than a run may have.
    """
    import pandas as pd
    import pyarrow as pa

    tables = list(
        bounded((read_all(one.folder / MEASUREMENTS) for one in sources), sources[0].folder)
    )
    frame = _frame(tables)
    names = [source.name for source in sources]
    _check_labels(frame, names)
    _check_values(frame, names)
    # Of a unit, the first run's in which it has not failed; the rest says nothing else, but costs.
    frame = frame.sort_values(["failed", "run", "place"], kind="stable")
    twice = _other_timings(frame)
    frame = frame.drop_duplicates("unit_key")
    grown = _grown(sources, joined)
    aside = _of_grown_sets(frame, grown) | _of_other_costs(frame, sources)
    beside = frame[~aside]
    second = beside.duplicated(_PLACE)
    _check_places(beside, second, names)
    aside |= second.reindex(frame.index, fill_value=False)
    moved = (aside & (frame["kind"] == Kind.COST)).sum() + len(twice)

    moved_rows = pd.concat([frame[aside], twice])

    def taken(run: int, rows: pd.DataFrame) -> pa.Table:
        places = rows.loc[rows["run"] == run, "place"].sort_values()
        return tables[run].take(pa.array(places.to_numpy()))

    runs = range(len(sources))
    return Standing(
        [taken(run, frame[~aside]) for run in runs],
        [taken(run, moved_rows) for run in runs],
        frozenset(domain for of_run in grown for domain in of_run),
        int(moved),
    )


def _frame(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """What is compared of all rows, with the run and the place in its table that each is from."""
    import numpy as np
    import pandas as pd

    frames = []
    for run, table in enumerate(tables):
        one = table.select(list(_READ)).to_pandas()
        frames.append(one.assign(run=run, place=np.arange(len(one))))
    frame: pd.DataFrame = pd.concat(frames, ignore_index=True)
    frame["failed"] = frame["status"] == Status.FAILED
    one_backend = frame["kind"].isin([kind.value for kind in _ONE_BACKEND])
    return frame.assign(model=frame["backend"].where(~one_backend, ""))


def _check_labels(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """One unit under two names: a run of both would have told them apart by their order."""
    twice = frame[frame.duplicated("unit_key", keep=False)]
    first = twice.drop_duplicates("unit_key").set_index("unit_key")
    for label in LABELS:
        theirs = first[label].reindex(twice["unit_key"]).to_numpy()
        differs = (twice[label].to_numpy() != theirs).nonzero()[0]
        if len(differs):
            row, known = twice.iloc[differs[0]], first.loc[twice.iloc[differs[0]]["unit_key"]]
            raise StoreError(
                f"the {label} {known[label]!r} of {names[known['run']]} and {row[label]!r} of "
                f"{names[row['run']]} are the same thing under two names; call it alike in both "
                "specs and run one again, which renames its rows and measures nothing"
            )


def _check_values(frame: pd.DataFrame, names: Sequence[str]) -> None:
    done = frame[~frame["failed"] & (frame["kind"] != Kind.COST)]
    twice = done[done.duplicated("unit_key", keep=False)]
    first = twice.drop_duplicates("unit_key").set_index("unit_key").loc[twice["unit_key"]]
    differs = _other(twice, first)
    if len(differs):
        _refuse(first.iloc[differs[0]], twice.iloc[differs[0]], names, "the same inputs")


def _check_places(frame: pd.DataFrame, second: pd.Series[bool], names: Sequence[str]) -> None:
    """Of rows of one place the first is known to be one that has not failed, where one has not."""
    later = frame[second & ~frame["failed"] & (frame["kind"] != Kind.COST)]
    if later.empty:
        return
    firsts = frame[~second].set_index(_PLACE).loc[list(later[_PLACE].itertuples(index=False))]
    differs = _other(later, firsts)
    if len(differs):
        place = dict(zip(_PLACE, firsts.index[differs[0]], strict=True))
        first = {**firsts.iloc[differs[0]].to_dict(), **place}
        _refuse(first, later.iloc[differs[0]], names, "another version, options, weights or device")


def _other(rows: pd.DataFrame, than: pd.DataFrame) -> Any:
    """The places of rows that do not say what the row in the same place of `than` says."""
    import numpy as np

    differs = np.zeros(len(rows), dtype=bool)
    for column in _SAME:
        mine, its = rows[column].to_numpy(), than[column].to_numpy()
        unlike = mine != its
        if column in ("value", "seconds"):
            unlike &= ~(np.isnan(mine) & np.isnan(its))
        differs |= unlike
    return differs.nonzero()[0]


def _refuse(first: Any, other: Any, names: Sequence[str], why: str) -> None:
    where = " ".join(filter(None, (first["system"] or "the reference", first["point"])))
    variant = f" ({first['variant']})" if first["variant"] else ""
    subject = f"clip {first['clip']}" if first["clip"] else f"all clips of {first['domain']!r}"
    raise StoreError(
        f"{where}{variant}, {subject}: {first['kind']}/{first['key']} is {_said(first)} in "
        f"{names[first['run']]} and {_said(other)} in {names[other['run']]}, measured with {why}; "
        "leave it to one of the two runs, and take it out of the other's spec"
    )


def _said(row: Any) -> str:
    """A row's value as it is told, with all of its digits."""
    if row["status"] != Status.OK:
        return str(row["status"])
    by = f"by {row['backend']}" if row["backend"] else ""
    return " ".join(filter(None, (repr(float(row["value"])), row["unit"], by)))


def _grown(sources: Sequence[Source], joined: Mapping[str, Any]) -> list[frozenset[str]]:
    """By run, the domains of which the merged run has other clips."""
    whole: dict[str, set[str]] = {}
    for clip in joined["corpus"]["clips"]:
        whole.setdefault(str(clip.get("domain")), set()).add(str(clip.get("name")))
    found = []
    for source in sources:
        own = source.domains()
        found.append(frozenset(d for d, clips in own.items() if clips != whole[d]))
    return found


def _of_grown_sets(frame: pd.DataFrame, grown: Sequence[frozenset[str]]) -> pd.Series[bool]:
    of_set = (frame["clip"] == "") & (frame["domain"] != "")
    found = frame["run"] < 0
    for run, domains in enumerate(grown):
        found |= of_set & (frame["run"] == run) & frame["domain"].isin(domains)
    return found


def _other_timings(frame: pd.DataFrame) -> pd.DataFrame:
    """Costs of units that an earlier row of `frame` has, timed by another run to another value."""
    costs = frame[~frame["failed"] & (frame["kind"] == Kind.COST)]
    twice = costs[costs.duplicated("unit_key")]
    first = costs.drop_duplicates("unit_key").set_index("unit_key").loc[twice["unit_key"]]
    found: pd.DataFrame = twice.iloc[_other(twice, first)]
    return found


def _of_other_costs(frame: pd.DataFrame, sources: Sequence[Source]) -> pd.Series[bool]:
    """Costs that were taken otherwise (other repeats, threads) than those of the first run."""
    said = [source.manifest.get("costs") or {} for source in sources]
    first: Mapping[str, Any] = next(filter(None, said), {})
    others = [run for run, costs in enumerate(said) if costs and costs != first]
    return (frame["kind"] == Kind.COST) & frame["run"].isin(others)
