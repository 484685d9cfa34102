"""AutoencoderOobleck of `diffusers`: the VAE of Stable Audio, and others of its architecture.

Z. Evans, J. Parker, C. Carr, Z. Zukowski, J. Taylor, J. Pons, "Stable Audio Open", 2024
(arXiv:2407.14358). The published model: 44.1 kHz stereo, hop 2048 (21.53 frames/s), 64 channels.

Mean and scale come from `latent_dist` (.mean, .std); its own `.kl()` lacks the factor 1/2 and is
not used. Clips are encoded whole, padded with zeros to whole frames, and cut again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.types import CodecError, MissingExtraError, WeightsError
from rdbench.weights.checkpoints import (
    load_strict,
    read_checkpoint,
    tensors_sha256,
    without_memory,
)
from rdbench.weights.formats import MAX_BYTES
from rdbench.weights.hub import (
    CONFIG,
    WEIGHTS,
    folder_of,
    no_config,
    origin_of,
    read_config,
)

if TYPE_CHECKING:
    import torch

ADAPTER = 1
"""Raised when the same weights give other posteriors or audio."""

MAX_HOP = 2**16
"""Most samples of a frame: a clip is padded to whole ones."""
Width = Annotated[int, Field(ge=1, le=65_536)]
Stride = Annotated[int, Field(ge=1, le=1024)]

_CITATION = "Evans et al.: Stable Audio Open, 2024, arXiv:2407.14358"


class Oobleck(PosteriorCodec):
    """A `diffusers` AutoencoderOobleck on the KL axis."""

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        subfolder: str = "",
        revision: str = "main",
    ) -> None:
        """Loads the model on the CPU, in float32.

        Args:
            points: there is one, "posterior".
            weights: a folder in diffusers' layout (config.json and safetensors), or the id of one
                on the Hugging Face hub, whose files are in this machine's cache.
            subfolder: where the VAE lies in it ("vae" in a whole pipeline).
            revision: of a model of the hub: a commit, or a branch.

        Raises:
            CodecError: without `weights`, or for an unknown point.
            MissingExtraError: without the package `diffusers`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        if weights is None:
            raise CodecError(
                "codec 'oobleck' needs the option weights: a folder in diffusers' layout or a hub "
                "id such as stabilityai/stable-audio-open-1.0 (with subfolder: vae)"
            )
        try:
            from diffusers import AutoencoderOobleck
        except ImportError as error:
            raise MissingExtraError("codec 'oobleck'", "diffusers") from error
        folder = folder_of(
            str(weights), subfolder, revision, codec="codec 'oobleck'", package="diffusers"
        )
        model = _load(AutoencoderOobleck, folder)
        self.model = model
        self.hop = int(model.hop_length)
        super().__init__(
            name="oobleck",
            sample_rate=int(model.sampling_rate),
            frame_rate=model.sampling_rate / self.hop,
            modules=model,
            channels=(int(model.config.audio_channels),),
            points=points,
            weights_sha256=tensors_sha256(model),
            citation=_CITATION,
            version=f"diffusers {version('diffusers')}, adapter {ADAPTER}",
            details={
                "weights": Path(str(weights)).name,
                "weights_bytes": (folder / WEIGHTS).stat().st_size,
                "weights_from": origin_of(str(weights), folder),
                "latents": int(model.config.decoder_input_channels),
            },
        )

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation, (clips, latents, frames) each."""
        import torch

        padded = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % self.hop))
        latent = self.model.encode(padded).latent_dist
        return latent.mean, latent.std

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        """Audio of frames × hop samples."""
        audio: torch.Tensor = self.model.decode(z).sample
        return audio


class OobleckConfig(BaseModel):
    """The part of `config.json` that a model is built from, of sizes that a model has."""

    model_config = ConfigDict(frozen=True, strict=True)

    encoder_hidden_size: Width = 128
    downsampling_ratios: Annotated[list[Stride], Field(min_length=1, max_length=12)] = [
        2,
        4,
        4,
        8,
        8,
    ]
    channel_multiples: Annotated[list[Stride], Field(min_length=1, max_length=12)] = [
        1,
        2,
        4,
        8,
        16,
    ]
    decoder_channels: Width = 128
    decoder_input_channels: Width = 64
    audio_channels: Annotated[int, Field(ge=1, le=8)] = 2
    sampling_rate: Annotated[int, Field(ge=8000, le=192_000)] = 44_100

    @model_validator(mode="after")
    def _check(self) -> OobleckConfig:
        if len(self.downsampling_ratios) != len(self.channel_multiples):
            raise ValueError("downsampling_ratios and channel_multiples differ in number")
        if math.prod(self.downsampling_ratios) > MAX_HOP:
            raise ValueError(f"a frame has more than {MAX_HOP} samples")
        return self


def _load(build: Any, folder: Path) -> Any:
    """The model, which takes memory once its tensors are found to be those of the file."""
    config = _config(folder)
    try:
        with without_memory():
            model = build(**config.model_dump())
    except (RuntimeError, ValueError, OverflowError) as error:
        raise WeightsError(
            f"codec 'oobleck': no model can be built of {folder / CONFIG} ({_first_line(error)}); "
            "fetch it again"
        ) from error
    size = sum(tensor.numel() * 4 for tensor in model.state_dict().values())
    if size > MAX_BYTES:
        raise WeightsError(
            f"codec 'oobleck': {folder / CONFIG} asks for a model of {size} bytes, more than the "
            f"{MAX_BYTES} that are built; give the folder of a smaller one"
        )
    load_strict(model, read_checkpoint(folder / WEIGHTS), codec="codec 'oobleck'")
    return model


def _config(folder: Path) -> OobleckConfig:
    content = read_config(folder, codec="codec 'oobleck'")
    try:
        return OobleckConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise no_config(folder / CONFIG, reason, codec="codec 'oobleck'") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no reason given"
