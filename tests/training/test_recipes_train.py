"""Every recipe of benchmarks/recipes trains: one step of each kind of stage, of a model made small.

`pytest tests/training/test_recipes_train.py` from a fresh clone runs all of them.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from rdbench.audio.clip import Corpus
from rdbench.models import checkpoint
from rdbench.training.recipe import Recipe, load
from rdbench.training.run import train_file

RECIPES = sorted((Path(__file__).resolve().parents[2] / "benchmarks" / "recipes").glob("*.yaml"))
NO_LIMIT = 1e9
SMALL: dict[str, Any] = {
    "width": 8, "encoder_layers": 1, "decoder_layers": 1, "layers": 1, "heads": 1,
    "encoder_width": 2, "decoder_width": 16, "features": 8, "codebook_size": 4, "state": 2,
}  # fmt: skip


def small(recipe: Any) -> dict[str, Any]:
    """A recipe with its kinds and none of its sizes."""
    content: dict[str, Any] = recipe.model_dump(mode="json")
    content |= {"steps": 1, "precision": "32-true"}
    content["data"] |= {"seconds": 0.25, "batch": 1}
    parts = content["model"]
    for part in (parts, parts.get("backbone", {}), parts.get("bottleneck", {})):
        part.update((key, value) for key, value in SMALL.items() if key in part)
        if "widths" in part:
            part["widths"] = [2] * len(part["widths"])
    if content.get("adversarial"):
        content["adversarial"] |= {"periods": [2], "fft_sizes": [128], "start": 0}
    if content.get("gate"):
        most = dict.fromkeys(content["gate"]["at_most"], NO_LIMIT)
        content["gate"] = {"kbps_within": NO_LIMIT if recipe.target_kbps else None,
                           "at_most": most, "crops": 2}  # fmt: skip
    if "codec" in content:
        content["codec"] = "vae_6k"
    return content


def kind(value: Any, key: str = "") -> Any:
    """What two stages have in common that differ in names and numbers alone."""
    if isinstance(value, dict):
        return {key: kind(part, key) for key, part in value.items()}
    return 0 if isinstance(value, int | float) or key in ("name", "codec") else value


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_kind_of_stage_trains_and_its_checkpoint_loads(
    path: Path, corpus: Corpus, tmp_path: Path
) -> None:
    recipes = load(path)
    bases = {recipe.after for recipe in recipes}
    stages = {}
    for recipe in recipes:
        content = small(recipe)
        key = recipe.name if recipe.name in bases else json.dumps(kind(content))
        stages.setdefault(key, content)
    cut = tmp_path / "recipe.yaml"
    cut.write_text(json.dumps({"stages": [*stages.values()]}))
    data = str(corpus.clips[0].path.parent)
    outcomes = train_file(cut, out=tmp_path / "out", data=data, accelerator="cpu")
    assert list(outcomes) == [stage["name"] for stage in stages.values()]
    for recipe in load(cut):
        weights = outcomes[recipe.name].weights
        assert weights is not None
        if isinstance(recipe, Recipe):
            _, header = checkpoint.load(weights)
            assert Recipe.model_validate(header.provenance["recipe"]) == recipe
