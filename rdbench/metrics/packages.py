"""What the backends that call a reference package share: its version, and honest outcomes."""

from __future__ import annotations

import importlib.metadata
import math
from typing import TYPE_CHECKING

from rdbench.types import MissingExtraError, Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def distribution_version(distribution: str, key: str, extra: str = "metrics") -> str:
    """Version of an installed package; raises MissingExtraError for the metric `key`.

    extra: the optional dependencies of rdbench that have the package.
    """
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise missing(distribution, key, extra) from None


def missing(distribution: str, key: str, extra: str = "metrics") -> MissingExtraError:
    """The error that says which package the metric `key` lacks, and which extra has it."""
    return MissingExtraError(f"metric {key!r} (package {distribution})", extra)


def without_signal(
    *, reference: npt.NDArray[np.floating], reconstruction: npt.NDArray[np.floating]
) -> Score | None:
    """`undefined` where a signal (time,) is silent, that is, all of its samples are equal.

    The reference packages answer such input with anything from NaN to their best score.
    """
    for name, signal in (("reference", reference), ("reconstruction", reconstruction)):
        if signal.size == 0 or signal.min() == signal.max():
            return Score.undefined(f"the {name} is silent")
    return None


def finite(value: float, key: str) -> Score:
    """The value as a score; `failed` where the package returned NaN or an infinity."""
    if math.isfinite(value):
        return Score(float(value))
    return Score.failed(f"{key}: the package returned {value}")
