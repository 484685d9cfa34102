"""Recipes: what a file may say, and what is refused in one sentence."""

import math
from pathlib import Path

import pytest
import torch

from rdbench.models.autoencoder import Autoencoder
from rdbench.models.config import RvqConfig
from rdbench.training.objectives import TargetKl
from rdbench.training.recipe import Recipe, load, parse
from rdbench.types import SpecError

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = {"kind": "target_kl", "kbps": 6.0}


def refused(content: dict[str, object]) -> str:
    with pytest.raises(SpecError) as caught:
        parse(content, "recipe.yaml")
    message = str(caught.value)
    assert message.startswith("recipe.yaml")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "benchmarks/recipes").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_recipes_that_ship_are_valid(path: Path) -> None:
    assert load(path)


def test_the_sweep_is_the_one_that_is_shown() -> None:
    recipes = {r.name: r for r in load(REPOSITORY / "benchmarks/recipes/speech_16k.yaml")}
    targets = {
        name: recipe.objective.kbps
        for name, recipe in recipes.items()
        if isinstance(recipe.objective, TargetKl) and name != "base"
    }
    assert targets == {"vae_1k5": 1.5, "vae_3k": 3, "vae_6k": 6, "vae_12k": 12, "vae_24k": 24}
    # 0.5 kbps a codebook of 32 entries at 100 frames a second
    codebooks = {
        name: recipe.model.bottleneck.codebooks
        for name, recipe in recipes.items()
        if isinstance(recipe.model.bottleneck, RvqConfig) and not recipe.model.bottleneck.dropout
    }
    assert {name: count / 2 for name, count in codebooks.items()} == {
        name.replace("vae", "rvq"): kbps for name, kbps in targets.items()
    }
    tuned = [recipe for name, recipe in recipes.items() if name != "base"]
    assert len({(r.steps, r.model.backbone, r.data, r.init_from) for r in tuned}) == 1


def test_stars_two_by_two_differs_in_backbone_and_weights_alone() -> None:
    recipes = {r.name: r for r in load(REPOSITORY / "benchmarks/recipes/star.yaml")}
    compared = [r for r in recipes.values() if isinstance(r, Recipe) and r.init_from]
    assert {(r.model.backbone.kind, _gamma(r)) for r in compared} == {
        ("spectral", 0.0), ("spectral", 0.5), ("spectral", 1.0), ("spectral", 2.0),
        ("spectral", 3.0), ("star", 0.0), ("star", 2.0),
    }  # fmt: skip
    rest = {"name", "init_from", "model", "objective"}
    assert len({r.model_dump_json(exclude=rest) for r in compared}) == 1
    assert len({r.model.bottleneck for r in compared}) == 1
    assert {(r.target_kbps, r.model.frame_rate) for r in compared} == {(6.0, 50.0)}
    assert {r.init_from for r in compared} == {"spectral_base", "star_base"}
    with torch.device("meta"):
        small, large = sorted(Autoencoder(m).parameter_count for m in {r.model for r in compared})
    assert large < 1.2 * small


def _gamma(recipe: Recipe) -> float:
    assert isinstance(recipe.objective, TargetKl)
    return recipe.objective.weights.gamma if recipe.objective.weights else 0.0


def test_the_siblings_of_the_published_setting_have_its_rates_and_its_backbone() -> None:
    recipes = {r.name: r for r in load(REPOSITORY / "benchmarks/recipes/target_kl_48k.yaml")}
    for nats in (80, 160, 320, 640, 1280):
        vae, rvq = recipes[f"kl_{nats}"], recipes[f"rvq_{nats}"]
        assert isinstance(vae, Recipe)
        assert isinstance(rvq, Recipe)
        assert isinstance(vae.objective, TargetKl)
        assert rvq.model.bits_per_frame is not None
        # 40 frames a second; the lowest rate is between 11 and 12 codebooks
        assert vae.objective.kbps == pytest.approx(nats * 40 / math.log(2) / 1000)
        nominal = rvq.model.bits_per_frame * rvq.model.frame_rate / 1000
        assert nominal == pytest.approx(vae.objective.kbps, rel=0.04 if nats == 80 else 0.004)
        alike = [(one.steps, one.data, one.loss.mel, one.model.backbone) for one in (vae, rvq)]
        assert alike[0] == alike[1]


@pytest.mark.parametrize("kbps", [-6.0, 0.0, float("inf"), float("nan")])
def test_a_rate_must_be_positive(kbps: float) -> None:
    objective = {"kind": "target_kl", "kbps": kbps}
    assert "kbps" in refused({"name": "a", "steps": 1, "objective": objective})


def test_zero_channels_have_no_kl() -> None:
    model = {"bottleneck": {"kind": "gaussian", "channels": 0}}
    assert "channels" in refused({"name": "a", "steps": 1, "objective": TARGET, "model": model})


def test_a_target_beyond_the_channels_is_unreachable() -> None:
    model = {"bottleneck": {"kind": "gaussian", "channels": 1}}
    message = refused({"name": "a", "steps": 1, "objective": TARGET, "model": model})
    assert "more than 1 channels can carry" in message


def test_unknown_fields_are_refused() -> None:
    assert "stepz" in refused({"name": "a", "steps": 1, "objective": TARGET, "stepz": 2})


def test_bottleneck_and_objective_must_agree() -> None:
    assert "needs an `objective`" in refused({"name": "a", "steps": 1})
    model = {"bottleneck": {"kind": "rvq"}}
    assert "has no KL" in refused({"name": "a", "steps": 1, "objective": TARGET, "model": model})


def test_stages_override_the_common_fields_and_come_in_order() -> None:
    content = {
        "common": {"steps": 5, "objective": TARGET, "init_from": "base", "loss": {"mel": 3.0}},
        "stages": [
            {"name": "low", "objective": {"kbps": 1.5}, "loss": {"wave": 2.0}},
            {"name": "beta", "objective": {"kind": "beta", "beta": 0.1}},
            {"name": "base", "init_from": None, "steps": 9},
        ],
    }
    base, low, beta = parse(content, "recipe.yaml")
    assert (base.name, base.steps, base.init_from) == ("base", 9, None)
    assert (low.loss.mel, low.loss.wave) == (3.0, 2.0)
    assert low.objective == TargetKl(kbps=1.5)
    assert beta.objective is not None
    assert beta.objective.kind == "beta"


def test_circles_and_twins_are_refused() -> None:
    common = {"steps": 1, "objective": TARGET}
    circle = [{"name": "a", "init_from": "b"}, {"name": "b", "init_from": "a"}]
    assert "circle" in refused({"common": common, "stages": circle})
    assert "two stages" in refused({"common": common, "stages": [{"name": "a"}, {"name": "a"}]})


@pytest.mark.parametrize("text", ["name: [", "- a", "\x00", ""])
def test_what_is_no_recipe_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"recipe\.yaml"):
        load(path)
    with pytest.raises(SpecError, match="cannot be read"):
        load(tmp_path / "nowhere.yaml")
