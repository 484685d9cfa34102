"""Mimi, through `transformers`.

A. Défossez, L. Mazaré, M. Orsini, A. Royer, P. Pérez, H. Jégou, E. Grave, N. Zeghidour, "Moshi: a
speech-text foundation model for real-time dialogue", 2024 (arXiv:2410.00037).

24 kHz mono, 12.5 frames/s, up to 32 codebooks of 2048: 0.1375 kbps each, 1.1 with the eight that
Moshi speaks with, 4.4 with all. The first codebook is a quantizer of its own (semantic), the others
are residual beside it; each point is a cut of the highest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rdbench.codecs.audio_tokenizers.load import Geometry, Kind
from rdbench.codecs.audio_tokenizers.tokens import TransformersTokenizer
from rdbench.codecs.credits import CREDITS
from rdbench.types import CodecError

if TYPE_CHECKING:
    import torch


def _geometry(config: Any) -> Geometry:
    if config.encoder_config is None or config.decoder_config is None:
        raise CodecError("it is of one half of the model")
    hop = math.prod(config.upsampling_ratios) * config.latent_stride
    # Older files state the rate, newer ones let the strides say it.
    if not math.isclose(config.frame_rate, config.sampling_rate / hop):
        raise CodecError(
            f"its frame rate is {config.frame_rate}, its strides make "
            f"{config.sampling_rate / hop:g}"
        )
    return Geometry(
        config.sampling_rate, hop, config.audio_channels, config.num_quantizers,
        config.codebook_size,
    )  # fmt: skip


class Mimi(TransformersTokenizer):
    """Mimi: 0.14 to 4.4 kbps."""

    kind = Kind("mimi", "mimi", "MimiModel", _geometry, "kyutai/mimi")
    family = "mimi"
    citation = CREDITS["mimi"].citation

    def _fewest(self) -> int:
        return int(self.model.config.num_semantic_quantizers)

    def _codes(self, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.model.encode(samples, return_dict=True).audio_codes, None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        audio: torch.Tensor = self.model.decode(codes, return_dict=True).audio_values
        return audio
