"""`TokenCodec`: the base class for anyone's neural codec with tokens.

A subclass gives three things:

    codes(audio)            audio (clips, channels, time), all of one length, to all its codes
    decode_codes(codes)     codes (clips, codebooks, frames) to audio (clips, channels, time)
    frame_rate, codebook_sizes      handed to the constructor

and gets the rest: clips of unequal length in groups of equal length (no output depends on padding),
masks, points, rates (in `rdbench.rate`), exact lengths, devices. Codes are
those of one encode for all points: a residual quantizer (`nested`) is cut to its first codebooks.

A decoder that draws random numbers (`draws`), as diffusion decoders do, decodes each clip by itself
with torch's generators seeded by its codes, so that a clip sounds the same in any batch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdbench.codecs.neural.residual import ResidualCodec
from rdbench.codecs.points import resolve
from rdbench.codecs.seeds import noise_seed, seeded
from rdbench.types import CodecError, CodecInfo, OperatingPoint, RateKind, RunsOn

if TYPE_CHECKING:
    import torch

VERSION = 1
"""Raised when this class makes other codes or audio of the same model; part of every version."""


class TokenCodec(ResidualCodec):
    """A codec with one stream of codes.

    `modules`, handed to the constructor, is moved by `to`; `codes` and `decode_codes` get tensors
    on its device.
    """

    def __init__(
        self,
        *,
        name: str,
        sample_rate: int,
        frame_rate: float,
        codebook_sizes: Sequence[int],
        modules: torch.nn.Module,
        points: Sequence[float | str] | None = None,
        channels: tuple[int, ...] = (1,),
        nested: bool = True,
        draws: bool = False,
        family: str = "tokens",
        weights_sha256: str = "",
        licence: str = "",
        citation: str = "",
        version: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Says what the codec is.

        Args:
            name: in messages and rows.
            sample_rate: in hertz.
            frame_rate: of the codes, in hertz.
            codebook_sizes: entries of each codebook.
            modules: the model.
            points: what a spec lists: rates in kbps, or "q4" for the first four codebooks. None
                means one codebook, two, four, … and all.
            channels: channel counts that it takes.
            nested: whether the first codebooks alone can be decoded, as those of a residual
                quantizer; otherwise there is one point, with all of them.
            draws: whether the decoder draws random numbers.
            family: for the engine's labels.
            weights_sha256: hash of the weights.
            licence: of the weights.
            citation: how to cite them.
            version: of the model.
            details: anything else a reader should know.

        Raises:
            CodecError: for an unknown point.
        """
        self.model, self.draws = modules, draws
        self.sizes = tuple(codebook_sizes)
        every = [
            OperatingPoint(
                f"q{n}", _kbps(frame_rate, self.sizes[:n]), {"n_codebooks": n}
            )
            for n in range(1, len(self.sizes) + 1)
        ]  # fmt: skip
        powers = {2**power for power in range(len(self.sizes).bit_length())} | {len(self.sizes)}
        default = [point.name for point in every if point.settings["n_codebooks"] in powers]
        self.points = resolve(
            name, points, every if nested else every[-1:], default if nested else None
        )
        self.info = CodecInfo(
            name=name,
            family=family,
            sample_rates=(sample_rate,),
            channels=channels,
            headline=RateKind.NOMINAL,
            runs_on=RunsOn.DEVICE,
            frame_rate=frame_rate,
            parameters=sum(p.numel() for p in modules.parameters()),
            weights_sha256=weights_sha256,
            version=", ".join(filter(None, (version, f"tokens {VERSION}"))),
            licence=licence,
            citation=citation,
            details=dict(details or {}),
        )

    @abstractmethod
    def codes(self, audio: torch.Tensor) -> torch.Tensor:
        """All codes, integers (clips, codebooks, frames), of (clips, channels, time)."""

    @abstractmethod
    def decode_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Audio (clips, channels, time) of codes, int64 (clips, codebooks, frames).

        Of a nested codec there may be fewer codebooks than it has. What is longer than the clip is
        cut, what is shorter is filled with zeros.
        """

    def _sizes(self, n_codebooks: int) -> tuple[int, ...]:
        return self.sizes[:n_codebooks]

    def _encode(
        self, samples: torch.Tensor, n_codebooks: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        codes = self.codes(samples)
        shape = tuple(codes.shape)
        if len(shape) != 3 or shape[:2] != (len(samples), len(self.sizes)):
            raise CodecError(
                f"{self.info.name} made codes of the shape {shape}; they must be (clips, "
                f"codebooks, frames) with {len(samples)} clips and {len(self.sizes)} codebooks"
            )
        return codes[:, :n_codebooks].long(), None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        import torch

        if self.draws:
            made = []
            for clip in codes:
                with seeded(noise_seed([clip]), self.device):
                    made.append(self.decode_codes(clip[None]))
            audio = torch.cat(made)
        else:
            audio = self.decode_codes(codes)
        return torch.nn.functional.pad(audio, (0, max(0, length - audio.shape[-1])))


def _kbps(frame_rate: float, sizes: Sequence[int]) -> float:
    return frame_rate * math.fsum(math.log2(size) for size in sizes) / 1000
