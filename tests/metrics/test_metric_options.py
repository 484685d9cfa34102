"""Options of a metric, a model file among them, and what they add to its identity."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdbench.metrics import registry
from rdbench.metrics.base import PoolBackend
from rdbench.metrics.registry import backend
from rdbench.types import RunsOn, SpecError

MODULE = """
from pathlib import Path
from rdbench.metrics.base import (
    Direction, MetricDefinition, PoolBackend, Scope, SetBackend
)
from rdbench.types import Score
from helper_of_metric import BASE

def meant(key, scope, options=()):
    return MetricDefinition(key, 1, key, "", Direction.HIGHER, 0.0, 1.0, 0.5, (), None, 0.0, False,
                            "a number from a file", scope=scope, options=options)

DEFINITIONS = (
    meant("from_file", Scope.CLIP_ALONE, ("weights", "scale")),
    meant("wrong_kind", Scope.SET),
)

class FromFile(PoolBackend):
    name, version, tolerance = "numpy", "1", 0.0

    def __init__(self, weights, scale=1.0):
        self.number = BASE + scale * float(Path(weights).read_text())

    def score(self, prepared, *, reconstruction, sample_rate):
        assert prepared is None
        return Score(self.number)

class Half(PoolBackend):
    name, version, tolerance = "numpy", "1", 0.0

    def score(self, prepared, *, reconstruction, sample_rate):
        return Score(0.5)

def backends(key):
    return {"numpy": FromFile if key == "from_file" else Half}
"""
ENTRIES = """[rdbench.metrics]
from_file = metric_with_model
wrong_kind = metric_with_model
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    info = tmp_path / "with_model-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: with-model\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "metric_with_model.py").write_text(MODULE)
    (tmp_path / "helper_of_metric.py").write_text("BASE = 0.0\n")
    (tmp_path / "model.txt").write_text("0.25")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    registry._of_module.cache_clear()
    for module in ("metric_with_model", "helper_of_metric"):
        sys.modules.pop(module, None)


def test_a_backend_is_built_with_its_options_and_says_so(package: Path) -> None:
    path = str(package / "model.txt")
    metric = backend("from_file", options={"weights": path, "scale": 2})
    assert isinstance(metric, PoolBackend)
    assert metric.score(None, reconstruction=None, sample_rate=16000).value == 0.5
    assert dict(metric.options) == {"weights": path, "scale": 2}
    assert metric.model_sha256 == hashlib.sha256(b"0.25").hexdigest()
    assert metric.runs_on is RunsOn.POOL
    assert backend("from_file", "numpy", {"scale": 2, "weights": path}) is metric
    assert backend("from_file", options={"weights": path}) is not metric


def test_another_model_at_the_same_path_is_another_backend(package: Path) -> None:
    path = package / "model.txt"
    options = {"weights": str(path)}
    before = backend("from_file", options=options)
    path.write_text("0.75")
    os.utime(path, ns=(1, 1))
    after = backend("from_file", options=options)
    assert after.model_sha256 != before.model_sha256


def test_what_is_wrong_with_options_is_one_sentence(package: Path) -> None:
    with pytest.raises(SpecError, match="'from_file' has no option 'weight'; did you mean 'weigh"):
        backend("from_file", options={"weight": "x"})
    with pytest.raises(SpecError, match="'snr' has no option 'scale'; it takes: none"):
        backend("snr", options={"scale": 1})
    with pytest.raises(SpecError, match=r"there is no model file .*none.txt; give its path in the"):
        backend("from_file", options={"weights": str(package / "none.txt")})


def test_a_set_is_scored_by_a_set_backend_and_nothing_else() -> None:
    with pytest.raises(SpecError, match="'wrong_kind': its scope is 'set', and its backend"):
        backend("wrong_kind")


def source(folder: Path) -> str:
    program = (
        "from rdbench.metrics.registry import backend;"
        "print(backend('from_file', options={'weights': 'model.txt'}).source)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_an_edited_metric_of_a_package_is_another(package: Path) -> None:
    before = source(package)
    assert before == source(package)
    for name in ("metric_with_model.py", "helper_of_metric.py"):
        changed = package / name
        changed.write_text(changed.read_text() + "\n")
        assert source(package) != before
        before = source(package)


def test_metrics_of_rdbench_have_versions_instead() -> None:
    assert backend("snr").source == ()
    assert backend("snr").model_sha256 == ""
    assert dict(backend("snr").options) == {}
