"""Numbers for everything a report names: points, domains, clips, metrics.

The pages and their files know users' names by number alone; a name is text that is shown, and never
part of a path, a key or a script.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.analysis.arrays import PointKey
from rdbench.report.cards import RunCard, scored_metrics
from rdbench.report.tables.rows import point_keys

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Numbering:
    """What has which number: the index of each in these tuples.

    points: in the order of tables. clips: (domain, name). metrics:
    (key, backend).
    """

    points: tuple[PointKey, ...]
    domains: tuple[str, ...]
    clips: tuple[tuple[str, str], ...]
    metrics: tuple[tuple[str, str], ...]

    @property
    def point_of(self) -> dict[PointKey, int]:
        """Numbers of points."""
        return {point: number for number, point in enumerate(self.points)}

    @property
    def metric_of(self) -> dict[tuple[str, str], int]:
        """Numbers of metrics."""
        return {metric: number for number, metric in enumerate(self.metrics)}

    def clips_of(self, domain: int) -> list[int]:
        """The clips of a domain, in order."""
        return [n for n, (name, _) in enumerate(self.clips) if name == self.domains[domain]]

    def clips_named(self, name: str) -> list[int]:
        """The clips of a name, of which each domain may have one."""
        return [n for n, (_, known) in enumerate(self.clips) if known == name]

    def point_named(self, system: str, point: str, variant: str) -> int | None:
        """A point, whatever the curve that a configuration has moved it to."""
        wanted = (system, point, variant)
        found = (n for n, (s, _, p, v) in enumerate(self.points) if (s, p, v) == wanted)
        return next(found, None)


def number(rows: pd.DataFrame, points: pd.DataFrame, card: RunCard) -> Numbering:
    """Numbers what `rows` (of `rdbench.store.schema.Row`) and their aggregates hold."""
    per_clip = rows.loc[rows["clip"] != "", ["domain", "clip"]].drop_duplicates()
    clips = tuple(sorted(per_clip.astype(str).itertuples(index=False, name=None)))
    measured = points[points["kind"] != "cost"]
    known = {domain for domain, _ in clips}
    domains = [d for d in dict.fromkeys(measured["domain"].astype(str)) if d in known]
    return Numbering(
        points=tuple(point_keys(measured, card)),
        domains=tuple(domains),
        clips=clips,
        metrics=tuple(scored_metrics(points, card)),
    )


def point_name(key: PointKey, card: RunCard) -> str:
    """As "Opus 12" or "VAE 6, mean"; the point is left out where the label ends with it."""
    system, _, point, variant = key
    label = card.systems[system].label
    shown = label if label.split()[-1:] == [point] or point == system else f"{label} {point}"
    return shown if card.variant(variant).headline else f"{shown}, {variant}"
