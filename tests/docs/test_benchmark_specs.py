"""Every spec in benchmarks/ can be run as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_sandbox import ROOT

from rdbench.codecs.registry import names
from rdbench.metrics.registry import keys
from rdbench.spec.load import load_spec

BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.yaml"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_benchmark_is_a_valid_spec_under_its_own_name(path: Path) -> None:
    spec = load_spec(path, metric_keys=keys(), codec_names=names())
    assert spec.name == path.stem
    assert {system.codec for system in spec.systems} <= set(names())
