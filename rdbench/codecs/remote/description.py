"""What a codec in another environment says of itself, checked before anything rests on it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rdbench.codecs.remote.worker import PROTOCOL
from rdbench.types import CodecError, OperatingPoint, RateKind

_MOST = 1024
Text = Annotated[str, Field(max_length=2000)]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Size = Annotated[int, Field(ge=2, lt=2**31)]
Sizes = Annotated[
    list[Annotated[list[Size], Field(min_length=1, max_length=_MOST)]], Field(max_length=_MOST)
]
Rate = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]

HEADLINES = {
    "tokens": RateKind.NOMINAL,
    "posterior": RateKind.KL,
    "packets": RateKind.PAYLOAD,
}


class Description(BaseModel):
    """What the worker tells of a codec when it has built it.

    frame_rates (hertz), codebook_sizes: of each stream. point_sizes: of a codec whose points have
    codebooks of their own, the sizes at each. points: promised kbps by name. batched:
    whether clips of one length may be coded together. moves: whether it has a method `to`. files:
    of its code. weight_files: of its weights, where it tells them. versions: of the interpreter and
    of packages.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    protocol: Annotated[int, Field(ge=PROTOCOL, le=PROTOCOL)]
    name: Name
    payload: Literal["tokens", "posterior", "packets"]
    sample_rate: Annotated[int, Field(ge=1000, le=768_000)]
    channels: Annotated[list[Annotated[int, Field(ge=1, le=64)]], Field(min_length=1)]
    frame_rates: Annotated[list[Rate], Field(max_length=_MOST)]
    codebook_sizes: Sizes
    point_sizes: Annotated[dict[Name, Sizes], Field(max_length=_MOST)]
    points: Annotated[dict[Name, Rate | None], Field(max_length=_MOST)]
    prior: bool
    batched: bool
    moves: bool
    delay: Annotated[int, Field(ge=0)]
    parameters: Annotated[int, Field(ge=0)] | None
    texts: dict[str, Text]
    versions: Annotated[dict[str, Name], Field(max_length=_MOST)]
    files: list[str]
    weight_files: list[str]

    @model_validator(mode="after")
    def _check(self) -> Description:
        if self.payload == "tokens" and (
            not self.frame_rates or len(self.frame_rates) != len(self.codebook_sizes)
        ):
            raise ValueError("needs a frame_rate and codebook_sizes, or a list of both")
        if self.point_sizes and (
            set(self.point_sizes) != set(self.points)
            or any(len(own) != len(self.frame_rates) for own in self.point_sizes.values())
        ):
            raise ValueError("needs codebook_sizes of every point, for each frame_rate")
        if self.payload == "posterior" and (len(self.frame_rates) != 1 or self.points):
            raise ValueError("needs one frame_rate and no points")
        return self

    @classmethod
    def read(cls, code: str, told: Any) -> Description:
        """What was told of the codec `code`; raises CodecError for what cannot be so."""
        try:
            return cls.model_validate(told)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or str(told.get("payload", "codec"))
            raise CodecError(
                f"codec {code!r} describes itself wrongly ({where}: {first['msg'][:120]}); mend "
                "its attributes"
            ) from error

    @property
    def headline(self) -> RateKind | None:
        """The rate kind that stands for it."""
        return None if self.payload == "posterior" and not self.prior else HEADLINES[self.payload]

    @property
    def version(self) -> str:
        """Its own version, where it has one, and those of what it runs on."""
        parts = [f"{name} {one}" for name, one in self.versions.items()]
        return ", ".join(filter(None, (self.texts.get("version", ""), *parts)))

    def sizes(self, point: str) -> list[list[int]]:
        """The sizes of the codebooks of each stream, at a point; fewer may be used."""
        return self.point_sizes.get(point, self.codebook_sizes)

    def operating_points(self) -> list[OperatingPoint]:
        """All its points; of one that names none, the only one there is."""
        if self.points:
            return [OperatingPoint(name, kbps) for name, kbps in self.points.items()]
        if self.payload != "tokens":
            return [OperatingPoint(self.payload, None)]
        bits = [
            rate * math.fsum(map(math.log2, sizes))
            for rate, sizes in zip(self.frame_rates, self.codebook_sizes, strict=True)
        ]
        return [OperatingPoint("tokens", math.fsum(bits) / 1000)]
