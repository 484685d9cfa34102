"""Codecs behind one interface, and the registry of their names.

Every codec that comes with rdbench can be made by hand, under the name that specs use: its points
(kbps, or names), then its options. `rdbench codecs NAME` lists them.

>>> from rdbench.codecs import opus
>>> opus(6, 12, application="voip")
<opus at 6, 12: payload>
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdbench.codecs.base import Codec


def __getattr__(name: str) -> Callable[..., Codec]:
    """What makes the codec called `name`."""
    from rdbench.codecs.registry import BUILT_IN, ELSEWHERE, RUNS_PROGRAMS, create

    if name not in BUILT_IN and name not in ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def make(*points: float | str, python: str = "", **options: Any) -> Codec:
        # Who makes a codec that runs programs, or others' code, names them here and now.
        allowed = name == RUNS_PROGRAMS or name in ELSEWHERE
        return create(
            name, points=points or None, options=options, allow_code=allowed, python=python
        )

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"Makes the codec {name!r} at `points`, with its options; raises CodecError."
    return make


def __dir__() -> list[str]:
    from rdbench.codecs.registry import BUILT_IN, ELSEWHERE

    return sorted({*globals(), *BUILT_IN, *ELSEWHERE})
