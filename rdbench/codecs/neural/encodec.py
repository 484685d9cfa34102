"""EnCodec at 24 kHz (mono) and 48 kHz (stereo), through the package `encodec`.

A. Défossez, J. Copet, G. Synnaeve, Y. Adi, "High Fidelity Neural Audio Compression", 2022
(arXiv:2210.13438).

The 24 kHz model is causal: 75 frames/s, up to 32 codebooks of 1024, no side information. The
48 kHz model works on segments of 1 s with a stride of 0.99 s (47,520 samples) and normalizes each
by a scale that is sent as float32: K codebooks cost (1500 K + 32) / 0.99 bits/s on long audio, so
6.09 kbps at "6". The last segments of a clip are shorter: every 47,520 samples begin one, so a
clip of exactly one second has two. Segment bounds follow from a clip's length alone and are not
sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdbench.codecs.credits import CREDITS
from rdbench.codecs.neural.published import PublishedCodec
from rdbench.codecs.neural.segments import Segments
from rdbench.types import CodecError, OperatingPoint
from rdbench.weights.checkpoints import Checkpoint, without_memory
from rdbench.weights.published import WeightsFile

if TYPE_CHECKING:
    import torch

_ROOT_URL = "https://dl.fbaipublicfiles.com/encodec/v0/"
_LICENCE = (
    "weights: none stated apart from the code's; code: CC BY-NC 4.0 in encodec 0.1.1, "
    "MIT in its repository since April 2023"
)
HOP = 320
"""Samples of one frame, in both models."""

SEGMENTS = Segments(48_000, 47_520, HOP)
"""Those of the 48 kHz model: 1 s, with an overlap of 10 ms."""


class _Encodec(PublishedCodec):
    """What both models share. `points` are the package's bandwidths, in kbps; all by default."""

    family = "encodec"
    package = "encodec"
    citation = CREDITS["encodec_24khz"].citation
    hop = HOP
    kbps: tuple[float, ...]

    @classmethod
    def all_points(cls) -> tuple[OperatingPoint, ...]:
        """The package's bandwidths."""
        per_codebook = cls.kbps_per_codebook()
        return tuple(
            OperatingPoint(f"{kbps:g}", kbps, {"n_codebooks": round(kbps / per_codebook)})
            for kbps in cls.kbps
        )

    def _build(self, checkpoint: Checkpoint) -> Any:
        from encodec import EncodecModel

        build = getattr(EncodecModel, f"encodec_model_{self.sample_rate // 1000}khz")
        with without_memory():
            return build(pretrained=False)

    def _bandwidth(self, n_codebooks: int) -> float:
        return n_codebooks * self.kbps_per_codebook()


class Encodec24(_Encodec):
    """EnCodec 24 kHz, mono, causal: 1.5, 3, 6, 12, 24 kbps."""

    name = "encodec_24khz"
    sample_rate = 24_000
    kbps = (1.5, 3.0, 6.0, 12.0, 24.0)
    file = WeightsFile(
        f"{_ROOT_URL}encodec_24khz-d7cc33bc.th", "encodec_24khz-d7cc33bc.th", "d7cc33bc", _LICENCE
    )

    def _encode(
        self, samples: torch.Tensor, n_codebooks: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        self.model.set_target_bandwidth(self._bandwidth(n_codebooks))
        ((codes, _),) = self.model.encode(samples)
        return codes, None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        samples: torch.Tensor = self.model.decode([(codes, None)])
        return samples


class Encodec48(_Encodec):
    """EnCodec 48 kHz, stereo, segments with a scale each: 3, 6, 12, 24 kbps and the scales."""

    name = "encodec_48khz"
    sample_rate = 48_000
    audio_channels = 2
    kbps = (3.0, 6.0, 12.0, 24.0)
    file = WeightsFile(
        f"{_ROOT_URL}encodec_48khz-7e698e3e.th", "encodec_48khz-7e698e3e.th", "7e698e3e", _LICENCE
    )

    def _encode(
        self, samples: torch.Tensor, n_codebooks: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        import torch

        self.model.set_target_bandwidth(self._bandwidth(n_codebooks))
        encoded = self.model.encode(samples)
        codes = torch.cat([codes for codes, _ in encoded], dim=-1)
        return codes, torch.cat([scale for _, scale in encoded], dim=1)

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        def decode_segment(part: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
            samples: torch.Tensor = self.model._decode_frame((part, scale))
            return samples

        if scales is None:
            raise CodecError(f"{self.name} needs the scales of its segments")
        return SEGMENTS.decode(codes, scales, length, decode_segment, self.name)
