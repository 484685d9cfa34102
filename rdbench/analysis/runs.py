"""Runs as comparisons read them: rows and manifest, and whether two of them may be compared.

Numbers of two runs stand side by side only where they were measured alike: one protocol, the same
content under the same clip name, one version of every shared metric.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.analysis.extent import check_extent
from rdbench.analysis.listeners.ratings import rating_cards, rating_rows, read_ratings
from rdbench.analysis.sets import SetScore, read_sets
from rdbench.store.reader import read_manifest, read_rows
from rdbench.store.status import planned_rows, statuses
from rdbench.store.variants import VariantCard, variants_of
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.store.status import Unit

GivenTo = tuple[str, str, str, str]
"""Who was given clips: system, point, variant, domain."""
_NAMES_A_ROW = (
    "system", "point", "variant", "domain", "clip", "kind", "key", "backend", "status",
)  # fmt: skip
SAME = ["system", "curve", "point", "variant", "clip", "domain", "kind", "key", "backend"]


class NotComparableError(RdbenchError):
    """Two runs, or a run and a baseline, that were not measured alike."""


@dataclass(frozen=True)
class Run:
    """Rows (the columns of `rdbench.store.schema.Row`) and the manifest that explains them.

    ratings: what listeners gave, with the columns of
    `rdbench.analysis.listeners.ratings.RATING_COLUMNS`, or None. sets: what the values of sets of
    clips are made of. seeds: rows of variants that were drawn with other seeds than the protocol's,
    or None; `rows` are without them.
    """

    name: str
    rows: pd.DataFrame
    manifest: Mapping[str, Any]
    ratings: pd.DataFrame | None = None
    sets: tuple[SetScore, ...] = ()
    seeds: pd.DataFrame | None = None

    @property
    def systems(self) -> Mapping[str, Any]:
        """The manifest's cards of systems."""
        return _mapping(self.manifest.get("systems"))

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The manifest's cards of metrics."""
        return _mapping(self.manifest.get("metrics"))

    @property
    def headlines(self) -> dict[str, str | None]:
        """Headline rate kind per system, None for an anchor."""
        found = {}
        for name in self.rows["system"].unique():
            card = _mapping(self.systems.get(name))
            kind = card.get("headline") if card else self._likely_headline(name)
            found[str(name)] = str(kind) if kind else None
        return found

    def direction(self, key: str) -> str:
        """Which way is better, "higher" or "lower".

        Raises RdbenchError for a metric that the manifest does not know.
        """
        better = str(_mapping(self.metrics.get(key)).get("direction") or "")
        if better not in ("higher", "lower"):
            raise RdbenchError(
                f"the manifest of {self.name} does not say whether a higher or a lower {key} is "
                "better; give the manifest that `rdbench run` wrote"
            )
        return better

    def _likely_headline(self, system: str) -> str | None:
        rates = self.rows[(self.rows["system"] == system) & (self.rows["kind"] == "rate")]
        measured = set(rates["key"])
        known = ("payload", "kl", "nominal", "stated")
        return next((kind for kind in known if kind in measured), None)


def read_run(folder: Path) -> Run:
    """The run in `folder`, with the listeners' scores that were imported into it.

    Raises StoreError for a folder that is no run or cannot be read.
    """
    folder = Path(folder)
    rows, manifest = read_rows(folder), read_manifest(folder)
    check_extent(rows, folder.resolve().name)
    sets = read_sets(folder, _mapping(manifest.get("metrics")))
    run = run_of(folder.resolve().name, rows, manifest, sets)
    ratings = read_ratings(folder)
    return run if ratings is None else with_ratings(run, ratings)


def run_of(
    name: str, rows: pd.DataFrame, manifest: Mapping[str, Any], sets: Sequence[SetScore] = ()
) -> Run:
    """The run of rows as they are stored: those drawn with other seeds stand apart.

    Raises StoreError where what the manifest says of variants is damaged.
    """
    others = {name for name, card in variants_of(manifest).items() if card.of}
    apart = rows["variant"].isin(others)
    return Run(
        name,
        rows[~apart].reset_index(drop=True),
        manifest,
        sets=tuple(one for one in sets if one.point[3] not in others),
        seeds=rows[apart].reset_index(drop=True) if apart.any() else None,
    )


def with_ratings(run: Run, ratings: pd.DataFrame) -> Run:
    """The run with what listeners gave: a row per rated point and clip, and the metrics' cards."""
    import pandas as pd

    return replace(
        run,
        rows=pd.concat([run.rows, rating_rows(ratings, run.rows)], ignore_index=True),
        manifest={**run.manifest, "metrics": {**run.metrics, **rating_cards(ratings)}},
        ratings=ratings,
    )


def planned_clips(manifest: Mapping[str, Any]) -> dict[GivenTo, set[str]]:
    """The clips that the plan gives to each system, point and variant, by domain.

    A manifest without a plan, of an earlier rdbench or written by hand, asks for nothing. Raises
    StoreError for a plan that is none.
    """
    found: dict[GivenTo, set[str]] = {}
    for system, point, variant, domain, clip, *_ in _planned(manifest):
        if clip:
            found.setdefault((system, point, variant, domain), set()).add(clip)
    return found


def missing_rows(run: Run) -> tuple[list[Unit], int]:
    """The planned rows that `run` lacks, and how many are planned: an interrupted run lacks some.

    A failed row is there. Raises StoreError for a plan that is none.
    """
    asked = _planned(run.manifest)
    if not asked:
        return [], 0
    there = statuses(
        {
            name: [text for rows in (run.rows, run.seeds) if rows is not None
                   for text in rows[name].astype(str)]
            for name in _NAMES_A_ROW
        }
    )  # fmt: skip
    return [unit for unit in asked if unit not in there], len(asked)


def _planned(manifest: Mapping[str, Any]) -> list[Unit]:
    return list(planned_rows(manifest)) if "plan" in manifest else []


def merge(runs: Sequence[Run], *, apart: Collection[str] = ()) -> Run:
    """One run of several that were measured alike.

    A system that two runs hold under one name with other measurements is renamed to
    `RUN:system`, and its curve likewise; where all measurements are the same it stays one, but for
    those that are to stand `apart`. Raises NotComparableError.
    """
    import pandas as pd

    first, *others = runs
    if not others:
        return first
    for other in others:
        findings = differences(first, other)
        if findings:
            raise NotComparableError(
                f"{first.name} and {other.name} cannot be compared: {findings[0]}; "
                "measure both with one spec"
            )
    clashing = clashing_systems(runs) | set(apart)
    named = [_renamed(run, clashing) for run in named_apart(runs)]
    rows = pd.concat([run.rows for run in named], ignore_index=True)
    cards: dict[str, dict[str, Any]] = {"systems": {}, "metrics": {}, "variants": {}}
    for run in named:
        for what, known in cards.items():
            known |= {
                name: card
                for name, card in _mapping(run.manifest.get(what)).items()
                if name not in known
            }
    given = [run.ratings for run in named if run.ratings is not None]
    seeds = [run.seeds for run in named if run.seeds is not None]
    return Run(
        " + ".join(run.name for run in named),
        rows,
        {**first.manifest, **cards},
        pd.concat(given, ignore_index=True) if given else None,
        tuple(score for run in named for score in run.sets),
        pd.concat(seeds, ignore_index=True) if seeds else None,
    )


def differences(first: Run, second: Run) -> list[str]:
    """Why the two runs cannot be compared, a clause each; empty where they can."""
    return [
        *_other_protocol(first.manifest, second.manifest),
        *_other_metrics(first.metrics, second.metrics),
        *_other_variants(first.manifest, second.manifest),
        *_other_clips(contents(first.manifest), contents(second.manifest)),
    ]


def contents(manifest: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """The content hash per (domain, clip name), as far as the manifest has them."""
    clips = _mapping(manifest.get("corpus")).get("clips")
    if not isinstance(clips, list):
        return {}
    return {
        (str(clip.get("domain", "")), str(clip.get("name", ""))): str(clip.get("content", ""))
        for clip in clips
        if isinstance(clip, Mapping)
    }


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """The protocol's fingerprint, "" where the manifest has none."""
    return str(_mapping(manifest.get("protocol")).get("fingerprint") or "")


def _other_protocol(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    if fingerprint(first) == fingerprint(second):
        return []
    one, two = _mapping(first.get("protocol")), _mapping(second.get("protocol"))
    changed = [
        f"{key} is {one.get(key)} in one and {two.get(key)} in the other"
        for key in dict.fromkeys([*one, *two])
        if key != "fingerprint" and one.get(key) != two.get(key)
    ]
    return ["their protocols differ" + (f" ({'; '.join(changed[:3])})" if changed else "")]


def _other_metrics(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    found = []
    for key in first:
        one, two = _mapping(first[key]), _mapping(second.get(key))
        if two and one.get("version") != two.get("version"):
            found.append(
                f"{key} has version {one.get('version')} in one and {two.get('version')} in the "
                "other"
            )
    return found


def _other_variants(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    one, two = variants_of(first), variants_of(second)
    return [
        f"the variant {name} is another thing in each ({_said(card)}; {_said(two[name])})"
        for name, card in one.items()
        if name in two and card != two[name]
    ]


def _said(card: VariantCard) -> str:
    return ", ".join(f"{key} {value}" for key, value in card.as_dict().items() if value != "")


def _other_clips(
    first: Mapping[tuple[str, str], str], second: Mapping[tuple[str, str], str]
) -> list[str]:
    found = [
        f"the clip {name} has other content"
        for (domain, name), content in first.items()
        if second.get((domain, name), content) != content
    ]
    if first and second and not set(first) & set(second):
        found.append("they have no clip in common")
    return found


def clashing_systems(runs: Sequence[Run]) -> set[str]:
    """Names of systems under which the runs hold different measurements."""
    import pandas as pd

    known = [*SAME, "unit_key", "value"]
    rows = pd.concat([run.rows.loc[run.rows["kind"] != "cost", known] for run in runs])
    rows = rows.drop_duplicates()
    return set(rows.loc[rows.duplicated(SAME, keep=False), "system"].astype(str))


def named_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs with names that differ."""
    named: list[Run] = []
    for run in runs:
        name, count = run.name, 2
        while any(other.name == name for other in named):
            name, count = f"{run.name}#{count}", count + 1
        named.append(replace(run, name=name))
    return named


def _renamed(run: Run, names: set[str]) -> Run:
    if not names:
        return run
    prefix = f"{run.name}:"
    systems = {}
    for name, card in run.systems.items():
        if name in names:
            label = f"{card.get('label') or name} ({run.name})"
            curve = f"{prefix}{card.get('curve') or name}"
            systems[f"{prefix}{name}"] = {**card, "label": label, "curve": curve}
        else:
            systems[name] = card
    rows, ratings, seeds = (
        None if table is None else _prefixed(table, names, prefix)
        for table in (run.rows, run.ratings, run.seeds)
    )
    assert rows is not None
    sets = tuple(one.renamed(prefix) if one.point[0] in names else one for one in run.sets)
    return Run(run.name, rows, {**run.manifest, "systems": systems}, ratings, sets, seeds)


def _prefixed(table: pd.DataFrame, names: set[str], prefix: str) -> pd.DataFrame:
    """The table with a prefix before the systems `names` and their curves."""
    hit = table["system"].isin(names)
    changed = {c: table[c].where(~hit, prefix + table[c]) for c in ("system", "curve")}
    return table.assign(**changed)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
