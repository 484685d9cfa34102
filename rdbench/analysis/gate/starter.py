"""A gate to begin with: for each metric of a run, the least loss that counts.

With hundreds of clips a test finds losses that nobody hears: STOI lower by 0.0005 can be
significant. In the starter a loss fails the check that is surely larger than a least effect. These
are judgements, not measurements: about a tenth of what separates neighbouring bitrates of a codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rdbench.analysis.arrays import RESIDUAL_DELAY

LEAST: Mapping[str, str] = {
    "MOS-LQO": "0.02",
    "MOS": "0.02",
    "dB": "0.1",
    "LU": "0.1",
    "dBTP": "0.1",
    "Hz": "100",
}
"""By unit, in this unit; of metrics without one, and with another, `OTHERS`."""
LEAST_OF: Mapping[str, str] = {"stoi": "0.002", "estoi": "0.005"}
OTHERS = "1 %"
HEAD = """\
# A loss fails the check that is surely larger than what stands here (docs/gate.md): a test over
# groups of clips, corrected for all of the check. Least effects are judgements; make them yours.
alpha: 0.05          # probability of any false alarm
rates: 1 %           # how much bits may rise
bd_rate: {significant: true, absolute: 1}   # percent of bits at equal quality
metrics:
"""


def starter(metrics: Iterable[tuple[str, str]]) -> str:
    """The text of a `gate.yaml` for these metrics, as (key, unit)."""
    lines = []
    for key, unit in metrics:
        if key == RESIDUAL_DELAY:
            continue
        least = LEAST_OF.get(key) or LEAST.get(unit, OTHERS)
        number, _, percent = least.partition(" ")
        kind = "percent" if percent else "absolute"
        name = f'"{key}"' if ":" in key else key
        said = f"   # {unit}" if unit and not percent else ""
        lines.append(f"  {name}: {{significant: true, {kind}: {number}}}{said}")
    return HEAD + "\n".join(lines) + "\n"
