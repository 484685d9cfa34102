"""CoDiCodec's continuous latent: what its tokens are rounded from, through its package.

M. Pasini, S. Lattner, G. Fazekas, "CoDiCodec: Unifying Continuous and Discrete Compressed
Representations of Audio", ISMIR 2025 (arXiv:2509.09836). Stereo; the model of
`rdbench.codecs.neural.codicodec`, whose 128 vectors of 4 values for each 32,768 samples are here 8
frames of 64 channels, as the package has them:

    z = artanh(v) / 0.8        v within ±(1 - 2⁻²⁴)
    44.1 kHz    10.77 frames/s × 64
    48 kHz      11.72 frames/s × 64

A v that the network's tanh has saturated at ±1, of which artanh is infinite, counts as the float32
next to it. The latent is a value and no posterior, so that there is no KL. The noise of the decoder
is drawn from the generator of its device, which is seeded by the option `seed` for each clip. Clips
are padded as those of the tokens are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.codecs.credits import CREDITS
from rdbench.codecs.neural.codicodec import LICENCE, PIECE, TOKENS, CoDiCodecModel
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.seeds import seeded

if TYPE_CHECKING:
    import torch

NAME = "codicodec_latent"
CHANNELS, VECTOR = 64, 4
"""Channels of a frame, and values of a vector: 16 vectors make a frame."""
SCALE = 0.8
LARGEST = 1 - 2.0**-24
"""The largest float32 below 1."""


class CoDiCodecLatent(PosteriorCodec):
    """A CoDiCodec model; its one point is its latent."""

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        sample_rate: int = 44_100,
        steps: int = 5,
        seed: int = 0,
    ) -> None:
        """Loads the model on the CPU.

        Args:
            points: there is one, "posterior".
            weights: codicodec.pt as its authors publish it, or its folder.
            sample_rate: 44100 or 48000, in hertz: the model is the same.
            steps: of the decoder, from noise to audio.
            seed: of the decoder's noise.

        Raises:
            CodecError: without `weights`, for an unknown point, another rate, or a number of steps
                that there cannot be.
            MissingExtraError: without the package `codicodec`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        self.model = CoDiCodecModel(NAME, weights, sample_rate=sample_rate, steps=steps)
        self._seed = seed
        super().__init__(
            name=NAME,
            sample_rate=sample_rate,
            frame_rate=sample_rate * TOKENS * VECTOR / (PIECE * CHANNELS),
            modules=self.model.network,
            channels=(2,),
            points=points,
            prior=False,
            weights_sha256=self.model.sha256,
            licence=LICENCE,
            citation=CREDITS[NAME].citation,
            version=self.model.version,
            details={**self.model.details, "seed": seed},
        )

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The latent (clips, 64, frames), and no scale."""
        vectors = self.model.encode(audio, rounded=False)
        frames = vectors.reshape(len(vectors), -1, CHANNELS)
        inside = frames.transpose(1, 2).clamp(-LARGEST, LARGEST)
        return inside.atanh() / SCALE, None

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        """Audio of whole pieces, less the zeros before a clip."""
        import torch

        vectors = (z * SCALE).tanh().transpose(1, 2).reshape(len(z), -1, VECTOR)
        made = []
        for clip in vectors:
            with seeded(self._seed, self.device):
                made.append(self.model.decode(clip))
        return torch.stack(made)
