"""Every metric can be called by hand: as a function of rdbench, or as the package it stands for."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

import rdbench
from rdbench.metrics.registry import FAMILIES, backend_names, definition
from rdbench.metrics.sets.distances import PARTS
from rdbench.types import Score, SpecError, Status

RATE = 16_000


def functions() -> dict[str, Callable[..., Score]]:
    """By key, the public function whose documentation begins with it."""
    modules = [*FAMILIES, "rdbench.metrics.sets.frechet", "rdbench.metrics.sets.kernel"]
    found = {}
    for name in modules:
        module = importlib.import_module(name)
        for member, value in vars(module).items():
            public = inspect.isfunction(value) and value.__module__ == name
            if public and not member.startswith("_"):
                first = (value.__doc__ or "").partition(": ")[0]
                if not first.startswith("`"):
                    continue
                found |= dict.fromkeys(re.findall(r"`([\w…]+)`", first), value)
    return found


@pytest.mark.parametrize("key", [key for family in FAMILIES.values() for key in family])
def test_a_metric_names_its_function_or_the_package_or_model_that_it_stands_for(key: str) -> None:
    meant = definition(key)
    if key in PARTS:
        made = functions()[f"{PARTS[key][0].name}_…"]
        assert {"reference", "reconstruction"} <= inspect.signature(made).parameters.keys()
    elif meant.needs_model or "package" in meant.citation or "reference" in backend_names(key):
        assert meant.citation
    else:
        made = functions()[key]
        given = inspect.signature(made).parameters.values()
        assert {one.kind for one in given} == {inspect.Parameter.KEYWORD_ONLY}
        assert inspect.signature(made).return_annotation == "Score"


def test_functions_give_what_rdbench_score_does() -> None:
    generator = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20)) * (time > 0.4)
    clean = 0.1 * np.stack([voice, 0.5 * voice]) + 0.0005 * generator.standard_normal((2, RATE))
    worse = clean + 0.002 * generator.standard_normal(clean.shape)
    found = {
        key: made
        for key, made in functions().items()
        if "…" not in key and not definition(key).needs_alignment
        and definition(key).sample_rate in (None, RATE)
    }  # fmt: skip
    assert len(found) == 14
    table = rdbench.score(
        reference=clean, reconstruction=worse, sample_rate=RATE, metrics=[*found]
    ).set_index("key")["value"]
    for key, made in found.items():
        wanted = inspect.signature(made).parameters
        given = {"reference": clean, "reconstruction": torch.from_numpy(worse), "sample_rate": RATE}
        score = made(**{name: given[name] for name in wanted})
        assert score.status is Status.OK
        assert score.value == pytest.approx(table[key], rel=1e-6), key


def test_what_has_no_score_says_why_and_what_is_no_clip_is_refused() -> None:
    from rdbench.metrics.signal.snr import si_sdr
    from rdbench.metrics.signal.true_peak import true_peak

    silent = si_sdr(reference=np.zeros(100), reconstruction=np.ones(100))
    assert (silent.status, silent.reason) == (Status.UNDEFINED, "the reference is silent")
    with pytest.raises(SpecError, match="reference holds 2 clips; give one, or all to"):
        si_sdr(reference=np.zeros((2, 1, 9)), reconstruction=np.zeros(9))
    with pytest.raises(ValueError, match="differ in"):
        si_sdr(reference=np.zeros(9), reconstruction=np.zeros(8))
    with pytest.raises(SpecError, match="sample_rate is 0; give whole hertz"):
        true_peak(reconstruction=np.zeros(9), sample_rate=0)
