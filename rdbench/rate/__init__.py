"""What a bit is: every kind of rate, computed from an `Encoded` and from nothing else.

Kinds are never mixed unlabelled. `nominal` is frames × Σ log2(codebook size); `payload` the bits
of a codec's packets; `container` the bits of the whole file; `kl` the divergence of a posterior
from its prior in bits; `entropy` and `coded` the length of streams that decode back to the tokens,
or to a quantized latent, under a probability model that the row names. Side information is part of
every kind but `container`, whose file holds it already.
"""

from rdbench.rate.measure import coded_rates, entropy_rates, prior_rates, rates

VERSION = 1
"""Raised when bits change that follow from an `Encoded`: of payloads, codebooks, and the KL."""

__all__ = ["VERSION", "coded_rates", "entropy_rates", "prior_rates", "rates"]
