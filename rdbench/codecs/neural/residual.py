"""What codecs with nested residual quantizers share: codes to streams, streams to codes.

A residual quantizer refines: its first n codebooks are the same whichever number is asked for.
One encode at the highest point therefore serves every lower one (`at` cuts codebooks). A subclass
brings the model; this class sees to lengths, batches, side information and devices. Clips of
different lengths are run in groups of one length, each at its true length, since these models
look at padding.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rdbench.codecs.base import Codec
from rdbench.codecs.batches import by_length, check_audio, pad_stack
from rdbench.codecs.precision import full_precision
from rdbench.types import (
    AudioBatch,
    CodecError,
    DecoderInput,
    Encoded,
    OperatingPoint,
    SideInformation,
    Tokens,
    TokenStream,
)

if TYPE_CHECKING:
    import torch

SCALE_BITS = 32
"""A scale is sent as float32."""


class ResidualCodec(Codec):
    """A neural codec with one stream of residual codes, and perhaps a scale per segment."""

    nested = True
    codebook_size: int = 1024
    model: Any

    @abstractmethod
    def _encode(
        self, samples: torch.Tensor, n_codebooks: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encodes clips of one length.

        Returns codes (clips, codebooks, frames), and scales (clips, segments) or None.
        """

    @abstractmethod
    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        """Samples (clips, channels, at least `length`)."""

    def _sizes(self, n_codebooks: int) -> tuple[int, ...]:
        """Entries of the first codebooks."""
        return (self.codebook_size,) * n_codebooks

    def codebooks_at(self, point: OperatingPoint) -> tuple[int, ...]:
        """Entries of the codebooks that `point` has."""
        return self._sizes(int(point.settings["n_codebooks"]))

    def to(self, device: torch.device | str) -> ResidualCodec:
        """Moves the model to `device`."""
        self.model.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        import torch

        device = next(self.model.parameters()).device
        return torch.device(device)

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """Encodes (clips, channels, time) in groups of one length, with `point`'s codebooks."""
        import torch

        check_audio(self.info, audio)
        n_codebooks = int(point.settings["n_codebooks"])

        def run(indices: list[int]) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
            length = int(audio.lengths[indices[0]])
            with torch.inference_mode(), full_precision():
                samples = audio.samples[indices][..., :length].to(self.device, torch.float32)
                codes, scales = self._encode(samples, n_codebooks)
            return [(codes[i], None if scales is None else scales[i]) for i in range(len(indices))]

        results = by_length(audio.lengths, run)
        codes, frames = pad_stack([codes for codes, _ in results])
        assert self.info.frame_rate is not None
        stream = TokenStream(codes, frames, self._sizes(n_codebooks), self.info.frame_rate)
        side: dict[str, SideInformation] = {}
        scales = [scale for _, scale in results if scale is not None]
        if scales:
            values, segments = pad_stack(scales)
            side["scale"] = SideInformation(values, segments * SCALE_BITS)
        return Encoded(Tokens((stream,)), audio.lengths, audio.sample_rate, audio.channels, side)

    def at(self, encoded: Encoded, point: OperatingPoint) -> Encoded:
        """The same codes with `point`'s number of codebooks; side information stays whole."""
        count = int(point.settings["n_codebooks"])
        return cut_codebooks(self.info.name, encoded, count, point)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Decodes to exactly the lengths that `decoder_input` states."""
        import torch

        stream = only_stream(self.info.name, decoder_input.payload)
        side = decoder_input.side.get("scale")

        def run(indices: list[int]) -> list[torch.Tensor]:
            frames = int(stream.frames[indices[0]])
            length = int(decoder_input.lengths[indices[0]])
            with torch.inference_mode(), full_precision():
                codes = stream.codes[indices][..., :frames].to(self.device)
                scales = None if side is None else side.values[indices].to(self.device)
                samples = self._decode(codes, scales, length)
            if samples.shape[-1] < length:
                raise CodecError(
                    f"{self.info.name} made {samples.shape[-1]} samples of {frames} frames, "
                    f"{length} were asked for: codes and lengths do not belong together"
                )
            return list(samples[..., :length])

        samples, lengths = pad_stack(by_length(decoder_input.lengths, run))
        return AudioBatch(samples, lengths, decoder_input.sample_rate)


def only_stream(name: str, payload: object) -> TokenStream:
    """The one token stream of a payload; raises CodecError for another payload."""
    if not isinstance(payload, Tokens) or len(payload.streams) != 1:
        raise CodecError(f"{name} works on one stream of tokens")
    return payload.streams[0]


def cut_codebooks(name: str, encoded: Encoded, count: int, point: OperatingPoint) -> Encoded:
    """The first `count` codebooks, those of `point`; side information stays whole."""
    stream = only_stream(name, encoded.payload)
    if count > stream.codes.shape[1]:
        raise CodecError(
            f"{name} cannot cut {stream.codes.shape[1]} codebooks to point {point.name!r} of "
            f"{count}; encode at {point.name!r}"
        )
    cut = replace(
        stream, codes=stream.codes[:, :count], codebook_sizes=stream.codebook_sizes[:count]
    )
    return replace(encoded, payload=Tokens((cut,)))
