"""DAC, through `transformers`: the weights of `descript-audio-codec` in another format.

R. Kumar, P. Seetharaman, A. Luebs, I. Kumar, K. Kumar, "High-Fidelity Audio Compression with
Improved RVQGAN", NeurIPS 2023 (arXiv:2306.06546).

Rates and shapes are those of `rdbench.codecs.neural.dac`, and so is the padding: by what the
decoder falls short of whole frames, then to whole frames.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rdbench.codecs.audio_tokenizers.load import Geometry, Kind
from rdbench.codecs.audio_tokenizers.tokens import TransformersTokenizer
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.neural.dac import output_length
from rdbench.types import CodecError

if TYPE_CHECKING:
    import torch


def strides_hop(config: Any) -> int:
    """Samples of a frame of a DAC; raises CodecError where the two ways have different strides."""
    hop: int = math.prod(config.downsampling_ratios)
    back: int = math.prod(config.upsampling_ratios)
    if hop != back:
        raise CodecError(f"its frames have {hop} samples one way and {back} the other")
    return hop


def _geometry(config: Any) -> Geometry:
    return Geometry(
        config.sampling_rate, strides_hop(config), 1, config.n_codebooks, config.codebook_size
    )


class Dac(TransformersTokenizer):
    """DAC of any of its rates: 16, 24 or 44.1 kHz."""

    kind = Kind("transformers_dac", "dac", "DacModel", _geometry, "descript/dac_16khz")
    family = "dac"
    citation = CREDITS["transformers_dac"].citation

    def _short(self) -> int:
        """Samples by which the decoder falls short of whole frames: a constant number."""
        return self.geometry.hop - output_length(1, self.model.config.upsampling_ratios)

    def _frames(self, length: int) -> int:
        return super()._frames(length + self._short())

    def _codes(self, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        import torch

        length = samples.shape[-1]
        whole = self._frames(length) * self.geometry.hop
        padded = torch.nn.functional.pad(samples, (0, whole - length))
        return self.model.encode(padded, return_dict=True).audio_codes, None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        audio: torch.Tensor = self.model.decode(audio_codes=codes, return_dict=True).audio_values
        return audio[:, None]
