"""Every spec that comes with rdbench can be run as it stands, by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdbench.codecs.registry import names
from rdbench.metrics.registry import keys
from rdbench.models import shipped as checkpoints
from rdbench.spec import shipped
from rdbench.spec.load import load_spec

BENCHMARKS = sorted(shipped.FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_benchmark_is_a_valid_spec_under_its_own_name(path: Path) -> None:
    spec = load_spec(path, metric_keys=keys(), codec_names=names())
    assert spec.name == path.stem
    assert {system.codec for system in spec.systems} <= set(names())


def test_like_stands_beside_like_on_speech() -> None:
    """A VAE for each rate was held against one RVQ of nested rates, and Opus had one setting."""
    path = shipped.FOLDER / "speech_16k.yaml"
    systems = load_spec(path, metric_keys=keys(), codec_names=names()).systems
    weights = {
        curve: [system.options["weights"] for system in systems if system.curve == curve]
        for curve in ("vae", "rvq")
    }
    assert len(weights["vae"]) == 5
    assert weights["rvq"] == [name.replace("vae", "rvq") for name in weights["vae"]]
    assert set(weights["vae"] + weights["rvq"]) <= set(checkpoints.names())
    opus = {s.label: s for s in systems if s.codec == "opus"}
    assert {label: (s.options.get("application"), s.options.get("frame_duration"))
            for label, s in opus.items()} == {
        "Opus audio 20 ms": (None, None), "Opus voip 40 ms": ("voip", 40),
    }  # fmt: skip
    assert {s.points for s in opus.values()} == {(6, 8, 10, 12, 16, 20, 24, 32)}
