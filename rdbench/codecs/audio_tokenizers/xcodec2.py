"""X-codec2 and NeuCodec, through `transformers`: one codebook, by finite scalar quantization.

Z. Ye et al., "Llasa: Scaling Train-Time and Inference-Time Compute for Llama-based Speech
Synthesis", 2025 (arXiv:2502.04128). H. Julian et al., "Finite Scalar Quantization Enables Redundant
and Transmission-Robust Neural Audio Compression at Low Bit-rates", 2025 (arXiv:2509.09550).

50 frames/s of one code of 4⁸ = 65,536: 0.8 kbps. Both quantize what a convolutional encoder and a
speech model (w2v-BERT) make of a clip; the features of the speech model are computed by the
package's own processor, for each clip at its true length. It appends a zero and pads to whole
frames, so that a clip of whole frames has one more. X-codec2 is at 16 kHz. NeuCodec takes 16 kHz
and decodes to 24 kHz: it is given clips at 24 kHz here, which are resampled before they are
encoded. It drops what the speech model has no frame for, up to one frame of audio: the clip is
padded with zeros to whole frames before, so that what is dropped is not the clip's.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from rdbench.codecs.audio_tokenizers.load import Geometry, Kind
from rdbench.codecs.audio_tokenizers.tokens import TransformersTokenizer
from rdbench.codecs.credits import CREDITS
from rdbench.types import CodecError

if TYPE_CHECKING:
    import torch


def _xcodec2(config: Any) -> Geometry:
    size = math.prod(config.quantization_levels)
    return Geometry(config.sampling_rate, math.prod(config.downsampling_ratios), 1, 1, size)


def _neucodec(config: Any) -> Geometry:
    ratio = Fraction(config.output_sampling_rate, config.input_sampling_rate)
    hop = math.prod(config.downsampling_ratios) * ratio
    if hop.denominator != 1:
        raise CodecError(f"a frame has {float(hop):g} samples, which is no whole number")
    size = math.prod(config.quantization_levels)
    return Geometry(config.output_sampling_rate, int(hop), 1, 1, size)


class Xcodec2(TransformersTokenizer):
    """X-codec2: 0.8 kbps."""

    kind = Kind("xcodec2", "xcodec2", "Xcodec2Model", _xcodec2, "HKUSTAudio/xcodec2-hf")
    family = "xcodec2"
    citation = CREDITS["xcodec2"].citation
    processor = "Xcodec2FeatureExtractor"

    def _input_rate(self) -> int:
        """Hertz of what the encoder takes."""
        return self.geometry.sample_rate

    def _input_hop(self) -> int:
        return math.prod(self.model.config.downsampling_ratios)

    def _padded(self, samples: torch.Tensor) -> torch.Tensor:
        """What the processor is given, at the rate that the encoder takes."""
        return samples

    def _frames(self, length: int) -> int:
        return length // self.geometry.hop + 1

    def _codes(self, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        import transformers

        from rdbench.audio.resample import resample

        rate = self._input_rate()
        taken = self._padded(resample(samples, self.geometry.sample_rate, rate))
        processor = getattr(transformers, self.processor)(
            sampling_rate=rate, hop_length=self._input_hop()
        )
        clips = [clip[0].cpu().numpy() for clip in taken]
        given = processor(clips, sampling_rate=rate, return_tensors="pt")
        codes = self.model.encode(
            given["input_values"].to(self.device),
            input_features=given["input_features"].to(self.device),
            input_features_mask=given["input_features_mask"].to(self.device),
            return_dict=True,
        )
        return codes.audio_codes, None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        audio: torch.Tensor = self.model.decode(codes, return_dict=True).audio_values
        return audio


class NeuCodec(Xcodec2):
    """NeuCodec: 0.8 kbps."""

    kind = Kind("neucodec", "neucodec", "NeuCodecModel", _neucodec, "neuphonic/neucodec")
    citation = CREDITS["neucodec"].citation
    processor = "NeuCodecFeatureExtractor"

    def _input_rate(self) -> int:
        return int(self.model.config.input_sampling_rate)

    def _padded(self, samples: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.pad(samples, (0, -samples.shape[-1] % self._input_hop()))

    def _frames(self, length: int) -> int:
        return -(-length // self.geometry.hop)
