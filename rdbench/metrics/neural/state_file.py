"""Networks of packages whose weights are one file of tensors, as `torch.save` writes it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from rdbench.weights.checkpoints import load_strict, read_checkpoint
from rdbench.weights.configs import build_bounded

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from rdbench.weights.checkpoints import Checkpoint

PRETRAINING = ("mask_emb", "quantizer", "project_q", "final_proj", "target_glu", "input_quantizer")
"""Parts of fairseq's wav2vec 2.0 that only its training uses; files may hold them."""


def filled(
    build: Callable[[], torch.nn.Module],
    path: Path,
    *,
    named: str,
    under: str = "state_dict",
    surplus: Collection[str] = (),
) -> torch.nn.Module:
    """The model that `build` makes, with every tensor of the file and no other.

    under: where files may hold the tensors beside other things. surplus: parts of names, between
    dots, of tensors that they may hold and the model has not.
    Raises WeightsError for a file that is damaged or of another model.
    """
    model = build_bounded(build, path, codec=named)
    return fill(model, path, named=named, under=under, surplus=surplus)


def fill(
    model: torch.nn.Module,
    path: Path,
    *,
    named: str,
    under: str = "state_dict",
    surplus: Collection[str] = (),
) -> torch.nn.Module:
    """The same of a model that is there."""
    checkpoint = _without(read_checkpoint(path, under), surplus, model)
    load_strict(model, checkpoint, codec=named)
    return model


def _without(
    checkpoint: Checkpoint, surplus: Collection[str], model: torch.nn.Module
) -> Checkpoint:
    known = set(model.state_dict())
    state = {
        name: tensor
        for name, tensor in checkpoint.state.items()
        if name in known or not set(name.split(".")).intersection(surplus)
    }
    return replace(checkpoint, state=state)
