"""EnCodec at 24, 32 and 48 kHz, through `transformers`.

A. Défossez, J. Copet, G. Synnaeve, Y. Adi, "High Fidelity Neural Audio Compression", 2022
(arXiv:2210.13438). The 32 kHz model is MusicGen's: J. Copet et al., "Simple and Controllable Music
Generation", NeurIPS 2023 (arXiv:2306.05284).

The models at 24 and 48 kHz are those of `rdbench.codecs.neural.encodec` in another format, with
the same rates and the same segments and scales at 48 kHz; that at 32 kHz is mono, 50 frames/s, four
codebooks of 2048: 2.2 kbps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rdbench.codecs.audio_tokenizers.load import Geometry, Kind
from rdbench.codecs.audio_tokenizers.tokens import TransformersTokenizer
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.neural.segments import Segments
from rdbench.types import CodecError

if TYPE_CHECKING:
    import torch


def bandwidth_counts(config: Any) -> set[int]:
    """Numbers of codebooks of the bandwidths that a model was trained at (kbps)."""
    each = math.log2(config.codebook_size) * config.frame_rate / 1000
    return {max(1, math.floor(kbps / each)) for kbps in config.target_bandwidths}


def _geometry(config: Any) -> Geometry:
    hop = math.prod(config.upsampling_ratios)
    size, stride = config.chunk_length, config.chunk_stride
    if size is not None and not hop <= (stride or size) <= size:
        raise CodecError(f"its segments have {size} samples at every {stride} of frames of {hop}")
    return Geometry(
        config.sampling_rate, hop, config.audio_channels, config.num_quantizers,
        config.codebook_size,
    )  # fmt: skip


class Encodec(TransformersTokenizer):
    """EnCodec of any of its rates: 24, 32 or 48 kHz."""

    kind = Kind(
        "transformers_encodec", "encodec", "EncodecModel", _geometry, "facebook/encodec_24khz"
    )
    family = "encodec"
    citation = CREDITS["transformers_encodec"].citation

    def _default_counts(self) -> set[int]:
        return bandwidth_counts(self.model.config)

    def _segments(self, length: int) -> Segments:
        config = self.model.config
        if config.chunk_length is None:
            return Segments(length, length, self.geometry.hop)
        return Segments(
            config.chunk_length, config.chunk_stride or config.chunk_length, self.geometry.hop
        )

    def _frames(self, length: int) -> int:
        return sum(self._segments(length).frames(length))

    def _codes(self, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        import torch

        # The model's own loop over segments fails where two of them are short.
        bounds = self._segments(samples.shape[-1]).bounds(samples.shape[-1])
        encoded = [
            self.model._encode_frame(samples[..., start:end], self._full_bandwidth())
            for start, end in bounds
        ]
        codes = torch.cat([codes for codes, _ in encoded], dim=-1)
        scales = [scale for _, scale in encoded if scale is not None]
        return codes, torch.cat(scales, dim=1) if scales else None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        cuts = self._segments(length)
        return cuts.decode(codes, scales, length, self.model._decode_frame, self.info.name)
