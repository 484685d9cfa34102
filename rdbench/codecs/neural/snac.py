"""SNAC at any of its rates, through the package `snac`.

H. Siuzdak, F. Grötschla, L. A. Lanzendörfer, "SNAC: Multi-Scale Neural Audio Codec", 2024
(arXiv:2410.14411). Mono; residual codebooks of 4096 at several frame rates, each a stream of its
own. With the strides of the published models:

    24 kHz     12 bits × (11.72 + 23.44 + 46.88) Hz            = 0.984 kbps
    32 kHz     12 bits × (10.42 + 20.83 + 41.67 + 83.33) Hz    = 1.875 kbps
    44.1 kHz   12 bits × (14.36 + 28.71 + 57.42 + 114.84) Hz   = 2.584 kbps

The package pads a clip to whole frames of its slowest stream, and where it attends within windows
to whole windows (0.38 s at 32 kHz, 0.28 s at 44.1 kHz): all codes of them are sent, so that short
clips cost more than the label says. Its decoder adds noise: each clip is decoded by itself from the
generator of its device, which is seeded by the clip's codes, so that a clip sounds the same in any
batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rdbench.codecs.base import Codec
from rdbench.codecs.batches import by_length, check_audio, pad_stack
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.points import resolve
from rdbench.codecs.precision import full_precision
from rdbench.codecs.seeds import noise_seed, seeded
from rdbench.types import (
    AudioBatch,
    CodecError,
    CodecInfo,
    DecoderInput,
    Encoded,
    MissingExtraError,
    OperatingPoint,
    RateKind,
    RunsOn,
    Tokens,
    TokenStream,
)
from rdbench.weights.checkpoints import load_strict, read_checkpoint
from rdbench.weights.configs import build_bounded, config_named, read_config
from rdbench.weights.hub import folder_of, origin_of

if TYPE_CHECKING:
    import torch

ADAPTER = 1
"""Raised when the same weights give other codes or audio."""
CONFIG, WEIGHTS = "config.json", "pytorch_model.bin"
SOURCE = "https://huggingface.co/hubertsiuzdak/snac_24khz (or snac_32khz, snac_44khz)"

Width = Annotated[int, Field(ge=1, le=16_384)]
Stride = Annotated[int, Field(ge=1, le=64)]
Strides = Annotated[list[Stride], Field(min_length=1, max_length=8)]


class Snac(Codec):
    """A SNAC model; its one point has the streams of its configuration."""

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        subfolder: str = "",
        revision: str = "main",
    ) -> None:
        """Loads the model on the CPU.

        Args:
            points: there is one, called by its nominal kbps.
            weights: a folder with config.json and pytorch_model.bin, as the package has them,
                or the id of such a model on the Hugging Face hub, whose files are in this machine's
                cache.
            subfolder: where the files lie in it.
            revision: of a model of the hub: a commit, or a branch.

        Raises:
            CodecError: without `weights`, or for an unknown point.
            MissingExtraError: without the package `snac`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        try:
            from snac import SNAC
        except ImportError as error:
            raise MissingExtraError("codec 'snac'", "snac") from error
        folder = folder_of(
            weights,
            subfolder,
            revision,
            codec="codec 'snac'",
            package="snac",
            names=(WEIGHTS,),
            wanted=f"a folder with {CONFIG} and {WEIGHTS}, from {SOURCE}",
        )
        config = read_config(folder / CONFIG, SnacConfig, codec="codec 'snac'", source=SOURCE)
        checkpoint = read_checkpoint(folder / WEIGHTS)
        arguments = config.model_dump()
        build_bounded(lambda: SNAC(**arguments), folder / CONFIG, codec="codec 'snac'")
        self.model = SNAC(**arguments)  # its positions are no part of a checkpoint
        load_strict(self.model, checkpoint, codec="codec 'snac'")
        finest = config.sampling_rate / math.prod(config.encoder_rates)
        self._rates = [finest / stride for stride in config.vq_strides]
        self._size = config.codebook_size
        kbps = math.fsum(self._rates) * math.log2(self._size) / 1000
        only = OperatingPoint(f"{kbps:.2f}", kbps)
        self.points = resolve("snac", points, [only])
        self.info = CodecInfo(
            name="snac",
            family="snac",
            sample_rates=(config.sampling_rate,),
            channels=(1,),
            headline=RateKind.NOMINAL,
            runs_on=RunsOn.DEVICE,
            parameters=sum(p.numel() for p in self.model.parameters()),
            weights_sha256=checkpoint.sha256,
            version=f"snac {version('snac')}, {config_named(folder / CONFIG)}, adapter {ADAPTER}",
            licence="MIT",
            citation=CREDITS["snac"].citation,
            details={
                "weights": checkpoint.filename,
                "weights_bytes": (folder / WEIGHTS).stat().st_size,
                "weights_from": origin_of(str(weights), folder),
                "config": config.model_dump(),
            },
        )

    def to(self, device: torch.device | str) -> Codec:
        """Moves the model to `device`."""
        self.model.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        import torch

        return torch.device(next(self.model.parameters()).device)

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """Encodes clips in groups of one length; one stream for each codebook."""
        import torch

        check_audio(self.info, audio)

        def run(indices: list[int]) -> list[list[torch.Tensor]]:
            length = int(audio.lengths[indices[0]])
            with torch.inference_mode(), full_precision():
                samples = audio.samples[indices][..., :length].to(self.device, torch.float32)
                streams = self.model.encode(samples)
            return [[codes[i : i + 1] for codes in streams] for i in range(len(indices))]

        results = by_length(audio.lengths, run)
        streams = []
        for number, rate in enumerate(self._rates):
            codes, frames = pad_stack([one[number] for one in results])
            streams.append(TokenStream(codes, frames, (self._size,), rate))
        return Encoded(Tokens(tuple(streams)), audio.lengths, audio.sample_rate, audio.channels)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Decodes each clip by itself, to its length."""
        import torch

        payload = decoder_input.payload
        if not isinstance(payload, Tokens) or len(payload.streams) != len(self._rates):
            raise CodecError(f"snac works on {len(self._rates)} streams of tokens")
        made = []
        for clip, length in enumerate(decoder_input.lengths.tolist()):
            codes = [
                stream.codes[clip, :, : int(stream.frames[clip])].to(self.device)
                for stream in payload.streams
            ]
            noise = seeded(noise_seed(codes), self.device)
            with torch.inference_mode(), full_precision(), noise:
                samples = self.model.decode(codes)[0]
            if samples.shape[-1] < length:
                raise CodecError(
                    f"snac made {samples.shape[-1]} samples, {length} were asked for: codes and "
                    "lengths do not belong together"
                )
            made.append(samples[..., :length])
        samples, _ = pad_stack(made)
        return AudioBatch(samples, decoder_input.lengths, decoder_input.sample_rate)


class SnacConfig(BaseModel):
    """`config.json`, of sizes that a model has."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    sampling_rate: Annotated[int, Field(ge=8000, le=192_000)]
    encoder_dim: Width
    encoder_rates: Strides
    latent_dim: Width | None = None
    decoder_dim: Width
    decoder_rates: Strides
    attn_window_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    codebook_size: Annotated[int, Field(ge=2, le=2**20)]
    codebook_dim: Width
    vq_strides: Strides
    noise: bool = True
    depthwise: bool = True

    @model_validator(mode="after")
    def _check(self) -> SnacConfig:
        if math.prod(self.encoder_rates) != math.prod(self.decoder_rates):
            raise ValueError("encoder_rates and decoder_rates are of differing frames")
        if any(self.vq_strides[0] % stride for stride in self.vq_strides):
            raise ValueError("vq_strides do not divide the first of them")
        return self
