"""Latents that can be transmitted: every coder of a posterior, each with its own reconstruction.

A KL is what a sample of a posterior costs in theory. What a decoder can really be sent is

`rounding`   the mean, rounded: the error depends on the mean, and is too small at low rates
`water`      the same with a step per channel by rate and distortion
`dither`     the mean with noise of the posterior's variance, independent of it: with steps, or
             with a trellis, which costs hardly more than the KL
`relative`   a sample of the posterior itself

with `profile` (what both ends know of a latent), `trellis` and `shared` (random numbers of both
ends) beneath them.
"""

from rdbench.rate.coded.base import CodedLatent, LatentClip, LatentCoder
from rdbench.rate.coded.rounding import FITTED, SENT, VERSION, Channel, FittedCoder, SentCoder

__all__ = [
    "FITTED",
    "SENT",
    "VERSION",
    "Channel",
    "CodedLatent",
    "FittedCoder",
    "LatentClip",
    "LatentCoder",
    "SentCoder",
]
