"""rdbench: a rate–distortion benchmark for audio codecs and audio VAEs.

From Python: `rdbench.compare`, `rdbench.bd_rate`, `rdbench.readings` and `rdbench.check` take
results folders or tables and return DataFrames; `rdbench.score` takes audio and returns one. They
are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdbench.version import __version__

if TYPE_CHECKING:
    from rdbench.analysis.compare import bd_rate, compare, readings
    from rdbench.analysis.gate.check import check
    from rdbench.engine.score import score
    from rdbench.engine.specs import read_spec

__all__ = ["__version__", "bd_rate", "check", "compare", "read_spec", "readings", "score"]

_LATER = {
    "bd_rate": "rdbench.analysis.compare",
    "check": "rdbench.analysis.gate.check",
    "compare": "rdbench.analysis.compare",
    "read_spec": "rdbench.engine.specs",
    "readings": "rdbench.analysis.compare",
    "score": "rdbench.engine.score",
}


def __getattr__(name: str) -> Any:
    """Loads a function of the API when it is first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
