"""The one interface behind which every codec stands.

A codec turns an `AudioBatch` at one of its native rates into an `Encoded`, and a `DecoderInput`
back into an `AudioBatch` of exactly the reference's lengths, with the delay that it declares
removed. It never computes a rate (`rdbench.rate` does, from the `Encoded`) and never changes its
input.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rdbench.types import (
    CODES,
    AudioBatch,
    CodecError,
    CodecInfo,
    Counted,
    DecoderInput,
    Encoded,
    OperatingPoint,
    Posterior,
    RateKind,
    Variant,
    usual_kinds,
)

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from rdbench.audio.load import Part


class Codec(ABC):
    """A codec at one or more operating points.

    info: what it is. points: the rates it can be run at, cheapest first. nested: whether one
    encode at the last point serves every lower one through `at`. opens: files of others that it
    may open, or run, at any time, each with its SHA-256 as it was built: a run holds them against
    that. (Of a codec that is not rdbench's own the engine finds them by itself.) code_files: the
    files of its code, where that runs in another environment; None where it was imported here.
    """

    info: CodecInfo
    points: tuple[OperatingPoint, ...]
    nested: bool = False
    opens: Mapping[Path, str] = MappingProxyType({})
    code_files: tuple[Path, ...] | None = None

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants this codec can decode, the headline one first."""
        return (CODES,)

    @property
    def rate_kinds(self) -> tuple[RateKind, ...]:
        """Every kind of rate that follows from what it encodes, the headline first."""
        return usual_kinds(self.info.headline)

    @property
    def variant_names(self) -> tuple[str, ...]:
        """What a spec may ask for, by name; of a family of variants its form, such as noise_K."""
        return tuple(variant.name for variant in self.variants)

    def can_decode(self, variant: Variant) -> bool:
        """Whether a spec may ask for it."""
        return variant in self.variants

    def point(self, name: str) -> OperatingPoint:
        """The operating point called `name`; raises CodecError with the names there are."""
        for point in self.points:
            if point.name == name:
                return point
        known = ", ".join(p.name for p in self.points)
        raise CodecError(f"{self.info.name} has no operating point {name!r}; it has: {known}")

    def codebooks_at(self, point: OperatingPoint) -> tuple[int, ...]:
        """Entries of each codebook of a frame, for codes of one stream of tokens; else nothing.

        A manifest has them, so that a nominal rate can be counted again without the codec.
        """
        return ()

    def to(self, device: torch.device | str) -> Codec:
        """Moves a model codec to `device`; the others stay where they are. Returns itself."""
        return self

    def self_check(self) -> list[str]:
        """What speaks against this codec's working as published; empty where nothing does.

        The engine asks once before a run; a codec with findings is not run. Meant for weights
        that claim to be the published ones.
        """
        return []

    def roundtrip(
        self,
        audio: Any,
        sample_rate: int,
        *,
        point: str | float | None = None,
        variant: str | None = None,
        seed: int = 0,
    ) -> Any:
        """Encodes and decodes audio as a run does, at the rate and the channels that it has.

        Args:
            audio: a clip (time,) or (channels, time), a batch (clips, channels, time), or a list
                of clips; NumPy arrays or tensors of floats, full scale at ±1.
            sample_rate: of all of it, in hertz.
            point: the name or the kbps of one; None where the codec has one alone.
            variant: what is decoded (docs/rates.md); None is the codec's headline.
            seed: of variants that draw at random; each clip has its own.

        Returns:
            The reconstruction in the form of `audio`, float32, with the declared delay removed.

        Raises:
            CodecError: for a point or a variant that there is not, and what cannot be encoded.
            SpecError: for audio of another form.

        >>> import numpy as np
        >>> from rdbench.codecs import opus
        >>> tone = 0.5 * np.sin(np.arange(24000) * 0.1)
        >>> opus(12).roundtrip(tone, 24000).shape
        (24000,)
        """
        from rdbench.codecs.by_hand import roundtrip

        return roundtrip(self, audio, sample_rate, point=point, variant=variant, seed=seed)

    def __repr__(self) -> str:
        """The name, the points and which bits stand for it."""
        info = getattr(self, "info", None)
        if info is None:  # while it is built
            return object.__repr__(self)
        names = ", ".join(point.name for point in self.points)
        return f"<{info.name} at {names}: {info.headline or 'no rate'}>"

    @abstractmethod
    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """Encodes clips, (clips, channels, time) at a native rate and channel count."""

    def at(self, encoded: Encoded, point: OperatingPoint) -> Encoded:
        """Cuts what was encoded at the last point to a lower one (nested codecs only)."""
        raise CodecError(f"{self.info.name} is not nested: encode at {point.name!r} instead")

    def decoder_input(
        self,
        encoded: Encoded,
        variant: Variant,
        clip_seeds: Sequence[int],
        given: Sequence[Any] = (),
    ) -> DecoderInput:
        """What the decoder receives under `variant`; `clip_seeds` has one seed for each clip.

        given: what was made elsewhere for each clip, and for nothing else: of a variant that is
        predicted a latent, float32 (channels, frames); of a `GivenCodec` what it found.
        """
        if variant != CODES or isinstance(encoded.payload, Posterior | Counted):
            raise CodecError(f"{self.info.name} has no variant {variant.name!r}")
        return DecoderInput(
            encoded.payload, encoded.lengths, encoded.sample_rate, encoded.channels, encoded.side
        )

    @abstractmethod
    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Decodes to the lengths, rate and channels that `decoder_input` states."""


class Given(Protocol):
    """What was made elsewhere of one clip, as it was found when the run was planned.

    It is picklable, since it is used by other processes.
    """

    @property
    def content(self) -> str:
        """Names what it holds, for the keys of its clip; "" where there is nothing."""


class GivenCodec(Codec):
    """A codec that codes nothing: what it made of each clip was made elsewhere.

    The engine asks for it by the clips' names, once, when a run is planned, and hands it back to
    `encode` and `decoder_input`. The settings of a point say all that its options do to a value,
    and no paths: keys have them in the place of the options, and `Given.content` for the files.

    made_of: of what it was made where a protocol takes a part of a clip: of the whole "clip", so
    that the codec takes the same part of what it has, or of the "excerpt" itself. None: nothing
    says so, and such a protocol is refused.
    """

    made_of: Literal["clip", "excerpt"] | None = None

    @abstractmethod
    def find(
        self,
        point: OperatingPoint,
        clips: Sequence[str],
        locate: Callable[[str], Path],
        *,
        parts: Mapping[str, Part] = MappingProxyType({}),
    ) -> Mapping[str, Given]:
        """What there is at a point for each of `clips`, by name.

        locate: from a path in the options to the path that it means. parts: of clips that were
        made whole, and of which the protocol takes a part. What is wrong with one clip
        (a file that is missing, two files) is told when it is used, and costs that clip alone.
        Raises CodecError for what can be used for no clip, such as a folder that is not there.
        """

    @abstractmethod
    def encode(
        self, audio: AudioBatch, point: OperatingPoint, given: Sequence[Any] = ()
    ) -> Encoded:
        """What was made of the clips of `audio`; given: what `find` found for each of them.

        Raises CodecError or AudioError for a clip that it cannot be taken from, ChangedError where
        a file is no longer what was found.
        """
