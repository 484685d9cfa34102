"""All that the report on latents shows, read once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.latent.decoded import (
    COLLAPSED,
    PREDICTED,
    against_reference,
    has_latents,
)
from rdbench.analysis.latent.gap import gap_table
from rdbench.analysis.latent.generation import generation_table
from rdbench.analysis.latent.ladder import RUNGS, ladder_table
from rdbench.analysis.latent.statistics import (
    channel_table,
    copy_table,
    norm_table,
    read_latents,
    spectrum_table,
    statistic_table,
)
from rdbench.analysis.latent.truncation import least_channels, truncation_table
from rdbench.report.cards import RunCard, describe, few_groups, ordered
from rdbench.report.names import clean
from rdbench.report.tables.rows import natural
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.runs import Run
    from rdbench.latent.frames import LatentFrames
    from rdbench.latent.stored import StoredFrames, StoredSums

Latent = tuple[str, str]
"""System and point."""


class NoLatentError(RdbenchError):
    """A run in which nothing has a continuous latent."""


@dataclass(frozen=True)
class LatentContent:
    """Tables of `rdbench.analysis.latent` and `gap_table`, each with all domains.

    decoded: every variant but truncated ones against the sample. source: the column of it. frames:
    a few clips frame by frame.
    """

    title: str
    card: RunCard
    points: pd.DataFrame
    ladder: pd.DataFrame
    statistics: pd.DataFrame
    copies: pd.DataFrame
    channels: pd.DataFrame
    spectra: pd.DataFrame
    norms: pd.DataFrame
    truncation: pd.DataFrame
    least: pd.DataFrame
    decoded: pd.DataFrame
    gap: pd.DataFrame
    generation: pd.DataFrame
    frames: tuple[StoredFrames, ...] = ()
    several: frozenset[str] = field(default=frozenset())

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """What is written as CSV, by the file's stem."""
        return {
            "ladder": self.ladder, "statistics": self.statistics, "channels": self.channels,
            "copies": self.copies, "spectra": self.spectra, "norms": self.norms,
            "truncation": self.truncation,
            "least_channels": self.least, "decoded": self.decoded, "gap": self.gap,
            "generation": self.generation,
        }  # fmt: skip

    @property
    def collapse(self) -> pd.DataFrame:
        """The rows of `decoded` in which the latent is not the clip's own."""
        return self.decoded[self.decoded["source"].isin(COLLAPSED)]

    @property
    def paths(self) -> pd.DataFrame:
        """The other rows of `decoded`."""
        return self.decoded[~self.decoded["source"].isin(COLLAPSED)]

    @property
    def domains(self) -> list[str]:
        """In the order of rows."""
        return [str(name) for name in dict.fromkeys(self.points["domain"]) if name]

    def caution(self, domain: str) -> str:
        """Where intervals rest on few groups of clips, a sentence that says so, else ""."""
        return few_groups(self.points[self.points["domain"] == domain])

    @property
    def variants(self) -> list[str]:
        """Of the run, in the spec's order."""
        return list(self.card.variants)

    def metrics(self, table: pd.DataFrame) -> list[tuple[str, str]]:
        """The metrics (key, backend) of a table, in the spec's order."""
        found = table[["key", "backend"]].drop_duplicates().itertuples(index=False, name=None)
        pairs = [(str(key), str(backend)) for key, backend in found]
        keys = ordered([key for key, _ in pairs], list(self.card.metrics))
        return sorted(pairs, key=lambda pair: keys.index(pair[0]))

    def latents(self, table: pd.DataFrame) -> list[Latent]:
        """The latents of a table, in the spec's order."""
        found = table[["system", "point"]].drop_duplicates().itertuples(index=False, name=None)
        return self._ordered((str(system), str(point)) for system, point in found)

    def clips(self, domain: str) -> list[str]:
        """The clips of a domain that are shown frame by frame."""
        return list(dict.fromkeys(one.clip for one in self.frames if one.domain == domain))

    def frames_of(self, domain: str, clip: str) -> dict[Latent, LatentFrames]:
        """A clip frame by frame, of each latent in the spec's order."""
        found = {
            (one.system, one.point): one.frames for one in self.frames
            if (one.domain, one.clip) == (domain, clip)
        }  # fmt: skip
        return {latent: found[latent] for latent in self._ordered(found)}

    def _ordered(self, latents: Iterable[Latent]) -> list[Latent]:
        rank = {name: i for i, name in enumerate(self.card.systems)}
        return sorted(latents, key=lambda one: (rank.get(one[0], len(rank)), natural(one[1])))

    def name(self, latent: Latent) -> str:
        """A latent as it is shown: its system, with the point where there are several."""
        system, point = latent
        return clean(f"{system} {point}" if system in self.several else system)

    def of(self, table: pd.DataFrame, latent: Latent) -> pd.DataFrame:
        """The rows of one latent."""
        return table[(table["system"] == latent[0]) & (table["point"] == latent[1])]

    @property
    def lacking(self) -> list[str]:
        """What the run could have shown and does not hold, a sentence each."""
        rungs = set(self.ladder["rung"])
        fitted = bool(rungs.intersection(RUNGS[1:-1]))
        predicted = self.decoded["variant"].astype(str).str.startswith(PREDICTED)
        noise = self.decoded["source"] == "noise"
        said = {
            "no rates of latents: none has a trained posterior scale, so none has a KL": not rungs,
            "no fitted priors: fit tables with `rdbench fit-entropy` on other clips, and add "
            "`entropy: {enabled: true, tables: FILE}` to the spec": bool(rungs) and not fitted,
            "no probe among the priors: train one with `rdbench train` on other clips, and add "
            "`probe: FILE` to the system": bool(rungs) and RUNGS[-1] not in rungs,
            "no statistics by place: add `latent: {places: true}` to the spec": (
                self.statistics.empty and self.channels.empty
            ),
            "no copies of the clips in noise and in a room: add `copies: [noise_20, noise_10, "
            "noise_0, room_0.5]` to `latent` in the spec": (
                self.copies.empty and not self.statistics.empty
            ),
            "no truncation variants: add `keep_24`, `keep_kl_24`, `keep_random_24` and other "
            "numbers to `variants`": self.truncation.empty,
            "no collapse variants: add `collapse_all` and `rolled` to `variants`": (
                self.collapse.empty
            ),
            "no noise: add `latent_noise_0.2` and other sizes to `variants`": not noise.any(),
            "no predicted latents: add `predicted` to `variants`, and name their folders as "
            "`predicted`": not predicted.any(),
            "no scores: add `metrics` to the spec": self.decoded.empty,
        }
        return [text for text, lacks in said.items() if lacks]


def read_content(folders: Sequence[Path]) -> LatentContent:
    """What runs say of their latents, as one.

    Raises NoLatentError where they have none, StoreError for a folder that is no run, and
    NotComparableError for runs that were not measured alike.
    """
    run, sums, frames = read_latents(folders)
    if not has_latents(run) and not sums:
        named = " and ".join(str(folder) for folder in folders)
        raise NoLatentError(
            f"nothing in {named} has a continuous latent; give a run with a VAE or another codec "
            "of continuous latents"
        )
    return content_of(run, sums, frames)


def content_of(
    run: Run, sums: Sequence[StoredSums], frames: Sequence[StoredFrames]
) -> LatentContent:
    """What a run says of its latents; tables may be empty.

    sums, frames: what `rdbench.latent.stored` reads of its systems.
    """
    points = run_points(run)
    truncation = truncation_table(run)
    counts = points.groupby("system", observed=True)["point"].nunique()
    return LatentContent(
        title=clean(str(run.manifest.get("name") or run.name)),
        card=describe(points, run.manifest),
        points=points,
        ladder=ladder_table(run),
        statistics=statistic_table(points),
        copies=copy_table(points),
        channels=channel_table(sums),
        spectra=spectrum_table(sums),
        norms=norm_table(sums),
        truncation=truncation,
        least=least_channels(truncation),
        decoded=against_reference(run),
        gap=gap_table(run),
        generation=generation_table(run),
        frames=tuple(frames),
        several=frozenset(str(name) for name in counts.index[counts > 1]),
    )
