"""X-Codec and the tokenizer of Higgs Audio v2, through `transformers`.

Z. Ye et al., "Codec Does Matter: Exploring the Semantic Shortcoming of Codec for Audio Language
Model", AAAI 2025 (arXiv:2408.17175).

Both quantize what a DAC encoder and a speech model (HuBERT) make of the same clip; the speech model
is given it at 16 kHz within the model. X-Codec is at 16 kHz, 50 frames/s, eight codebooks of 1024:
0.5 kbps each, 4 with all. The tokenizer of Higgs Audio v2 is at 24 kHz, 25 frames/s, eight
codebooks of 1024: 0.25 kbps each, 2 with all. Clips are padded with zeros to whole frames, so that
both branches have as many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdbench.codecs.audio_tokenizers.dac import strides_hop
from rdbench.codecs.audio_tokenizers.encodec import bandwidth_counts
from rdbench.codecs.audio_tokenizers.load import Geometry, Kind
from rdbench.codecs.audio_tokenizers.tokens import TransformersTokenizer
from rdbench.codecs.credits import CREDITS

if TYPE_CHECKING:
    import torch


def _geometry(config: Any) -> Geometry:
    hop = strides_hop(config.acoustic_model_config)
    return Geometry(config.sample_rate, hop, 1, config.num_quantizers, config.codebook_size)


class Xcodec(TransformersTokenizer):
    """X-Codec: 0.5 to 4 kbps."""

    kind = Kind("xcodec", "xcodec", "XcodecModel", _geometry, "hf-audio/xcodec-hubert-librispeech")
    family = "xcodec"
    citation = CREDITS["xcodec"].citation

    def _default_counts(self) -> set[int]:
        return bandwidth_counts(self.model.config)

    def _codes(self, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        import torch

        padded = torch.nn.functional.pad(samples, (0, -samples.shape[-1] % self.geometry.hop))
        codes = self.model.encode(padded, bandwidth=self._full_bandwidth(), return_dict=True)
        return codes.audio_codes, None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        audio: torch.Tensor = self.model.decode(codes, return_dict=True).audio_values
        return audio


class HiggsAudioV2(Xcodec):
    """The tokenizer of Higgs Audio v2: 0.25 to 2 kbps."""

    kind = Kind(
        "higgs_audio_v2",
        "higgs_audio_v2_tokenizer",
        "HiggsAudioV2TokenizerModel",
        _geometry,
        "bosonai/higgs-audio-v2-tokenizer",
        frozenset({"semantic_model.masked_spec_embed"}),
    )
    citation = CREDITS["higgs_audio_v2"].citation
