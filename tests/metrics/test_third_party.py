"""A package adds a metric by an entry point, and is answered in one sentence where it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rdbench.metrics import registry
from rdbench.metrics.registry import backend, backend_names, definition, keys
from rdbench.types import SpecError

MODULE = """
from rdbench.metrics.base import Direction, MetricDefinition, PoolBackend
from rdbench.types import Score

DEFINITIONS = (
    MetricDefinition("constant", 1, "Constant", "", Direction.HIGHER, 0.0, 1.0, 0.5, (), None,
                     0.0, False, "always one half"),
)

class Half(PoolBackend):
    name, version, tolerance = "numpy", "1", 0.0

    def score(self, prepared, *, reconstruction, sample_rate):
        return Score(0.5)

def backends(key):
    return {"numpy": Half} if key == "constant" else {}
"""
ENTRIES = """[rdbench.metrics]
constant = third_party_metric
undefined_key = third_party_metric
missing = no_such_module
snr = third_party_metric
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    info = tmp_path / "third_party-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "third_party_metric.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    registry.definition.cache_clear()


def test_it_is_listed_defined_and_computed_like_any_other() -> None:
    assert {"constant", "si_sdr"} <= set(keys())
    assert len(keys()) == len(set(keys()))
    assert definition("constant").name == "Constant"
    assert backend_names("constant") == ["numpy"]
    assert backend("constant").name == "numpy"


def test_a_key_of_rdbench_stays_what_it_is() -> None:
    assert definition("snr").name == "SNR"
    assert backend_names("snr") == ["torch"]


def test_what_a_package_gets_wrong_is_one_sentence_that_names_it() -> None:
    with pytest.raises(SpecError, match="third_party_metric has no MetricDefinition of this key"):
        definition("undefined_key")
    with pytest.raises(SpecError, match="third_party_metric has no backend of this key"):
        backend("undefined_key")
    with pytest.raises(SpecError, match="'missing' cannot be imported from 'no_such_module'"):
        definition("missing")
    with pytest.raises(SpecError, match="did you mean 'constant'"):
        definition("constan")
