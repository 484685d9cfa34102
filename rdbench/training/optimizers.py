"""Optimizers of a model's parameters, and the learning rate over a run.

AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for all, or for what is no matrix, with Muon
(Jordan et al. 2024) for the matrices: momentum, orthogonalised by Newton-Schulz iterations, scaled
so that its update has the RMS of AdamW's (Liu et al. 2025, arXiv 2502.16982). Codebooks of an RVQ
are tables of vectors and no matrices in this sense.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from rdbench.types import RdbenchError

if TYPE_CHECKING:
    from rdbench.training.run_recipe import OptimizerConfig


def optimizers_of(
    model: torch.nn.Module, config: OptimizerConfig, *, scaled: bool = False
) -> list[torch.optim.Optimizer]:
    """AdamW first, then Muon where the recipe asks for it.

    Parameters that need no gradient are in none of them.

    scaled: whether gradients are scaled (16-mixed), which Fabric cannot undo for a fused step.
    Every group has a `factor` on the learning rate. Raises RdbenchError where torch has no Muon.
    """
    matrices, codebooks, rest = split(model, orthogonal=config.kind == "muon")
    groups: list[dict[str, Any]] = [{"params": rest, "factor": 1.0}]
    if codebooks:
        factor = config.codebook_factor
        groups.append({"params": codebooks, "factor": factor, "weight_decay": 0.0})
    adamw = torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=not scaled,
    )
    return [adamw, _muon(matrices, config)] if matrices else [adamw]


def split(
    model: torch.nn.Module, *, orthogonal: bool
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Of what is trained: matrices (none unless to be kept orthogonal), codebooks, the rest."""
    matrices: list[torch.nn.Parameter] = []
    codebooks: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith("codebook.weight"):
            codebooks.append(parameter)
        elif orthogonal and parameter.ndim == 2:
            matrices.append(parameter)
        else:
            rest.append(parameter)
    return matrices, codebooks, rest


def _muon(matrices: Sequence[torch.nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    if not hasattr(torch.optim, "Muon"):
        raise RdbenchError(
            f"torch {torch.__version__} has no Muon; install torch 2.9 or later, or set "
            "`optimizer.kind: adamw`"
        )
    muon: torch.optim.Optimizer = torch.optim.Muon(
        [{"params": matrices, "factor": 1.0}],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return muon


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the rate of every group, times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["factor"] * learning_rate


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of `step` (0-based) in a run of `steps`."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.learning_rate
    share = (step - config.warmup) / max(1, steps - config.warmup)
    fall = 0.5 * (1 + math.cos(math.pi * share)) if config.schedule == "cosine" else 1 - share
    return config.learning_rate * (config.final_share + (1 - config.final_share) * fall)
