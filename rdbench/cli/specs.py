"""Reads a spec for a command: names from the registries, replacements from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.types import SpecError

if TYPE_CHECKING:
    from rdbench.spec.model import BenchmarkSpec


def read_spec(
    path: Path, *, data: Path | None, limit: int | None, options: Sequence[str]
) -> BenchmarkSpec:
    """The spec at `path` with what the command line replaces; raises SpecError."""
    from rdbench.codecs.registry import names
    from rdbench.metrics.registry import keys
    from rdbench.spec.load import load_spec, with_limit, with_option

    spec = load_spec(path, metric_keys=keys(), codec_names=names(), data=data)
    if limit is not None:
        spec = with_limit(spec, limit)
    for item in options:
        place, equals, value = item.partition("=")
        system, dot, key = place.partition(".")
        if not (equals and dot and system and key):
            raise SpecError(f"--option {item!r} is not of the form SYSTEM.KEY=VALUE")
        spec = with_option(spec, system, key, value)
    return spec
