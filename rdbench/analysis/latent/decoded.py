"""Which points of a run are continuous latents, and what was decoded of each.

What is decoded of a latent is held against its sample, or against its mean where it has no
posterior to draw from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rdbench.analysis.arrays import DomainScores, by_domain
from rdbench.analysis.paired import PAIR_COLUMNS, paired_table

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from rdbench.analysis.runs import Run

    Flags = npt.NDArray[np.bool_]

SAMPLE, MEAN, PREDICTED = "sample", "mean", "predicted"
TOKENS = "codes"
TRUNCATED, COLLAPSED = ("truncated sample",), ("collapsed sample", "prior", "rolled sample")
LATENT = ["domain", "system", "curve", "point"]


@dataclass(frozen=True)
class DecodedLatent:
    """One latent in one domain: the number of each of its variants in `DomainScores.points`."""

    system: str
    curve: str
    point: str
    variants: Mapping[str, int]

    @property
    def reference(self) -> str:
        """What the others are held against; "" where neither sample nor mean was decoded."""
        return next((name for name in (SAMPLE, MEAN) if name in self.variants), "")


def decoded_latents(scores: DomainScores) -> list[DecodedLatent]:
    """The continuous latents of a domain, in the order of their rows."""
    found: dict[tuple[str, str, str], dict[str, int]] = {}
    for index, key in enumerate(scores.points):
        if scores.card(index).source != TOKENS:
            found.setdefault((key.system, key.curve, key.point), {})[key.variant] = index
    return [
        DecodedLatent(*names, variants)
        for names, variants in found.items()
        if any(scores.card(index).source for index in variants.values())
    ]


def has_latents(run: Run) -> bool:
    """Whether any system has a continuous latent."""
    return any(decoded_latents(scores) for scores in by_domain(run))


def with_seeds(run: Run) -> Run:
    """The run with the rows of other seeds among its rows."""
    import pandas as pd

    if run.seeds is None:
        return run
    return replace(run, rows=pd.concat([run.rows, run.seeds], ignore_index=True), seeds=None)


def against_reference(run: Run) -> pd.DataFrame:
    """Every variant of a latent less its sample, but truncated ones and streams, by metric.

    Columns of `rdbench.analysis.paired.paired_table`, and `source` of the variant. The reference
    itself has rows too, with differences of zero.
    """
    import pandas as pd

    pairs, sources = [], {}
    for scores in by_domain(run):
        for latent in decoded_latents(scores):
            for name, index in latent.variants.items():
                card = scores.card(index)
                if latent.reference and not card.stream and card.source not in TRUNCATED:
                    sources[name] = card.source
                    place = f"{latent.system}/{latent.point}"
                    pairs.append((f"{place}/{name}", f"{place}/{latent.reference}"))
    if not pairs:
        return pd.DataFrame(columns=[*PAIR_COLUMNS, "source"])
    table = paired_table(run, pairs=list(dict.fromkeys(pairs)))
    return table.assign(source=table["variant"].map(sources))
