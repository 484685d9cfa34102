"""Training runs of a fraction of a second: a recipe, what is left of a run, and a sudden end."""

from pathlib import Path

import pytest
import torch

from rdbench.models import checkpoint
from rdbench.training.data import CropData
from rdbench.training.loop import STATE
from rdbench.training.recipe import Recipe

RATE = 8000
GAUSSIAN = {"kind": "gaussian", "channels": 4}
RVQ = {
    "kind": "rvq",
    "channels": 4,
    "codebooks": 3,
    "codebook_size": 4,
    "codebook_dim": 2,
    "dropout": 0.5,
}
TWO_LEVELS = {"kind": "vq", "channels": 4, "codebook_size": 4, "top_stride": 2}


def recipe(bottleneck: dict[str, object] = GAUSSIAN, **fields: object) -> Recipe:
    values: dict[str, object] = {
        "name": "tiny",
        "steps": 50,
        "seed": 3,
        "model": {
            "sample_rate": RATE,
            "backbone": {
                "kind": "spectral",
                "hop": 40,
                "width": 8,
                "encoder_layers": 1,
                "decoder_layers": 1,
            },
            "bottleneck": bottleneck,
        },
        "data": {"seconds": 0.1, "batch": 2},
        "loss": {"windows": [64, 128], "mels": [8, 16], "windows_per_step": 1},
        "passthrough": 0.0 if bottleneck is TWO_LEVELS else 0.25,
        "save_every": 20,
        "log_every": 10,
    }
    if bottleneck["kind"] == "gaussian":
        values["objective"] = {"kind": "target_kl", "kbps": 2.0, "multiplier": 0.01}
    return Recipe.model_validate(values | fields)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(path)[0].state_dict())


def state(out: Path) -> dict[str, torch.Tensor]:
    content = torch.load(out / STATE, weights_only=True)
    return dict(content["model"])


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


class Killed(Exception):
    """Stands for SIGKILL: nothing is tidied up."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    draw = CropData.batch

    def batch(self: CropData, **where: int) -> torch.Tensor:
        if where["step"] == step:
            raise Killed
        return draw(self, **where)

    monkeypatch.setattr(CropData, "batch", batch)
