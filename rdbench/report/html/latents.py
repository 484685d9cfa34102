"""The page's part on continuous latents: the tables and pictures of the report on latents.

For runs that hold more of a latent than a rate to N(0, I) and scores: its statistics, other priors,
or predictions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.report.figures.style import figure_style
from rdbench.report.figures.write import figure_png
from rdbench.report.html.files import DATA
from rdbench.report.latent.content import LatentContent, content_of
from rdbench.report.latent.write import CONFIG, parts_of
from rdbench.store.schema import Kind

if TYPE_CHECKING:
    from rdbench.report.html.content import Content
    from rdbench.report.html.files import ReportFolder
    from rdbench.report.tables.table import Table


@dataclass(frozen=True)
class LatentPart:
    """One part of a domain. pictures: path in the report's folder, and what it shows."""

    title: str
    table: Table | None
    warnings: tuple[str, ...]
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LatentSection:
    """The parts of one domain that have something to show."""

    name: str
    parts: tuple[LatentPart, ...]


def write_latents(content: Content, folder: ReportFolder) -> list[LatentSection]:
    """Writes the pictures as data/latents/N.png; what the page shows, nothing for other runs.

    Raises StoreError where what the run keeps of latents is damaged.
    """
    from rdbench.analysis.latent.decoded import has_latents
    from rdbench.analysis.latent.statistics import CLIPS
    from rdbench.latent.stored import read_frames, read_sums

    run = content.run
    if not (has_latents(run) or (run.rows["kind"] == Kind.LATENT.value).any()):
        return []
    shown = {(one.system, one.domain) for one in run.rows[["system", "domain"]].itertuples()}
    sums = [one for one in read_sums(content.folder) if (one.system, one.domain) in shown]
    frames = [one for one in read_frames(content.folder, clips=CLIPS)
              if (one.system, one.domain) in shown]  # fmt: skip
    found = content_of(run, sums, frames)
    if found.ladder["rung"].nunique() < 2 and found.statistics.empty and found.gap.empty:
        return []
    with figure_style(CONFIG.style, CONFIG.font):
        made = [
            LatentSection(
                content.card.domain_label(domain), tuple(_parts(found, domain, number, folder))
            )
            for number, domain in enumerate(found.domains)
        ]
    return [section for section in made if section.parts]


def _parts(
    content: LatentContent, domain: str, number: int, folder: ReportFolder
) -> Iterator[LatentPart]:
    """Pictures are named by the numbers of domain, part and picture."""
    for place, part in enumerate(parts_of(content, domain)):
        pictures = []
        for index, (said, figure) in enumerate(part.drawn.values()):
            path = f"{DATA}/latents/{number}-{place}-{index}.png"
            folder.write(path, figure_png(figure))
            pictures.append((path, said))
        if not part.empty:
            yield LatentPart(part.title, part.table, tuple(part.warnings), tuple(pictures))
