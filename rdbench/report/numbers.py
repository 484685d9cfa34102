"""Numbers as text: how many digits a score, a rate or a cost is worth."""

from __future__ import annotations

import math
from collections.abc import Callable

from rdbench.report.cards import MetricCard
from rdbench.report.names import clean


def score_text(metric: MetricCard) -> Callable[[float], str]:
    """Writes values of `metric`: three decimals for ratios and distances, two for the rest."""
    narrow = metric.upper <= 1.0 or (not metric.unit and not math.isfinite(metric.upper))
    decimals = 3 if narrow else 2

    def write(value: float) -> str:
        # Adding zero takes the sign off a rounded −0.
        shown = f"{round(value, decimals) + 0.0:.{decimals}f}"
        return shown.replace("-", "−")

    return write


def kbps_text(value: float) -> str:
    """A rate in kbps: two decimals below 100, one above."""
    return f"{value:.2f}" if value < 99.995 else f"{value:.1f}"


def cost_title(key: str, unit: str) -> str:
    """The heading of a cost's column, with the unit that `cost_text` writes it in."""
    name = {
        "encode_rtf": "encode, real-time factor",
        "decode_rtf": "decode, real-time factor",
    }.get(key, key.replace("_", " "))
    unit = {"bytes": "MiB", "byte": "MiB", "B": "MiB"}.get(unit, unit)
    return clean(f"{name} ({unit})" if unit not in ("", "1", "s/s") else name)


def cost_text(value: float, unit: str) -> str:
    """Three digits, below 0.1 four decimals; bytes in MiB, large counts in M and G."""
    if not math.isfinite(value):
        return "–"
    if unit in ("bytes", "byte", "B"):
        value /= 2**20
    for factor, letter in ((1e9, " G"), (1e6, " M")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}"
    if 0 < value < 0.1:
        return f"{value:.4f}" if value >= 5e-5 else "< 0.0001"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
