"""rdbench: a rate–distortion benchmark for audio codecs and audio VAEs.

From Python: `rdbench.run` measures a spec and returns a `rdbench.Run`, which a results folder makes
too; `rdbench.compare`, `rdbench.bd_rate`, `rdbench.readings` and `rdbench.check` take results
folders or tables and return DataFrames; `rdbench.score` and `rdbench.rates` take audio and return
one; `rdbench.evaluate` takes a model that is being trained; `rdbench.codecs` has the codecs. All
are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdbench.version import __version__

if TYPE_CHECKING:
    from rdbench.analysis.compare import bd_rate, compare, readings
    from rdbench.analysis.gate.check import check
    from rdbench.api import Run, run
    from rdbench.codecs.by_hand import rates
    from rdbench.engine.score import score
    from rdbench.engine.specs import read_spec
    from rdbench.monitor.evaluate import evaluate

__all__ = [
    "Run",
    "__version__",
    "bd_rate",
    "check",
    "compare",
    "evaluate",
    "rates",
    "read_spec",
    "readings",
    "run",
    "score",
]

_LATER = {
    "Run": "rdbench.api",
    "bd_rate": "rdbench.analysis.compare",
    "check": "rdbench.analysis.gate.check",
    "compare": "rdbench.analysis.compare",
    "evaluate": "rdbench.monitor.evaluate",
    "rates": "rdbench.codecs.by_hand",
    "read_spec": "rdbench.engine.specs",
    "readings": "rdbench.analysis.compare",
    "run": "rdbench.api",
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
