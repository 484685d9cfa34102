"""Which systems of a spec can run on this machine, and what the others lack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.types import RdbenchError
from rdbench.weights.published import Download, NotFetchedError

if TYPE_CHECKING:
    from rdbench.spec.model import BenchmarkSpec


@dataclass(frozen=True)
class Readiness:
    """Of one system.

    lacks: why it cannot run, "" where it can. downloads: what fetches all that it lacks, where
    somebody publishes that.
    """

    system: str
    codec: str
    lacks: str = ""
    downloads: tuple[Download, ...] = ()


def readiness(spec: BenchmarkSpec, *, allow_code: bool = False) -> Iterator[Readiness]:
    """Builds each system of `spec`, one after the other, and says how it went."""
    from rdbench.engine.plan.systems import recipe_of

    for item in spec.systems:
        try:
            codec = recipe_of(spec, item, allow_code=allow_code).build()
            yield Readiness(item.name, item.codec, "; ".join(codec.self_check()))
        except NotFetchedError as error:
            yield Readiness(item.name, item.codec, str(error), error.downloads)
        except RdbenchError as error:
            yield Readiness(item.name, item.codec, str(error))
