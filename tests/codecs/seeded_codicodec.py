"""CoDiCodec with seeded weights in the layout in which its authors publish, and narrower layers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from rdbench.codecs.neural import codicodec

# The package has the sizes of its one model as constants; layers are narrower and fewer here.
NARROW = {
    "dim": 32,
    "heads": 2,
    "cond_channels": 16,
    "num_layers": 1,
    "num_layers_encoder": 1,
    "frontend_base_channels": 8,
    "frontend_multipliers_list": [1, 1, 2, 4],
    "frontend_layers_list": [1, 1, 1, 1],
    "frontend_encoder_layers_list": [1, 1, 1, 1],
}


def narrow_models(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package's module of the model, whose layers are narrow."""
    package = codicodec._package("codicodec")
    for name, value in NARROW.items():
        monkeypatch.setattr(package, name, value)
    return package


def save(folder: Path, models: ModuleType) -> Path:
    """Writes codicodec.pt into a folder, and returns the folder."""
    torch.manual_seed(1)
    model = models.UNet()
    with torch.no_grad():  # much of a new model is zeros
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    torch.save({"gen_state_dict": model.state_dict(), "it": 3}, folder / "codicodec.pt")
    return folder


def inference_in_float32(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package's module of inference, which would compute in float16, on a CPU, too."""
    settings = (torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32)
    from codicodec import inference, utils

    torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32 = settings
    monkeypatch.setattr(utils, "mixed_precision", False)
    return inference


def trainer_of(folder: Path, models: ModuleType) -> SimpleNamespace:
    """What the package's functions take as their model."""
    trainer = SimpleNamespace(gen=models.UNet())
    content = torch.load(folder / "codicodec.pt", weights_only=True)
    trainer.gen.load_state_dict(content["gen_state_dict"])
    return trainer
