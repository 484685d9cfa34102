"""Which systems and metrics of a spec can run on this machine, and what the others lack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rdbench.types import RdbenchError
from rdbench.weights.published import Download, NotFetchedError

if TYPE_CHECKING:
    from rdbench.spec.model import BenchmarkSpec, MetricSpec, SystemSpec


@dataclass(frozen=True)
class Readiness:
    """Of one system or metric.

    name: of the system, or "metric KEY". lacks: why it cannot run, "" where it can. downloads: what
    fetches all that it lacks, where somebody publishes that.
    """

    name: str
    lacks: str = ""
    downloads: tuple[Download, ...] = ()


def readiness(spec: BenchmarkSpec, *, allow_code: bool = False) -> Iterator[Readiness]:
    """Builds each system and each metric of `spec`, and says how it went."""
    for item in spec.systems:
        yield _ready(item.name, partial(_system, spec, item, allow_code=allow_code))
    seen = set()
    for metric in (one for some in spec.metrics.values() for one in some):
        asked = (metric.key, metric.backend, json.dumps(dict(metric.options), default=str))
        if asked not in seen:
            seen.add(asked)
            build = partial(_metric, spec, metric, allow_code=allow_code)
            yield _ready(f"metric {metric.key}", build)


def _ready(name: str, build: Callable[[], str]) -> Readiness:
    try:
        return Readiness(name, build())
    except NotFetchedError as error:
        return Readiness(name, str(error), error.downloads)
    except RdbenchError as error:
        return Readiness(name, str(error))


def _system(spec: BenchmarkSpec, item: SystemSpec, *, allow_code: bool) -> str:
    from rdbench.engine.plan.systems import recipe_of

    return "; ".join(recipe_of(spec, item, allow_code=allow_code).build().self_check())


def _metric(spec: BenchmarkSpec, item: MetricSpec, *, allow_code: bool) -> str:
    from rdbench.engine.plan.metrics import asked_for

    _ = asked_for(spec, item, allow_code=allow_code).backend.version  # raises without its package
    return ""
