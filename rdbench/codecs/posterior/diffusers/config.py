"""What a `config.json` of diffusers says: which model is built of it, and how it is run.

A class of the package is known here by a subclass of `Autoencoder`, which bounds the sizes that
`config.json` may ask for and calls the model. What it does not list goes to the package's class as
it is, which knows what it means and refuses what it does not take.
"""

from __future__ import annotations

import inspect
import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch

Width = Annotated[int, Field(ge=1, le=65_536)]
Depth = Annotated[int, Field(ge=1, le=128)]
Stride = Annotated[int, Field(ge=1, le=1024)]
Strides = Annotated[list[Stride], Field(min_length=1, max_length=12)]
Depths = Annotated[list[Depth], Field(min_length=1, max_length=12)]
Dilations = Annotated[list[Strides], Field(min_length=1, max_length=12)]
Channels = Annotated[int, Field(ge=1, le=8)]
SampleRate = Annotated[int, Field(ge=8000, le=192_000)]


class ModelConfig(BaseModel):
    """A model of the class `builds` of diffusers.

    A subclass's fields are what it bounds or needs of `config.json`, by the names there.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    builds: ClassVar[str]

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """The configuration in a table; what it leaves out is as the package has it.

        Raises ValueError for sizes that no model has.
        """
        taken = inspect.signature(cls._class()).parameters
        defaults = {key: one.default for key, one in taken.items()}
        # As JSON has them: lists, where the package has tuples.
        return cls.model_validate({**json.loads(json.dumps(defaults)), **content})

    @classmethod
    def _class(cls) -> Any:
        import diffusers

        return getattr(diffusers, cls.builds)

    def build(self) -> torch.nn.Module:
        """The model as the package builds it; raises what its class raises."""
        build = self._class()
        taken = inspect.signature(build).parameters
        model: torch.nn.Module = build(
            **{key: value for key, value in self._arguments().items() if key in taken}
        )
        return model

    def _arguments(self) -> dict[str, Any]:
        return self.model_dump()

    def complete(self, model: Any) -> None:
        """Gives a model that was built without memory what no checkpoint holds."""


@dataclass(frozen=True)
class Layout:
    """Audio and latent of an autoencoder.

    sample_rate: in hertz. channels: of the audio. hop: samples of a frame. latents: channels of the
    latent.
    """

    sample_rate: int
    channels: int
    hop: int
    latents: int


class Autoencoder(ModelConfig):
    """A model with a posterior or a latent, whose decoder gives audio."""

    citation: ClassVar[str]
    prior: ClassVar[bool] = True
    """Whether its latent has a posterior, trained towards N(0, I)."""
    vocoder: ClassVar[type[ModelConfig] | None] = None
    """What makes audio of what the decoder gives, where that is a spectrogram."""

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """What `config.json` says of audio and latent."""

    def posterior(
        self, model: Any, audio: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean and σ, (clips, latents, frames), of whole frames of audio (clips, channels, time).

        The scale is None where there is no posterior.
        """
        latent = model.encode(audio).latent_dist
        return latent.mean, latent.std

    def decode(self, model: Any, z: torch.Tensor) -> torch.Tensor:
        """Audio (clips, channels, time) of a latent (clips, latents, frames)."""
        audio: torch.Tensor = model.decode(z).sample
        return audio
