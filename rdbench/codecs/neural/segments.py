"""Clips in overlapping segments, each coded alone: EnCodec at 48 kHz.

Where segments begin follows from a clip's length alone: every stride begins one, so the last ones
may be short (of a clip of one second, coded in segments of 48,000 samples at every 47,520th, the
second has 480). Decoded segments are faded into each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.types import CodecError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Segments:
    """How clips are cut, in samples: a segment, from one's start to the next one's, a frame.

    >>> Segments(48_000, 47_520, 320).bounds(48_000)
    [(0, 48000), (47520, 48000)]
    >>> Segments(48_000, 47_520, 320).frames(48_000)
    [150, 2]
    """

    size: int
    stride: int
    hop: int

    def bounds(self, length: int) -> list[tuple[int, int]]:
        """Start and end of the segments of a clip of `length` samples."""
        return [(start, min(start + self.size, length)) for start in range(0, length, self.stride)]

    def frames(self, length: int) -> list[int]:
        """Frames of each of them: the last one may be partly padding."""
        return [-(-(end - start) // self.hop) for start, end in self.bounds(length)]

    def decode(
        self,
        codes: torch.Tensor,
        scales: torch.Tensor | None,
        length: int,
        decode_segment: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
        name: str,
    ) -> torch.Tensor:
        """Samples of codes (clips, codebooks, frames of all segments) and scales (clips, segments).

        Raises CodecError for codes or scales that do not belong to clips of `length` samples.
        """
        import torch
        from encodec.utils import _linear_overlap_add

        counts = self.frames(length)
        short = scales is not None and scales.shape[-1] < len(counts)
        if short or sum(counts) != codes.shape[-1]:
            raise CodecError(
                f"{name}: {codes.shape[-1]} frames do not belong to clips of {length} samples"
            )
        decoded = [
            decode_segment(part, None if scales is None else scales[:, i : i + 1])
            for i, part in enumerate(torch.split(codes, counts, dim=-1))
        ]
        # Where the last segment is shorter than the overlap, the one before it may reach further;
        # the packages' own `decode` then fails. Zeros behind the clip's end change nothing in it.
        if len(decoded) > 1:
            missing = decoded[-2].shape[-1] - self.stride - decoded[-1].shape[-1]
            decoded[-1] = torch.nn.functional.pad(decoded[-1], (0, max(0, missing)))
        samples: torch.Tensor = _linear_overlap_add(decoded, self.stride)
        return samples
