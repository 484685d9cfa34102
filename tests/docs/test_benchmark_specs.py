"""Every spec that comes with rdbench can be run as it stands, by its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rdbench.codecs.registry import names
from rdbench.metrics.registry import keys
from rdbench.models import shipped as checkpoints
from rdbench.spec import shipped
from rdbench.spec.load import load_spec
from rdbench.training.loop import WEIGHTS
from rdbench.training.recipe import Recipe, load

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


def test_the_systems_that_wait_for_the_music_models_name_the_stages_of_their_recipe(
    tmp_path: Path,
) -> None:
    text = (shipped.FOLDER / "music_44k.yaml").read_text(encoding="utf-8")
    path = tmp_path / "music_44k.yaml"
    path.write_text(re.sub(r"^  # - \{codec", "  - {codec", text, flags=re.M), encoding="utf-8")
    spec = load_spec(path, metric_keys=keys(), codec_names=names())
    waiting = {s.name: s.options["weights"] for s in spec.systems if s.codec == "vae"}
    folder = Path(__file__).resolve().parents[2] / "benchmarks" / "recipes"
    stages = [one for one in load(folder / "music_44k.yaml") if isinstance(one, Recipe)]
    assert waiting == {
        one.name: f"./runs/music_44k/{one.name}/{WEIGHTS}" for one in stages if one.init_from
    }
    assert spec.protocol.sample_rate == {"default": stages[0].model.sample_rate}
