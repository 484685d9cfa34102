"""Numbers as text: how many digits a score, a rate, a cost or a p-value is worth."""

from __future__ import annotations

import math
from collections.abc import Callable

from rdbench.report.cards import MetricCard
from rdbench.report.names import clean
from rdbench.types import RateKind

NONE = "–"
STATED = (
    "A stated rate is somebody's word and was not measured: what is compared with it, and its "
    "intervals, are worth no more than that."
)
Write = Callable[[float], str]


def score_text(metric: MetricCard, *, more: int = 0) -> Write:
    """Writes values of `metric`: three decimals for ratios, logarithms, distances and delays (a
    hundredth of a millisecond is half a sample), none for hertz, two for the rest; `more` than
    that.
    """
    distance = not metric.unit and not math.isfinite(metric.upper)
    narrow = metric.upper <= 1.0 or distance or metric.unit in ("ms", "ln")
    decimals = (0 if metric.unit == "Hz" else 3 if narrow else 2) + more

    def write(value: float) -> str:
        # Adding zero takes the sign off a rounded −0.
        shown = f"{round(value, decimals) + 0.0:.{decimals}f}"
        return shown.replace("-", "−")

    return write


def signed(write: Write) -> Write:
    """`write` for differences, which say their sign."""

    def write_signed(value: float) -> str:
        text = write(value)
        return text if text.startswith("−") else f"+{text}"

    return write_signed


def with_interval(write: Write, value: float, low: float, high: float) -> str:
    """As "1.2 [1.1, 1.3]"; without the ends where there is no interval, a dash for no number."""
    if not math.isfinite(value):
        return NONE
    if not (math.isfinite(low) and math.isfinite(high)):
        return write(value)
    return f"{write(value)} [{write(low)}, {write(high)}]"


def spread_text(value: float) -> str:
    """A standard deviation, with two digits and no exponent."""
    if not math.isfinite(value) or value <= 0:
        return "0" if value == 0 else NONE
    exponent = int(f"{value:.1e}".partition("e")[2])
    return f"{value:.{max(0, 1 - exponent)}f}"


def plain_text(value: float) -> str:
    """A number with four digits and no exponent.

    >>> plain_text(0.00003), plain_text(-0.0004567), plain_text(123456.7), plain_text(2.5)
    ('0.00003', '-0.0004567', '123457', '2.5')
    """
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    whole = int(f"{abs(value):.3e}".partition("e")[2])
    text = f"{value:.{max(0, 3 - whole)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent_text(value: float) -> str:
    """A change in percent with its sign: one decimal, none from 1000 on."""
    shown = f"{value:+.1f}" if abs(value) < 1000 else f"{value:+.0f}"
    return shown.replace("-", "−")


def share_text(share: float) -> str:
    """A share in percent, never rounded up: what is too small does not look as if it were not."""
    return f"{math.floor(100 * share + 1e-9)}"


def gap_text(share: float) -> str:
    """A gap in percent, never rounded down, likewise."""
    return f"{math.ceil(100 * share - 1e-9)}"


def rate_text(kind: str, variant: str) -> str:
    """A kind of rate as tables name it: that of a stream by its variant, of which there are more.

    >>> rate_text("payload", "codes"), rate_text("coded", "coded_trellis")
    ('payload', 'coded_trellis')
    """
    return variant if kind == RateKind.CODED else kind


def p_text(p: float) -> str:
    """A p-value with four decimals."""
    if not math.isfinite(p):
        return NONE
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def kbps_text(value: float) -> str:
    """A rate in kbps: two decimals below 100, one above."""
    return f"{value:.2f}" if value < 99.995 else f"{value:.1f}"


def cost_title(key: str, unit: str) -> str:
    """The heading of a cost's column, with the unit that `cost_text` writes it in."""
    name = {
        "encode_rtf": "encode, real-time factor",
        "decode_rtf": "decode, real-time factor",
        "clip_length": "clips",
    }.get(key, key.replace("_", " "))
    unit = {"bytes": "MiB", "byte": "MiB", "B": "MiB"}.get(unit, unit)
    return clean(f"{name} ({unit})" if unit not in ("", "1", "s/s") else name)


def cost_text(value: float, unit: str) -> str:
    """Three digits, below 0.1 four decimals; bytes in MiB, large counts in M and G."""
    if not math.isfinite(value):
        return NONE
    if unit in ("bytes", "byte", "B"):
        value /= 2**20
    for factor, letter in ((1e9, " G"), (1e6, " M")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}"
    if 0 < value < 0.1:
        return f"{value:.4f}" if value >= 5e-5 else "< 0.0001"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
