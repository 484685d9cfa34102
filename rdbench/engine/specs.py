"""Specs in whatever form a user has them: a name, a file, a mapping."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rdbench.types import SpecError

if TYPE_CHECKING:
    from rdbench.spec.model import BenchmarkSpec

    Spec = BenchmarkSpec | Mapping[str, Any] | str | os.PathLike[str]


def read_spec(
    spec: Spec,
    *,
    data: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    options: Mapping[tuple[str, str], str] | None = None,
) -> BenchmarkSpec:
    """Reads and validates a spec.

    Args:
        spec: the path of a YAML file, the name of a spec that comes with rdbench (`rdbench specs`
            lists them), what such a file would say as a mapping, or a spec that was read already.
        data: a folder of clips, or a manifest, in place of the spec's own.
        limit: a sample of at most this many clips, as `corpus.sample` of a spec draws it.
        options: options of codecs and metrics that replace those of the spec, by the name of the
            system or the key of the metric, and key: the text that would stand in the spec, where a
            path starts in the current folder.

    Raises:
        SpecError: one sentence with what is wrong and the nearest valid name.

    >>> spec = read_spec("quick", limit=2)
    >>> spec.name, spec.corpus.sample.clips
    ('quick', 2)
    """
    from rdbench.codecs.registry import names
    from rdbench.metrics.registry import keys
    from rdbench.spec.load import load_spec, make_spec, with_data, with_limit, with_option
    from rdbench.spec.model import BenchmarkSpec

    known: dict[str, Any] = {"metric_keys": keys(), "codec_names": names()}
    if isinstance(spec, BenchmarkSpec):
        found = spec if data is None else with_data(spec, data)
    elif isinstance(spec, Mapping):
        found = make_spec(spec, data=data, **known)
    elif isinstance(spec, str | os.PathLike):
        found = load_spec(spec, data=data, **known)
    else:
        raise SpecError(
            f"a spec is a path, a name or a mapping, and not {type(spec).__name__}; give one"
        )
    if limit is not None:
        found = with_limit(found, limit)
    for (name, key), value in (options or {}).items():
        found = with_option(found, name, key, value)
    return found
