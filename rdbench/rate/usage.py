"""How well codebooks are used: the perplexity of the tokens, and the share of entries seen.

With p(k) the share of token k among N tokens of one codebook of K entries, the perplexity is
2^(−Σ p(k) log2 p(k)) (1 … K), and the use the share of entries with p(k) > 0. Both are taken over
a whole corpus: of a short clip they say more about its length than about the codebook.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.rate.static import StaticTables


VERSION = 1
"""Raised when perplexities or uses change."""


@dataclass(frozen=True)
class CodebookUsage:
    """One codebook: its entries, tokens seen, perplexity (1 … entries) and use (0 … 1)."""

    entries: int
    tokens: int
    perplexity: float
    used: float


def codebook_usage(counts: NDArray[np.int64]) -> CodebookUsage:
    """The usage of one codebook from its token counts (entries,); NaN without any token."""
    total = int(counts.sum())
    if total == 0:
        return CodebookUsage(len(counts), 0, float("nan"), float("nan"))
    p = counts[counts > 0] / total
    bits = float(-(p * np.log2(p)).sum())
    return CodebookUsage(len(counts), total, 2.0**bits, len(p) / len(counts))


def usage(tables: StaticTables) -> list[CodebookUsage]:
    """The usage of every codebook, streams one after the other."""
    return [codebook_usage(table) for stream in tables.counts for table in stream]
