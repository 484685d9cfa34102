"""Selective state spaces over the frames of a latent: the scan, and a layer that runs it both ways.

S6, the layer of Mamba (Gu & Dao 2023, arXiv 2312.00752). Each of `width` channels has `state`
hidden numbers, and what is kept and taken up depends on the input:

    h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t u_t,   y_t = C_t · h_t,   h_0 = 0

A < 0 is learnt, diagonal, and the same at every frame; Δ_t > 0, B_t and C_t are projections of the
input. A step (a, b) of the recurrence h ← a h + b and the one after it are again one step,
(a₂ a₁, a₂ b₁ + b₂), so that a chunk of frames is done in log₂ of its length rounds, each of all
frames at once (Hillis & Steele 1986), and the state goes on to the next chunk. Nothing is divided
and no exponent is positive: where cumulative sums of logarithms would overflow under a strong
decay, products of numbers below 1 go to zero, which is what they are.

A state reaches from the first frame to the last, in both directions together to every frame from
every other. Clips of unequal length in one batch would see each other's padding: what evaluates a
model must put clips of one length together (`rdbench.codecs.batches.by_length`).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

CHUNK = 64
"""Frames at once: the memory of a scan is that of one chunk, `state` times that of its input."""
_KERNEL = 4
_CHANNELS_PER_RANK = 16
_STEPS = (1e-3, 0.1)
"""Between these lies Δ before training: a memory of ten to a thousand frames."""


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    *,
    chunk: int = CHUNK,
) -> torch.Tensor:
    """Y (clips, frames, width) of the recurrence above, from a state of zero.

    u, delta: (clips, frames, width), delta ≥ 0. a: (width, state), below 0. b, c: (clips, frames,
    state). chunk: frames at once, which changes speed and memory and nothing else.
    """
    carried = u.new_zeros(len(u), 1, *a.shape)
    pieces = []
    for start in range(0, u.shape[1], chunk):
        now = slice(start, start + chunk)
        states = _states(u[:, now], delta[:, now], a, b[:, now], carried)
        pieces.append(torch.einsum("ctws,cts->ctw", states, c[:, now]))
        carried = states[:, -1:]
    return torch.cat(pieces, 1)


def _states(
    u: torch.Tensor, delta: torch.Tensor, a: torch.Tensor, b: torch.Tensor, before: torch.Tensor
) -> torch.Tensor:
    """Every h_t of a chunk, (clips, frames, width, state), from the state `before` on."""
    kept = (delta.unsqueeze(-1) * a).exp()
    taken = (delta * u).unsqueeze(-1) * b.unsqueeze(2)
    taken = torch.cat([taken[:, :1] + kept[:, :1] * before, taken[:, 1:]], 1)
    reach = 1
    while reach < taken.shape[1]:
        later = kept[:, reach:]
        taken = torch.cat([taken[:, :reach], later * taken[:, :-reach] + taken[:, reach:]], 1)
        kept = torch.cat([kept[:, :reach], later * kept[:, :-reach]], 1)
        reach *= 2
    return taken


class SelectiveDirection(nn.Module):
    """One direction: a causal depthwise convolution, then a scan whose parameters it selects.

    (clips, frames, width) to the same, float32: a recurrence adds up rounding errors, so it runs in
    float32 whatever the precision of the rest.
    """

    def __init__(self, width: int, state: int) -> None:
        super().__init__()
        self.state = state
        self.rank = -(-width // _CHANNELS_PER_RANK)
        self.mix = nn.Conv1d(width, width, _KERNEL, groups=width)
        self.select = nn.Linear(width, self.rank + 2 * state, bias=False)
        self.step = nn.Linear(self.rank, width)
        # A = -n exp(decay) for the n-th number of a state: starts at the published -n. A vector,
        # for as a table it would be taken for a matrix, which Muon keeps orthogonal.
        self.decay = nn.Parameter(torch.zeros(width * state))
        self.skip = nn.Parameter(torch.ones(width))
        # Undoes softplus at the ends: Δ is then about uniform in its logarithm, as published.
        low, high = (math.log(math.expm1(delta)) for delta in _STEPS)
        nn.init.uniform_(self.step.bias, low, high)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What each frame sees of itself and of those before it."""
        mixed = self.mix(F.pad(x.transpose(1, 2), (_KERNEL - 1, 0)))
        u = F.silu(mixed).transpose(1, 2)
        step, b, c = self.select(u).split([self.rank, self.state, self.state], -1)
        step = self.step(step)
        with torch.autocast(x.device.type, enabled=False):
            u = u.float()
            y = selective_scan(u, F.softplus(step.float()), self._a(), b.float(), c.float())
            return y + self.skip * u

    def _a(self) -> torch.Tensor:
        order = torch.arange(1, self.state + 1, device=self.decay.device)
        return -order * self.decay.reshape(-1, self.state).exp()


class BidirectionalScan(nn.Module):
    """A residual layer on (clips, frames, width): a gated scan forwards and one backwards, added.

    tied: both directions have the same weights, so that the layer of a reversed input is the
    reversed layer of the input.
    """

    def __init__(self, width: int, expansion: float, state: int, *, tied: bool) -> None:
        super().__init__()
        inner = max(1, round(width * expansion))
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * inner, bias=False)
        count = 1 if tied else 2
        self.directions = nn.ModuleList(SelectiveDirection(inner, state) for _ in range(count))
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(clips, frames, width) to the same."""
        x, gate = self.up(self.norm(hidden)).chunk(2, -1)
        seen = self.directions[0](x) + self.directions[-1](x.flip(1)).flip(1)
        out: torch.Tensor = self.down(seen * F.silu(gate))
        return hidden + out
