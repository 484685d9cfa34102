"""What a probe is: its architecture, and the latent that it generates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rdbench.models.config import Count, Frozen

BANDS = 20
"""Bands of the coarse log-mel that a probe is conditioned on."""


class ProbeShape(Frozen):
    """The architecture, the same for every checkpoint.

    reach: how far attention sees to each side, in seconds, so that a clip of any length looks like
    the crops that a probe was trained on.
    """

    width: Count = 128
    layers: Annotated[int, Field(ge=1, le=64)] = 4
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    reach: Annotated[float, Field(gt=0, le=60)] = 1.0

    @model_validator(mode="after")
    def _check(self) -> ProbeShape:
        if self.width % (2 * self.heads):
            raise ValueError("width must be a multiple of 2 · heads")
        return self


class ProbeConfig(Frozen):
    """A probe of one latent.

    channels: of the latent. live: those that are generated, ascending; the others are dead (their
    KL is below 0.01 nat per frame) and say nothing. frame_rate: of the latent, in hertz.
    sample_rate: of the codec, in hertz. target: what is generated, a `sample` of q or its `mean`.
    """

    shape: ProbeShape = ProbeShape()
    channels: Count
    live: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, max_length=65_536)]
    frame_rate: Annotated[float, Field(gt=0, le=768_000)]
    sample_rate: Annotated[int, Field(ge=1000, le=768_000)]
    target: Literal["sample", "mean"] = "sample"

    @model_validator(mode="after")
    def _check(self) -> ProbeConfig:
        if list(self.live) != sorted(set(self.live)) or self.live[-1] >= self.channels:
            raise ValueError("live must list channels of the latent, ascending")
        return self

    @property
    def reach_frames(self) -> int:
        """How many frames attention sees to each side."""
        return max(1, round(self.shape.reach * self.frame_rate))
