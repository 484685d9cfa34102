"""DAC at 16, 24 and 44.1 kHz, through the package `descript-audio-codec`.

R. Kumar, P. Seetharaman, A. Luebs, I. Kumar, K. Kumar, "High-Fidelity Audio Compression with
Improved RVQGAN", NeurIPS 2023 (arXiv:2306.06546).

Mono, residual codebooks of 1024. The labels "8kbps" and "16kbps" of the published files are not
rates; with all their codebooks the models send

    16 kHz            12 × 10 bits × 50      = 6.0 kbps
    24 kHz            32 × 10 bits × 75      = 24.0 kbps
    44.1 kHz           9 × 10 bits × 86.13   = 7.75 kbps
    44.1 kHz 16kbps   18 × 10 bits × 86.13   = 15.50 kbps

Point "q9" means nine codebooks. A clip is encoded whole, without chunks and without loudness
normalization. A decoder with a stride of 5 returns 8 samples fewer than 320 per frame (15,992 for
50 frames), so the clip is padded on the right until the output covers it, which costs one more
frame where a clip ends within 8 samples of a frame's end; the output is cut to the clip.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdbench.codecs.credits import CREDITS
from rdbench.codecs.neural.published import PublishedCodec
from rdbench.types import OperatingPoint, WeightsError
from rdbench.weights.checkpoints import Checkpoint, without_memory
from rdbench.weights.formats import MAX_BYTES
from rdbench.weights.published import WeightsFile

if TYPE_CHECKING:
    import torch

_ROOT_URL = "https://github.com/descriptinc/descript-audio-codec/releases/download/"


def output_length(frames: int, decoder_rates: Sequence[int]) -> int:
    """Samples that a decoder with these strides makes of `frames` frames.

    A transposed convolution of stride s, kernel 2 s and padding ⌈s/2⌉ turns n into n·s for even
    s, and into n·s − 1 for odd s.

    >>> output_length(50, [8, 5, 4, 2])
    15992
    """
    length = frames
    for stride in decoder_rates:
        length = length * stride - stride % 2
    return length


class _Dac(PublishedCodec):
    """What the four models share; a subclass says what was published.

    Layer widths are read from the checkpoint. By default points are a spread up to all codebooks.
    """

    family = "dac"
    package = "descript-audio-codec"
    citation = CREDITS["dac_44khz"].citation
    strides: tuple[int, ...]
    codebooks: int
    latent_dim: int

    @classmethod
    def all_points(cls) -> tuple[OperatingPoint, ...]:
        """One for each number of codebooks."""
        per_codebook = cls.kbps_per_codebook()
        return tuple(
            OperatingPoint(f"q{n}", n * per_codebook, {"n_codebooks": n})
            for n in range(1, cls.codebooks + 1)
        )

    @classmethod
    def published_arguments(cls) -> dict[str, Any]:
        """Arguments of `dac.DAC` that decide rates, and the widths of the published model."""
        return {
            "encoder_dim": 64,
            "encoder_rates": list(cls.strides),
            "latent_dim": cls.latent_dim,
            "decoder_dim": 1536,
            "decoder_rates": list(reversed(cls.strides)),
            "n_codebooks": cls.codebooks,
            "codebook_size": cls.codebook_size,
            "codebook_dim": 8,
            "sample_rate": cls.sample_rate,
        }

    def _build(self, checkpoint: Checkpoint) -> Any:
        """The model without memory, from the arguments that the checkpoint records."""
        from dac import DAC

        recorded = checkpoint.metadata.get("kwargs", {})
        known = inspect.signature(DAC).parameters
        arguments = self.published_arguments()
        if isinstance(recorded, Mapping):
            arguments |= {str(k): v for k, v in recorded.items() if k in known}
        self._check_arguments(arguments, checkpoint)
        try:
            with without_memory():
                model = DAC(**arguments)
        except Exception as error:  # arguments from a file: the package may raise anything
            raise WeightsError(
                f"weights file {checkpoint.filename} records arguments of which no DAC can be "
                f"built; give the checkpoint of {self.name}"
            ) from error
        size = sum(tensor.numel() * 4 for tensor in model.state_dict().values())
        if size > MAX_BYTES:
            raise WeightsError(
                f"weights file {checkpoint.filename} records a model of {size} bytes, more than "
                f"the {MAX_BYTES} that are built; give the checkpoint of {self.name}"
            )
        return model

    def _check_arguments(self, arguments: Mapping[str, Any], checkpoint: Checkpoint) -> None:
        published = self.published_arguments()
        for key in (
            "sample_rate",
            "encoder_rates",
            "decoder_rates",
            "n_codebooks",
            "codebook_size",
        ):
            value = arguments[key]
            if (list(value) if isinstance(value, tuple) else value) != published[key]:
                raise WeightsError(
                    f"weights file {checkpoint.filename} is of a model with {key} {value!r}, "
                    f"{self.name} has {published[key]!r}; give the checkpoint of this model"
                )
        for key in ("encoder_dim", "latent_dim", "decoder_dim"):
            value = arguments[key]
            if value is None and key == "latent_dim":
                continue
            if not isinstance(value, int) or not 1 <= value <= 1 << 14:
                raise WeightsError(
                    f"weights file {checkpoint.filename} records {key} {value!r}, which is no "
                    f"width of a layer; give the checkpoint of {self.name}"
                )

    def _encode(
        self, samples: torch.Tensor, n_codebooks: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        import torch

        # The decoder falls short of hop × frames by a constant number of samples.
        short = self.hop - output_length(1, self.model.decoder_rates)
        covered = torch.nn.functional.pad(samples, (0, short))
        padded = self.model.preprocess(covered, self.sample_rate)
        codes = self.model.encode(padded, n_codebooks)[1]
        return codes, None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        samples: torch.Tensor = self.model.decode(self.model.quantizer.from_codes(codes)[0])
        return samples


class Dac16(_Dac):
    """DAC 16 kHz: 12 codebooks, 6.0 kbps."""

    name = "dac_16khz"
    sample_rate = 16_000
    strides = (2, 4, 5, 8)
    hop = 320
    codebooks = 12
    latent_dim = 1024
    default = ("q1", "q2", "q3", "q4", "q6", "q8", "q12")
    file = WeightsFile(
        f"{_ROOT_URL}0.0.5/weights_16khz.pth", "weights_16khz_8kbps_0.0.5.pth", None, "MIT"
    )


class Dac24(_Dac):
    """DAC 24 kHz: 32 codebooks, 24.0 kbps (labelled "8kbps")."""

    name = "dac_24khz"
    sample_rate = 24_000
    strides = (2, 4, 5, 8)
    hop = 320
    codebooks = 32
    latent_dim = 1024
    default = ("q1", "q2", "q4", "q8", "q16", "q32")
    file = WeightsFile(
        f"{_ROOT_URL}0.0.4/weights_24khz.pth", "weights_24khz_8kbps_0.0.4.pth", None, "MIT"
    )


class Dac44(_Dac):
    """DAC 44.1 kHz "8kbps": 9 codebooks, 7.75 kbps."""

    name = "dac_44khz"
    sample_rate = 44_100
    strides = (2, 4, 8, 8)
    hop = 512
    codebooks = 9
    latent_dim = 1024
    default = ("q1", "q2", "q3", "q4", "q6", "q9")
    file = WeightsFile(
        f"{_ROOT_URL}0.0.1/weights.pth", "weights_44khz_8kbps_0.0.1.pth", None, "MIT"
    )


class Dac44High(_Dac):
    """DAC 44.1 kHz "16kbps": 18 codebooks, 15.50 kbps."""

    name = "dac_44khz_16kbps"
    sample_rate = 44_100
    strides = (2, 4, 8, 8)
    hop = 512
    codebooks = 18
    latent_dim = 128
    default = ("q1", "q2", "q4", "q6", "q9", "q12", "q18")
    file = WeightsFile(
        f"{_ROOT_URL}1.0.0/weights_44khz_16kbps.pth",
        "weights_44khz_16kbps_1.0.0.pth",
        None,
        "MIT",
    )
