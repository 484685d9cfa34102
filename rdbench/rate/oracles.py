"""Systems whose rate and distortion are known in closed form, measured by the code under test.

**A Gaussian source and its optimal linear VAE.** For independent components of variance λ_k the
best possible trade is reverse water-filling (Cover & Thomas 2006, section 10.3),

    R(θ) = Σ_k max(0, ½ log2(λ_k / θ))        D(θ) = Σ_k min(λ_k, θ)

and for each component with λ > θ the VAE

    μ = √((1 − θ/λ) / λ) x      σ² = θ/λ      x̂ = √(λ (1 − θ/λ)) z

(σ = 1, μ = 0 and x̂ = 0 for the others) lies on it: its aggregate posterior is N(0, 1), its mean KL
½ ln(λ/θ), and the error of a decoded sample θ. Decoding the mean has the error θ²/λ, below the
curve: nobody can transmit that at the price of the KL.

**A uniform quantizer with entropy coding** of a Gaussian lies, at high rate, ½ log2(2πe/12) =
0.2546 bit per sample above the rate–distortion function (Gish & Pierce 1968).

**A token source of known entropy** costs its entropy: independent tokens, and a Markov chain for
the model with contexts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rdbench.types import Posterior

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

QUANTIZER_OFFSET = 0.5 * math.log2(2.0 * math.pi * math.e / 12.0)
SPECTRUM: Floats = 2.0 ** -np.arange(0, 12, dtype=np.float64)
LEVELS: Floats = 2.0 ** -np.linspace(0.6, 14.0, 10)


@dataclass(frozen=True)
class Check:
    """One comparison: `measured` against `expected`, both in `unit`, within `tolerance`."""

    name: str
    expected: float
    measured: float
    tolerance: float
    unit: str

    @property
    def passed(self) -> bool:
        """Whether it holds; NaN never does."""
        return abs(self.measured - self.expected) <= self.tolerance


@dataclass(frozen=True)
class WaterFilling:
    """One point of the Gaussian oracle: bits and distortion per frame, exact and measured."""

    theta: float
    rate: float
    distortion: float
    measured_rate: float
    measured_distortion: float
    mean_distortion: float


def curve(spectrum: Floats, theta: float) -> tuple[float, float]:
    """Rate (bits) and distortion per frame of reverse water-filling at the level `theta`."""
    rate = 0.5 * np.log2(np.maximum(spectrum / theta, 1.0)).sum()
    return float(rate), float(np.minimum(spectrum, theta).sum())


def water_filling(
    theta: float,
    *,
    spectrum: Floats = SPECTRUM,
    frames: int = 24_000,
    seed: int = 0,
) -> WaterFilling:
    """Measures the optimal linear VAE at one level.

    Source and noise are scaled to have exactly the variances that are meant: the curve belongs to
    the source, and a finite sample of it would stray by 1/√frames.
    """
    from rdbench.rate.kl import kl_bits

    generator = np.random.default_rng(seed)
    drawn = generator.standard_normal((2, len(spectrum), frames))
    drawn /= np.sqrt(np.square(drawn).mean(axis=2, keepdims=True))
    source, noise = drawn[0] * np.sqrt(spectrum)[:, None], drawn[1]

    share = np.minimum(theta / spectrum, 1.0)[:, None]
    variance = spectrum[:, None]
    mean = np.sqrt((1.0 - share) / variance) * source
    scale = np.broadcast_to(np.sqrt(share), mean.shape)
    gain = np.sqrt(variance * (1.0 - share))
    posterior = Posterior(
        torch.from_numpy(mean)[None],
        torch.from_numpy(scale.copy())[None],
        torch.tensor([frames]),
        1.0,
    )
    bits = float(kl_bits(posterior).sum()) / frames

    def distortion(latent: Floats) -> float:
        return float(np.square(source - gain * latent).sum() / frames)

    rate, exact = curve(spectrum, theta)
    return WaterFilling(
        theta, rate, exact, bits, distortion(mean + scale * noise), distortion(mean)
    )


def gaussian_checks() -> Iterator[Check]:
    """Linear VAE of a Gaussian source: on the curve, its mean decode below it."""
    for level in LEVELS:
        point = water_filling(float(level))
        name = f"linear VAE at {point.rate:.2f} bit"
        yield Check(f"{name}: KL", 1.0, point.measured_rate / point.rate, 0.005, "of R(θ)")
        yield Check(
            f"{name}: distortion", 1.0, point.measured_distortion / point.distortion, 0.005,
            "of D(θ)",
        )  # fmt: skip
        share = float(np.square(np.minimum(level / SPECTRUM, 1.0)) @ SPECTRUM) / point.distortion
        yield Check(
            f"{name}: distortion of the mean", share, point.mean_distortion / point.distortion,
            0.005, "of D(θ), below 1 as theory says",
        )  # fmt: skip


def quantizer_checks(samples: int = 100_000) -> Iterator[Check]:
    """Entropy-coded uniform quantization of a Gaussian: 0.2546 bit above R(D)."""
    from rdbench.rate.coded import FittedCoder

    generator = np.random.default_rng(1)
    for step in (0.25, 0.0625):
        fit, test = (
            _latent(generator.standard_normal(samples), step / math.sqrt(12.0)) for _ in range(2)
        )
        (coded,) = FittedCoder.fit([fit]).code(test)
        source = test.mean[0].double().numpy()
        error = float(np.square(source - coded.values).mean())
        bound = 0.5 * math.log2(float(np.square(source).mean()) / error)
        excess = coded.bits / samples - bound
        yield Check(
            f"uniform quantizer, step {step:g} σ", QUANTIZER_OFFSET, excess, 0.02,
            "bit per sample above R(D)",
        )  # fmt: skip


def token_checks(tokens: int = 100_000) -> Iterator[Check]:
    """Token sources of known entropy: coded at their entropy."""
    from rdbench.rate.adaptive import CONTEXT, ORDER0
    from rdbench.rate.entropy import measure_clips
    from rdbench.rate.static import STATIC, StaticTables

    generator = np.random.default_rng(2)
    entries = 16
    p = 1.0 / np.arange(1, entries + 1)
    p /= p.sum()
    entropy = float(-(p * np.log2(p)).sum())
    fit, test = ([generator.choice(entries, (1, tokens), p=p).astype(np.int32)] for _ in range(2))
    sizes = [(entries,)]
    tables = StaticTables.fit([fit], sizes)
    for name, model in ((ORDER0, ORDER0), (CONTEXT, CONTEXT), (STATIC, tables)):
        bits = measure_clips([test], sizes, model).bits / tokens
        yield Check(f"independent tokens, {name}", 1.0, bits / entropy, 0.01, "of the entropy")
    chain, rate = _markov(generator, tokens)
    bits = measure_clips([[chain]], [(8,)], CONTEXT).bits / tokens
    yield Check(f"Markov tokens, {CONTEXT}", 1.0, bits / rate, 0.01, "of the entropy rate")


ORACLES: tuple[Callable[[], Iterator[Check]], ...] = (
    gaussian_checks,
    quantizer_checks,
    token_checks,
)


def _latent(mean: Floats, scale: float) -> Posterior:
    values = torch.from_numpy(mean)[None, None]
    return Posterior(values, torch.full_like(values, scale), torch.tensor([len(mean)]), 1.0)


def _markov(generator: np.random.Generator, tokens: int) -> tuple[NDArray[np.int32], float]:
    """A chain over eight tokens whose steps are independent of where it is, and its entropy."""
    entries = 8
    p = 2.0 ** -np.arange(1.0, entries + 1)
    p /= p.sum()
    steps = generator.choice(entries, tokens, p=p)
    chain = np.cumsum(steps) % entries
    return chain[None].astype(np.int32), float(-(p * np.log2(p)).sum())
