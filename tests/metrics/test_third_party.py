"""A package adds a metric by an entry point, and is answered in one sentence where it is wrong."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rdbench.engine.plan.metrics import resolve_metrics
from rdbench.metrics import registry
from rdbench.metrics.base import PoolBackend
from rdbench.metrics.registry import backend, backend_names, definition, keys
from rdbench.spec.load import load_spec, make_spec
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
    registry._of_module.cache_clear()


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


BESIDE = """
from dataclasses import replace

import third_party_metric
from rdbench.metrics.remembered import remembered

runs = []

@remembered
def both(samples):
    runs.append(len(samples))
    return {"least": float(samples.min()), "most": float(samples.max())}

class Least(third_party_metric.Half):
    definition, which = third_party_metric.DEFINITIONS[0], "least"

    def score(self, prepared, *, reconstruction, sample_rate):
        return third_party_metric.Score(both(reconstruction)[self.which])

class Most(Least):
    definition, which = replace(Least.definition, name="Most"), "most"

class Unsaid(third_party_metric.Half):
    pass
"""


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[ModuleType]:
    (tmp_path / "beside_a_spec.py").write_text(BESIDE)
    yield importlib.import_module("beside_a_spec")
    sys.modules.pop("beside_a_spec", None)


def test_a_class_beside_a_spec_is_a_metric_of_that_name(beside: ModuleType) -> None:
    assert definition("beside_a_spec:Most").key == "beside_a_spec:Most"
    assert definition("beside_a_spec:Most").name == "Most"
    assert backend_names("beside_a_spec:Most") == ["numpy"]
    built = backend("beside_a_spec:Most")
    assert built.source
    assert Path(str(beside.__file__)) in built.files, "edited, it is measured again"


def test_a_class_that_was_edited_and_reloaded_is_another_metric(
    beside: ModuleType, tmp_path: Path
) -> None:
    content = {"corpus": {"kind": "embedded"}, "protocol": {"sample_rate": 16000}, "name": "s"}
    chosen = {"metrics": ["beside_a_spec:Most"], "systems": [{"codec": "identity"}]}
    spec = make_spec(content | chosen)
    (before,) = resolve_metrics(spec, "speech", allow_code=True)
    assert resolve_metrics(spec, "speech", allow_code=True) == (before,)
    known = before.identity()
    source = tmp_path / "beside_a_spec.py"
    source.write_text(BESIDE.replace('name="Most"', 'name="Edited"'))
    importlib.reload(beside)
    (after,) = resolve_metrics(spec, "speech", allow_code=True)
    assert after.identity() != known
    assert after.files != before.files
    assert after.definition.name == "Edited"
    assert type(after.backend) is beside.Most


def test_a_model_with_several_scores_runs_once_for_each_signal(beside: ModuleType) -> None:
    chosen = [backend(f"beside_a_spec:{name}") for name in ("Least", "Most")]
    signals = [np.linspace(-0.5, top, 100, dtype=np.float32) for top in (0.25, 0.75)]
    scores = [
        one.score(None, reconstruction=signal, sample_rate=8000).value
        for signal in signals
        for one in chosen
        if isinstance(one, PoolBackend)
    ]
    assert scores == [-0.5, 0.25, -0.5, 0.75]
    assert beside.runs == [100, 100]


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("beside_a_spec:Mots", "beside_a_spec has no 'Mots'; did you mean 'Most'"),
        ("no_such_module:Most", "looks beside the spec, in the current folder"),
        ("beside_a_spec:both", "both is no metric; derive it from PoolBackend"),
        ("beside_a_spec:Unsaid", "has no MetricDefinition as its attribute `definition`"),
    ],
)
def test_a_class_that_is_no_metric_is_told_what_it_lacks(
    beside: ModuleType, key: str, sentence: str
) -> None:
    with pytest.raises(SpecError, match=sentence):
        definition(key)
    with pytest.raises(SpecError, match=sentence):
        backend(key)


def test_what_its_code_raises_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "raises_at_import.py").write_text("raise ValueError('no model here')")
    with pytest.raises(SpecError, match=r"raises_at_import raised ValueError .*no model here"):
        definition("raises_at_import:Metric")
    (tmp_path / "raises_when_built.py").write_text(
        BESIDE + "\nclass Fragile(Most):\n"
        "    def __init__(self):\n        raise ValueError('no weights')\n"
    )
    with pytest.raises(SpecError, match=r"cannot be built \(ValueError: no weights\)"):
        backend("raises_when_built:Fragile")


def test_a_class_is_imported_with_permission_alone(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        "name: own\ncorpus: {kind: embedded}\nprotocol: {sample_rate: 16000}\n"
        "metrics: {default: ['beside_a_spec:Most']}\nsystems: [{codec: identity}]\n"
    )
    (tmp_path / "beside_a_spec.py").write_text("raise SystemExit('was imported')")
    spec = load_spec(path, metric_keys=keys(), codec_names=["identity"])
    with pytest.raises(SpecError, match="is Python code that would be run; add --allow-code"):
        resolve_metrics(spec, "speech")
