"""What codecs with nested residual quantizers share: codes to streams, streams to codes.

A residual quantizer refines: its first n codebooks are the same whichever number is asked for.
One encode at the highest point therefore serves every lower one (`at` cuts codebooks). A subclass
brings the model; this class sees to lengths, batches, side information and devices. Clips of
different lengths are run in groups of one length, each at its true length, since these models
look at padding.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rdbench.codecs.base import Codec
from rdbench.codecs.neural.bucketing import by_length, pad_stack
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

    @property
    def n_codebooks(self) -> int:
        """Codebooks of the model, whatever points were asked for."""
        return int(self.full_point.settings["n_codebooks"])

    @property
    @abstractmethod
    def full_point(self) -> OperatingPoint:
        """The point at which the model uses all its codebooks."""

    def self_check(self) -> list[str]:
        """For weights that should be the published ones: codes in use, and a plausible PESQ."""
        from rdbench.codecs.neural.plausibility import check_pretrained

        return check_pretrained(self) if self.info.details.get("pretrained") else []

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

        self._check(audio)
        n_codebooks = int(point.settings["n_codebooks"])

        def run(indices: list[int]) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
            length = int(audio.lengths[indices[0]])
            with torch.inference_mode(), self._full_precision():
                samples = audio.samples[indices][..., :length].to(self.device, torch.float32)
                codes, scales = self._encode(samples, n_codebooks)
            return [(codes[i], None if scales is None else scales[i]) for i in range(len(indices))]

        results = by_length(audio.lengths, run)
        codes, frames = pad_stack([codes for codes, _ in results])
        assert self.info.frame_rate is not None
        stream = TokenStream(
            codes, frames, (self.codebook_size,) * n_codebooks, self.info.frame_rate
        )
        side: dict[str, SideInformation] = {}
        scales = [scale for _, scale in results if scale is not None]
        if scales:
            values, segments = pad_stack(scales)
            side["scale"] = SideInformation(values, segments * SCALE_BITS)
        return Encoded(Tokens((stream,)), audio.lengths, audio.sample_rate, audio.channels, side)

    def at(self, encoded: Encoded, point: OperatingPoint) -> Encoded:
        """The same codes with `point`'s number of codebooks; side information stays whole."""
        stream = _stream(encoded.payload)
        n_codebooks = int(point.settings["n_codebooks"])
        if n_codebooks > stream.codes.shape[1]:
            raise CodecError(
                f"{self.info.name} cannot cut {stream.codes.shape[1]} codebooks to point "
                f"{point.name!r} of {n_codebooks}; encode at {point.name!r}"
            )
        cut = replace(
            stream,
            codes=stream.codes[:, :n_codebooks],
            codebook_sizes=stream.codebook_sizes[:n_codebooks],
        )
        return replace(encoded, payload=Tokens((cut,)))

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Decodes to exactly the lengths that `decoder_input` states."""
        import torch

        stream = _stream(decoder_input.payload)
        side = decoder_input.side.get("scale")

        def run(indices: list[int]) -> list[torch.Tensor]:
            frames = int(stream.frames[indices[0]])
            length = int(decoder_input.lengths[indices[0]])
            with torch.inference_mode(), self._full_precision():
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

    def _full_precision(self) -> AbstractContextManager[Any]:
        """No TF32 on CUDA: its ten bits of mantissa flip codes."""
        import torch

        if self.device.type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )

    def _check(self, audio: AudioBatch) -> None:
        info = self.info
        if audio.sample_rate not in info.sample_rates or audio.channels not in info.channels:
            rates = " or ".join(str(rate) for rate in info.sample_rates)
            channels = " or ".join(str(count) for count in info.channels)
            raise CodecError(
                f"{info.name} takes {rates} Hz with {channels} channel(s), not "
                f"{audio.sample_rate} Hz with {audio.channels}; convert the audio first"
            )
        if audio.clips == 0 or int(audio.lengths.min()) < 1:
            raise CodecError(f"{info.name} cannot encode an empty clip; leave it out")


def _stream(payload: object) -> TokenStream:
    if not isinstance(payload, Tokens):
        raise TypeError(f"expected tokens, not {type(payload).__name__}")
    return payload.streams[0]
