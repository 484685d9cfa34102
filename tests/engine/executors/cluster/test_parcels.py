"""What travels has the paths that its files have where it arrives."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from rdbench.engine.executors.cluster.parcels import Parcel, Roots, pack
from rdbench.engine.plan.metrics import Metric
from rdbench.engine.plan.systems import CodecRecipe


def arrived(thing: Any, places: dict[str, str], roots: Roots = Roots()) -> Any:  # noqa: B008
    payload, _ = pack(thing)
    return pickle.loads(pickle.dumps(Parcel(payload, places, roots)))


def test_paths_become_those_of_the_same_files(tmp_path: Path) -> None:
    clip, code = tmp_path / "a.wav", tmp_path / "code.py"
    code.touch()
    thing = {"clip": clip, "files": {code: "hash"}, "names": ["a.wav", str(clip)]}
    found = arrived(thing, {str(clip): "/cache/a.wav"})
    assert found == thing | {"clip": Path("/cache/a.wav")}


def test_a_file_that_an_option_names_is_found_again(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.touch()
    options = json.dumps({"weights": str(weights), "also": [str(weights), 3], "name": "model"})
    recipe = CodecRecipe("vae", (1.0,), options, allow_code=False)
    metric = Metric("mos", options=options)
    _, named = pack((recipe, metric))
    assert named == {str(weights)}
    places = {str(weights): "/cache/0.safetensors"}
    for before, after in zip((recipe, metric), arrived((recipe, metric), places), strict=True):
        assert json.loads(after.options) == {
            "weights": "/cache/0.safetensors", "also": ["/cache/0.safetensors", 3], "name": "model",
        }  # fmt: skip
        assert type(after) is type(before)
    assert arrived(recipe, {}) == recipe


def test_a_folder_may_lie_elsewhere_on_the_other_side(tmp_path: Path) -> None:
    roots = Roots("/their/data", str(tmp_path))
    latents = Path("/their/data/latents/a.npy")
    assert arrived(latents, {}, roots) == tmp_path / "latents" / "a.npy"
    assert arrived(Path("/their/database"), {}, roots) == Path("/their/database")
    assert arrived(tmp_path, {}, Roots(str(tmp_path.parent), "/elsewhere")) == tmp_path
