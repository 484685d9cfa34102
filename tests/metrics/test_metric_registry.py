"""What a user sees of the registry: complete definitions, near keys, and light imports."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from rdbench.metrics.base import Backend, Direction
from rdbench.metrics.registry import FAMILIES, backend, definition, keys
from rdbench.types import SpecError


@pytest.mark.parametrize("key", keys())
def test_every_key_has_a_complete_definition_and_a_backend(key: str) -> None:
    found = definition(key)
    assert found.key == key
    assert found.name
    assert found.definition
    assert found.lower < found.upper
    best = found.upper if found.direction is Direction.HIGHER else found.lower
    assert math.isnan(found.identity) or abs(found.identity) <= abs(best)
    without = ("stoi", "estoi", "mel", "stft", "stereo_correlation", "speaker", "kernel")
    assert found.unit or found.needs_model or key.startswith(without)
    assert found.minimum_seconds >= 0
    assert not found.needs_model or "weights" in found.options
    if found.needs_model:
        with pytest.raises(SpecError, match=r"needs? the option weights"):
            backend(key)
        return
    default = backend(key)
    assert isinstance(default, Backend)
    assert default.name
    assert default.version
    assert default.tolerance >= 0
    assert backend(key, default.name) is not None


def test_keys_are_unique_and_no_family_defines_more_than_it_lists() -> None:
    import importlib

    assert len(keys()) == len(set(keys()))
    for module, family in FAMILIES.items():
        defined = [item.key for item in importlib.import_module(module).DEFINITIONS]
        assert sorted(defined) == sorted(family)


def test_only_speech_is_routed_to_speech_metrics() -> None:
    known = {key: definition(key) for key in keys()}
    routed = {
        key for key, one in known.items() if one.domains == ("speech",) and not one.needs_model
    }
    assert routed == {
        "pesq_wb",
        "pesq_nb",
        "stoi",
        "estoi",
        "visqol_speech",
        "visqol_speech_exponential",
        "lf0_rmse",
        "voicing_error",
        "mcd",
        "distill_mos",
        "dnsmos_ovrl",
        "dnsmos_sig",
        "dnsmos_bak",
        "dnsmos_p808",
        "plcmos",
        "speaker_resemblyzer",
    }
    others = [one for key, one in known.items() if key not in routed and not one.needs_model]
    assert all(one.domains == () for one in others)


def test_an_unknown_key_or_backend_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'pesq_wb'"):
        definition("pesq-wb")
    with pytest.raises(SpecError, match="did you mean 'si_sdr'"):
        backend("sisdr")
    with pytest.raises(SpecError, match="no backend 'gpu'"):
        backend("snr", "gpu")


def run_python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_definitions_load_without_any_heavy_package() -> None:
    program = """
import sys
from rdbench.metrics.registry import definition, keys
[definition(key) for key in keys()]
heavy = {"torch", "numpy", "scipy", "transformers", "pesq", "pystoi", "visqol", "pyworld"}
heavy.add("onnxruntime")
print(sorted(heavy & set(sys.modules)))
"""
    assert run_python(program).strip() == "[]"


def test_a_pool_worker_scores_without_importing_torch() -> None:
    program = """
import sys
import numpy as np
from rdbench.metrics.registry import backend, definition
noise = np.random.default_rng(0).standard_normal(48000).astype(np.float32)
for key in ("pesq_wb", "pesq_nb", "stoi", "estoi", "visqol_audio", "visqol_speech"):
    metric = backend(key, "reference")
    metric.warm_up()
    rate = definition(key).sample_rate or 16000
    prepared = metric.prepare(noise, rate)
    print(metric.score(prepared, reconstruction=noise, sample_rate=rate).status)
print("torch" in sys.modules)
"""
    assert run_python(program).split() == ["ok"] * 6 + ["False"]
