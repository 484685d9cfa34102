"""Which term of a loss moves the encoder: the norm of each term's gradient by itself.

For the terms L_i of a loss L = Σ L_i and the encoder's parameters θ the norms ‖∂L_i/∂θ‖ and
‖∂L/∂θ‖. Gradients add, norms do not: where the total is much smaller than its parts, terms pull
against each other. Of several devices these are the first one's, on its share of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch


def gradients_of(
    terms: Mapping[str, torch.Tensor], parameters: Sequence[torch.nn.Parameter]
) -> dict[str, torch.Tensor]:
    """The gradient of each term (a scalar), its parts joined to one vector, float32.

    The graph stays, for the backward pass of their sum; no parameter's `grad` is touched. A term
    that does not depend on the parameters has a gradient of zeros.
    """
    found = {}
    for name, term in terms.items():
        parts: Sequence[torch.Tensor | None] = [None] * len(parameters)
        if term.requires_grad:
            parts = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        whole = [
            torch.zeros_like(parameter) if part is None else part
            for part, parameter in zip(parts, parameters, strict=True)
        ]
        found[name] = torch.cat([part.detach().float().flatten() for part in whole])
    return found


def gradient_norms(
    terms: Mapping[str, torch.Tensor], parameters: Sequence[torch.nn.Parameter]
) -> dict[str, float]:
    """‖∂L_i/∂θ‖ by term, and that of their sum as `total`."""
    gradients = gradients_of(terms, parameters)
    total = torch.stack([*gradients.values()]).sum(0)
    return {name: float(value.norm()) for name, value in {**gradients, "total": total}.items()}
