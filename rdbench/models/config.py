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


class SpectrogramConfig(Frozen):
    """2-D convolutions on a log-magnitude spectrogram, decoded with a phase by Griffin-Lim.

    spectrum_hop, window: of the spectrogram, in samples. widths: channels of the layers, each of
    which halves the frequencies. strides: spectra that become one in each layer, 1 or 2; their
    product times `spectrum_hop` is the samples per frame. rounds: of Griffin-Lim.
    """

    kind: Literal["spectrogram"] = "spectrogram"
    spectrum_hop: Count = 160
    window: Annotated[int, Field(ge=16, le=65_536)] = 512
    widths: Annotated[Strides, Field(min_length=1)] = (16, 32, 64, 64)
    strides: tuple[Literal[1, 2], ...] = (1, 2, 1, 1)
    rounds: Annotated[int, Field(ge=1, le=1000)] = 32

    @model_validator(mode="after")
    def _check(self) -> SpectrogramConfig:
        if len(self.strides) != len(self.widths):
            raise ValueError("widths and strides must list as many layers")
        if self.window % 2 ** (len(self.widths) + 1):
            raise ValueError("window must be divisible by 2 once for each layer and once more")
        if not 2 * self.spectrum_hop <= self.window < 2 * self.hop:
            raise ValueError(
                "window must be 2 hops of the spectrogram at least, and less than 2 frames, so "
                "that a clip of one frame can be inverted"
            )
        return self

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return self.spectrum_hop * math.prod(self.strides)

    @property
    def bands(self) -> int:
        """Rows that are left of the spectrogram behind the last layer."""
        return self.window >> (len(self.widths) + 1)


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
    def indices(self) -> tuple[int, ...]:
        """How many indices of a frame are of each codebook."""
        return (1,) * self.codebooks

    @property
    def nested(self) -> bool:
        """Whether the first codebooks alone are of use: they are where training left others out."""
        return self.dropout > 0.0


class VqConfig(Frozen):
    """Vector quantization of `channels` latents by one codebook, or by one for each of two levels.

    codebook_size: entries of each. decay: of the moving averages that the entries follow, per step.
    smoothing: Laplace's, of the share of frames that an entry has.
    restart_below: an entry that is chosen for less than this part of an even share starts again at
        an output of the encoder; 0 for never.
    top_stride: frames of the backbone for which one index of the upper of two levels stands; None
        for one level.
    """

    kind: Literal["vq"] = "vq"
    channels: Count = 64
    codebook_size: Annotated[int, Field(ge=2, le=65_536)] = 512
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    smoothing: Annotated[float, Field(ge=0, le=1)] = 1e-5
    restart_below: Annotated[float, Field(ge=0, lt=1)] = 0.05
    top_stride: Annotated[int, Field(ge=2, le=64)] | None = None

    @property
    def stride(self) -> int:
        """Frames of the backbone in a frame of indices."""
        return self.top_stride or 1

    @property
    def indices(self) -> tuple[int, ...]:
        """How many indices of a frame are of each codebook: the upper level's, then the lower's."""
        return (1,) if self.top_stride is None else (1, self.top_stride)

    @property
    def nested(self) -> bool:
        """Whether the first codebooks alone are of use."""
        return False


class AutoencoderConfig(Frozen):
    """An autoencoder: sample rate (hertz), audio channels, backbone and bottleneck."""

    sample_rate: Annotated[int, Field(ge=1000, le=768_000)] = 16_000
    channels: Annotated[int, Field(ge=1, le=64)] = 1
    backbone: Annotated[
        SpectralConfig | DacConfig | SpectrogramConfig | StarConfig, Field(discriminator="kind")
    ] = SpectralConfig()
    bottleneck: Annotated[GaussianConfig | RvqConfig | VqConfig, Field(discriminator="kind")] = (
        GaussianConfig()
    )

    @model_validator(mode="after")
    def _check(self) -> AutoencoderConfig:
        if self.backbone.kind == "dac" and self.channels != 1:
            raise ValueError("the dac backbone is mono: set channels to 1")
        return self

    @property
    def hop(self) -> int:
        """Samples per frame: of latents, or of indices, which may stand for several latents."""
        bottleneck = self.bottleneck
        return self.backbone.hop * (bottleneck.stride if isinstance(bottleneck, VqConfig) else 1)

    @property
    def bits_per_frame(self) -> float | None:
        """Nominal bits of a frame's indices, all codebooks together; None for a Gaussian."""
        bottleneck = self.bottleneck
        if isinstance(bottleneck, GaussianConfig):
            return None
        return sum(bottleneck.indices) * math.log2(bottleneck.codebook_size)

    @property
    def frame_rate(self) -> float:
        """Frames per second (hertz)."""
        return self.sample_rate / self.hop
