"""How large the tables and arrays of a run would become, told before any is made.

Arrays have a cell for each aggregate on each clip of a domain (`rdbench.analysis.arrays`), whether
there is a row or not. Rows of a real run fill most of them; a few thousand rows of as many systems,
each on a clip of its own, would ask for all memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbench.types import StoreError

if TYPE_CHECKING:
    import pandas as pd

MAX_DOMAINS = 200
MAX_POINTS = 10_000
MAX_AGGREGATES = 200_000
MAX_CELLS = 2**25
"""Of aggregates × clips, summed over domains: some 600 MB."""
_POINT = ["system", "curve", "point", "variant", "domain"]
_IDENTITY = [*_POINT, "kind", "key", "backend"]


def check_extent(rows: pd.DataFrame, name: str) -> None:
    """Raises StoreError where the rows of a run ask for more than stands above."""
    sizes = {
        "domains": (rows["domain"].nunique(), MAX_DOMAINS),
        "points": (len(rows[_POINT].drop_duplicates()), MAX_POINTS),
        "aggregates": (len(rows[_IDENTITY].drop_duplicates()), MAX_AGGREGATES),
    }
    for what, (count, most) in sizes.items():
        if count > most:
            raise StoreError(
                f"{name} has {count} {what}, more than the {most} that are compared; split the run"
            )
    cells = sum(
        len(part[_IDENTITY].drop_duplicates()) * part["clip"].nunique()
        for _, part in rows.groupby("domain", sort=False)
    )
    if cells > MAX_CELLS:
        raise StoreError(
            f"the rows of {name} are so scattered over systems and clips that comparing them takes "
            f"{cells} cells, more than {MAX_CELLS}; split the run"
        )
