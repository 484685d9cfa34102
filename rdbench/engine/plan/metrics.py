"""The metrics of a spec with the backends that compute them here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from rdbench.engine.plan.digests import digest
from rdbench.identity import is_code
from rdbench.metrics.base import MODEL_FILE, REFERENCE_FILE, Alignment, SetBackend
from rdbench.store.schema import Kind, Quantity
from rdbench.types import SpecError
from rdbench.weights.published import with_downloads

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.metrics.base import Backend, MetricDefinition
    from rdbench.spec.model import BenchmarkSpec, MetricSpec


_MODEL_DIGITS = 12  # of features: enough to tell apart what one run has


@dataclass(frozen=True)
class Metric:
    """A metric as the spec chose it; the same in every process.

    backend_name: of the registry. options: as JSON, so that a metric can be hashed. files: those of
    a metric that is not rdbench's own, and its model file, with what they held when it was chosen.
    """

    key: str
    backend_name: str = "auto"
    options: str = "{}"
    files: tuple[tuple[Path, str], ...] = ()

    @property
    def definition(self) -> MetricDefinition:
        """What the key means."""
        from rdbench.metrics.registry import definition

        return definition(self.key)

    @property
    def backend(self) -> Backend:
        """What computes it, built once in a process."""
        return _built(self)

    def identity(self, *, everywhere: bool = False) -> list[Any]:
        """All that a value depends on, for keys.

        everywhere: whether the protocol removes the residual delay before every metric.
        """
        from rdbench.audio import align

        backend = self.backend
        aligned = self.definition.alignment(everywhere=everywhere) is not Alignment.NONE
        return [
            self.key, self.definition.version, backend.name, backend.version,
            _without_place(backend.options), backend.model_sha256, *backend.source,
            *([align.VERSION] if aligned else []),
        ]  # fmt: skip

    @property
    def feature(self) -> Quantity:
        """Of a metric of sets: what the array is called that each clip adds.

        Metrics whose features are the same share it. The model tells apart what has one name (two
        layers of a network).
        """
        return _feature(self)

    def feature_identity(self, *, everywhere: bool = False) -> list[Any]:
        """All that its features depend on, for keys; everywhere: as for `identity`."""
        from rdbench.audio import align

        meant = self.definition
        shared = _shared_features(self)
        if shared is None:
            return self.identity(everywhere=everywhere)
        aligned = meant.alignment(everywhere=everywhere) is not Alignment.NONE
        how = [meant.sample_rate, meant.channels.value, meant.minimum_seconds]
        return [*shared, *how, *_own_content(self), *([align.VERSION] if aligned else [])]

    def card(self) -> dict[str, Any]:
        """What the manifest says of it."""
        backend = self.backend
        model = {"path": str(backend.options.get(MODEL_FILE)), "sha256": backend.model_sha256}
        of_set = isinstance(backend, SetBackend)
        return {
            **asdict(self.definition),
            **({"feature": [self.feature.key, self.feature.model]} if of_set else {}),
            "domains": list(self.definition.domains),
            "options": dict(backend.options),
            "model_file": model if backend.model_sha256 else None,
            "backend": backend.name,
            "backend_version": backend.version,
            "tolerance": backend.tolerance,
        }


def resolve_metrics(
    spec: BenchmarkSpec,
    domain: str,
    fetching: Callable[[str], None] | None = None,
    *,
    allow_code: bool = False,
) -> tuple[Metric, ...]:
    """The metrics of `domain` in the spec's order, those that are not valid on it left out.

    fetching: where models that are not on this machine may be fetched, who is told what was.

    Raises SpecError where none is left, where one cannot be built, and for `module:Class` without
    `allow_code`.
    """
    chosen = []
    for item in spec.metrics_for(domain):
        metric = asked_for(spec, item, allow_code=allow_code)
        if valid_on(metric.definition, domain):
            # Not what an earlier run of this process built: code may have been edited since.
            backend = with_downloads(partial(_build, metric), fetching)
            if isinstance(backend, SetBackend):
                own = metric.definition.sample_rate
                backend.check_rate(own or spec.protocol.for_domain(domain).sample_rate)
            files = tuple(backend.files.items())
            chosen.append(Metric(item.key, backend.name, metric.options, files))
    if not chosen:
        raise SpecError(not_valid(spec, domain))
    return tuple(chosen)


def asked_for(spec: BenchmarkSpec, item: MetricSpec, *, allow_code: bool) -> Metric:
    """A metric as the spec asks for it; raises SpecError for `module:Class` without leave."""
    if is_code(item.key) and not allow_code:
        raise SpecError(
            f"metric {item.key!r} is Python code that would be run; add --allow-code if you "
            "trust it"
        )
    return Metric(item.key, item.backend, json.dumps(spec.options_for(item), default=str))


def metrics_by_key(by_domain: Mapping[str, Sequence[Metric]]) -> dict[str, Metric]:
    """Every metric of a run, by key; raises SpecError where two domains want one otherwise."""
    found: dict[str, Metric] = {}
    for domain, metrics in by_domain.items():
        for metric in metrics:
            if found.setdefault(metric.key, metric) != metric:
                raise SpecError(
                    f"metric {metric.key!r} has another backend or other options for {domain!r} "
                    "than for another domain; choose one for both, since rows name the key alone"
                )
    return found


def valid_on(definition: MetricDefinition, domain: str) -> bool:
    """Whether a metric means something on `domain`."""
    return not definition.domains or domain in definition.domains


def not_valid(spec: BenchmarkSpec, domain: str) -> str:
    """A sentence on the metrics of the spec that are not valid on `domain`, or ""."""
    from rdbench.metrics.registry import definition

    asked = [definition(item.key) for item in spec.metrics_for(domain)]
    left_out = [item for item in asked if not valid_on(item, domain)]
    if not left_out:
        return ""
    keys = ", ".join(item.key for item in left_out)
    meant_for = ", ".join(sorted({name for item in left_out for name in item.domains}))
    return (
        f"{keys}: for {meant_for}, so not computed on clips of the domain {domain!r}; if they are "
        f"{meant_for}, say so in `corpus.domain` or the manifest's column `domain`"
    )


def _without_place(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without where files lie: their hashes say which they are."""
    return {key: value for key, value in options.items() if key not in (MODEL_FILE, REFERENCE_FILE)}


@cache
def _feature(metric: Metric) -> Quantity:
    shared = _shared_features(metric)
    if shared is None:
        return Quantity(Kind.FEATURE, metric.key)
    name, identity = shared
    own = _own_content(metric)
    told = [identity, *own] if own else identity
    return Quantity(Kind.FEATURE, name, digest(told)[:_MODEL_DIGITS])


def _own_content(metric: Metric) -> list[Any]:
    """Of a metric that is not rdbench's own: hashes of its code and model file."""
    backend = metric.backend
    if not backend.source:
        return []
    return [*backend.source, *([backend.model_sha256] if backend.model_sha256 else [])]


@cache
def _shared_features(metric: Metric) -> tuple[str, str] | None:
    backend = metric.backend
    assert isinstance(backend, SetBackend)
    return backend.shared_features


@cache
def _built(metric: Metric) -> Backend:
    return _build(metric)


def _build(metric: Metric) -> Backend:
    from rdbench.metrics.registry import backend

    return backend(metric.key, metric.backend_name, json.loads(metric.options))
