"""Starting a model from another one's weights.

Tensors of equal name and shape are taken over. A residual quantizer has no counterpart in a
Gaussian model and is fitted to the latents instead, stage by stage: the stage's projection spans
the directions in which the residual is largest against the noise that the Gaussian decoder was
used to (principal components of the residual over the mean σ per channel), and its codebook is
found there by k-means under the cosine distance by which `dac` looks codes up.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from rdbench.models.bottleneck import GaussianBottleneck, RvqBottleneck

if TYPE_CHECKING:
    from rdbench.models.autoencoder import Autoencoder

_LOG = logging.getLogger(__name__)
_ROUNDS = 15


def take_over(model: Autoencoder, source: Autoencoder) -> int:
    """Copies every tensor of `source` that `model` has alike; returns how many."""
    mine = model.state_dict()
    taken = {
        name: value
        for name, value in source.state_dict().items()
        if name in mine and mine[name].shape == value.shape
    }
    model.load_state_dict(taken, strict=False)
    _LOG.info("took %d of %d tensors from the starting weights", len(taken), len(mine))
    return len(taken)


def differing(model: Autoencoder, source: Autoencoder, part: str) -> str:
    """The first tensor of a part of `model` that `source` has not alike; "" where it has all.

    The quantizer is not looked for in a Gaussian source: it is fitted to its latents.
    """
    theirs = source.state_dict()
    fitted = isinstance(source.bottleneck, GaussianBottleneck)
    for name, value in model.state_dict().items():
        own = name.startswith(f"{part}.")
        if fitted and name.startswith("bottleneck.quantizer."):
            continue
        if own and (name not in theirs or theirs[name].shape != value.shape):
            return name
    return ""


@torch.no_grad()
def fit_quantizer(model: Autoencoder, source: Autoencoder, audio: torch.Tensor, seed: int) -> None:
    """Fits the quantizer of `model` to the latents of `source` (Gaussian) on `audio`.

    audio: (clips, channels, time). Does nothing where either model is of another kind.
    """
    target, origin = model.bottleneck, source.bottleneck
    if not isinstance(target, RvqBottleneck) or not isinstance(origin, GaussianBottleneck):
        return
    generator = torch.Generator().manual_seed(seed)
    mean, scale = source.posterior(audio)
    noise = scale.square().mean((0, 2)).sqrt()
    residual = mean.transpose(1, 2).reshape(-1, mean.shape[1])
    for quantizer in target.quantizer.quantizers:
        residual = residual - _fit_stage(quantizer, residual, noise, generator)


def _fit_stage(
    quantizer: nn.Module, residual: torch.Tensor, noise: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Fits one stage to `residual` (frames, channels); returns what the stage makes of it."""
    embedding, width = quantizer.codebook, quantizer.codebook_dim
    assert isinstance(embedding, nn.Embedding)
    assert isinstance(width, int)
    whitened = residual / noise
    _, _, axes = torch.linalg.svd(whitened - whitened.mean(0), full_matrices=False)
    basis = axes[:width]
    offset = whitened.mean(0) @ basis.T
    _set_projection(quantizer.in_proj, basis / noise, -offset)
    _set_projection(quantizer.out_proj, (basis * noise).T, (offset @ basis) * noise)
    projected = whitened @ basis.T - offset
    codebook = _cosine_means(projected, embedding.num_embeddings, generator)
    embedding.weight.copy_(codebook)
    chosen = codebook[_nearest(projected, codebook)]
    made: torch.Tensor = ((chosen + offset) @ basis) * noise
    return made


def _set_projection(layer: object, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Sets a weight-normalised 1×1 convolution to `weight` (out, in) and `bias` (out,)."""
    assert isinstance(layer, nn.Conv1d)
    norm = weight.norm(dim=1).clamp_min(1e-6)
    parts = {"weight_g": norm.reshape(-1, 1, 1), "weight_v": weight.unsqueeze(-1)}
    for name, value in parts.items():
        layer.get_parameter(name).copy_(value)
    assert layer.bias is not None
    layer.bias.copy_(bias)


def _cosine_means(points: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    codebook = points[torch.randperm(len(points), generator=generator)[:count]].clone()
    if len(codebook) < count:
        codebook = codebook.repeat(-(-count // len(codebook)), 1)[:count]
    for _ in range(_ROUNDS):
        nearest = _nearest(points, codebook)
        members = torch.bincount(nearest, minlength=count)
        sums = torch.zeros_like(codebook).index_add_(0, nearest, points)
        means = sums / members.clamp_min(1).unsqueeze(1)
        # A code that nothing chose starts again at a random point.
        fresh = points[torch.randint(len(points), (count,), generator=generator)]
        codebook = torch.where(members.unsqueeze(1) > 0, means, fresh)
    return codebook


def _nearest(points: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    return (F.normalize(points) @ F.normalize(codebook).T).argmax(1)
