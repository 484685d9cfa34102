"""The one configuration object of an autoencoder: a backbone around a bottleneck.

A configuration is data: frozen, validated, written as JSON into the header of a checkpoint and as
YAML into a training recipe. Building a model from it is `rdbench.models.Autoencoder`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1, le=65_536)]
Strides = Annotated[tuple[Count, ...], Field(max_length=16)]


class Frozen(BaseModel):
    """An immutable configuration that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SpectralConfig(Frozen):
    """STFT in, ConvNeXt blocks at the frame rate, inverse STFT out.

    hop: samples per frame. window_hops: STFT window in hops. compression: exponent of the
    magnitude on both sides. expansion: hidden width of a block over its width. kernel: frames seen
    by a block's depthwise convolution.
    """

    kind: Literal["spectral"] = "spectral"
    hop: Count = 160
    window_hops: Annotated[int, Field(ge=2, le=16)] = 4
    width: Count = 192
    encoder_layers: Annotated[int, Field(ge=0, le=64)] = 4
    decoder_layers: Annotated[int, Field(ge=0, le=64)] = 5
    expansion: Annotated[float, Field(gt=0, le=8)] = 2.0
    kernel: Annotated[int, Field(ge=1, le=63)] = 7
    compression: Annotated[float, Field(gt=0, le=1)] = 0.3

    @model_validator(mode="after")
    def _check(self) -> SpectralConfig:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, not {self.kernel}")
        if (self.window_hops - 1) * self.hop % 2:
            raise ValueError("(window_hops - 1) * hop must be even, for symmetric padding")
        return self


class DacConfig(Frozen):
    """The encoder and decoder of the `descript-audio-codec` package.

    encoder_rates, decoder_rates: strides; their products are the hop and must be equal.
    encoder_width, decoder_width: channels at the first and at the last-but-latent layer.
    features: channels between the encoder and the bottleneck's projection.
    """

    kind: Literal["dac"] = "dac"
    encoder_width: Count = 64
    encoder_rates: Strides = (2, 4, 8, 8)
    decoder_width: Count = 1536
    decoder_rates: Strides = (8, 8, 4, 2)
    features: Count = 1024

    @model_validator(mode="after")
    def _check(self) -> DacConfig:
        if not self.encoder_rates or math.prod(self.encoder_rates) != math.prod(self.decoder_rates):
            raise ValueError("encoder_rates and decoder_rates must have equal, nonempty products")
        if self.decoder_width % 2 ** len(self.decoder_rates):
            raise ValueError("decoder_width must be divisible by 2 once for each decoder rate")
        return self

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.encoder_rates)


class StarConfig(Frozen):
    """Strided residual Snake blocks, and bidirectional selective scans at the frame rate.

    strides: their product is the hop. widths: channels at the sample rate and after each stride,
    the last ones those of the scans. dilations: one residual block for each, at every width.
    layers: scans in the encoder, and in the decoder. expansion: width within a scan over its own.
    state: hidden numbers of each channel. tied: whether both directions have the same weights.
    """

    kind: Literal["star"] = "star"
    strides: Strides = (4, 5, 8)
    widths: Strides = (32, 64, 128, 256)
    dilations: Strides = (1, 3, 9)
    layers: Annotated[int, Field(ge=0, le=64)] = 2
    expansion: Annotated[float, Field(gt=0, le=8)] = 1.0
    state: Annotated[int, Field(ge=1, le=1024)] = 16
    tied: bool = False

    @model_validator(mode="after")
    def _check(self) -> StarConfig:
        if not self.strides or len(self.widths) != len(self.strides) + 1:
            raise ValueError(
                f"widths must be one more than strides, which must be at least one: "
                f"{len(self.widths)} and {len(self.strides)}"
            )
        return self

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.strides)


class GaussianConfig(Frozen):
    """A diagonal Gaussian posterior over `channels` latents, prior N(0, I).

    scale: `logvar`, σ = exp(s / 2), or `softplus`, σ = softplus(s) + 1e-4.
    """

    kind: Literal["gaussian"] = "gaussian"
    channels: Count = 96
    scale: Literal["logvar", "softplus"] = "logvar"


class RvqConfig(Frozen):
    """Residual vector quantization of `channels` latents by the `dac` package's quantizer.

    dropout: share of the clips of a batch that are trained with a random number of codebooks; with
    0 the model is a single-rate one.
    """

    kind: Literal["rvq"] = "rvq"
    channels: Count = 96
    codebooks: Annotated[int, Field(ge=1, le=256)] = 24
    codebook_size: Annotated[int, Field(ge=2, le=65_536)] = 32
    codebook_dim: Count = 8
    dropout: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def bits_per_frame(self) -> float:
        """Nominal bits of a frame, all codebooks together."""
        return self.codebooks * math.log2(self.codebook_size)


class AutoencoderConfig(Frozen):
    """An autoencoder: sample rate (hertz), audio channels, backbone and bottleneck."""

    sample_rate: Annotated[int, Field(ge=1000, le=768_000)] = 16_000
    channels: Annotated[int, Field(ge=1, le=64)] = 1
    backbone: Annotated[SpectralConfig | DacConfig | StarConfig, Field(discriminator="kind")] = (
        SpectralConfig()
    )
    bottleneck: Annotated[GaussianConfig | RvqConfig, Field(discriminator="kind")] = (
        GaussianConfig()
    )

    @model_validator(mode="after")
    def _check(self) -> AutoencoderConfig:
        if self.backbone.kind == "dac" and self.channels != 1:
            raise ValueError("the dac backbone is mono: set channels to 1")
        return self

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return self.backbone.hop

    @property
    def frame_rate(self) -> float:
        """Frames per second (hertz)."""
        return self.sample_rate / self.hop
