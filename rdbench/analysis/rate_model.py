"""Which probability model of the bits stands for a kind of rate: the same for figures, tables and
BD-rates.

Tables show the bits under every model; an axis needs one, and one for all points of a curve. It is
the first of `MODELS` that has a value at every point, else the one that has most. A KL is against
the standard prior wherever that was measured: another prior is another quantity.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from rdbench.store.schema import ONE_STREAM
from rdbench.types import KL_PRIOR, RateKind

MODELS = (KL_PRIOR, "static", "adaptive context", "adaptive order-0")
"""In order of preference: of streams per clip, the one that needs least of the clip itself."""


def preference(model: str) -> tuple[int, str]:
    """The key by which models are ordered; one stream of many clips comes last."""
    place = next((i for i, name in enumerate(MODELS) if model.startswith(name)), len(MODELS))
    return place + (len(MODELS) + 1) * model.endswith(ONE_STREAM), model


def choose(kind: str, points: Mapping[str, Set[object]]) -> str | None:
    """The model for a curve; points: by model, the points at which it has a value.

    None where no model has any.
    """
    found = {model: there for model, there in points.items() if there}
    if kind == RateKind.KL and KL_PRIOR in found:
        return KL_PRIOR
    if not found:
        return None
    return min(found, key=lambda model: (-len(found[model]), preference(model)))
