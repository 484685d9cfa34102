"""What cannot be given a rate: tokens and posteriors are checked before a bit is counted.

A codebook's size and a frame rate are what an adapter says of a model: codes of 0 to 255 under "16
entries" would halve the published rate, and so would frames that are left out. Codes are held
against their sizes, and frames against the clip's seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rdbench.types import CodecError, Encoded, Posterior, Tokens, TokenStream

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Codes = NDArray[np.int32]
    ClipCodes = list[Codes]


FRAMES_MISSING = 2
"""Frames that a codec may have fewer than fit into a clip, as one without padding has."""
SECONDS_MORE = 1.0
"""What a codec may append to fill its last frame, block or segment."""
DURATION_SLACK = 0.02
"""Share by which its frames may last shorter or longer than a clip: segments overlap."""


class PayloadError(CodecError):
    """Tokens or a posterior that no rate can be given: says which clip, and what is wrong."""


def check_encoded(encoded: Encoded, names: Sequence[str] | None = None) -> None:
    """Raises PayloadError for tokens or a posterior that cannot be what was made of these clips.

    That is what `clip_codes` and `check_posterior` refuse, and frames that last shorter or longer
    than the clip: by DURATION_SLACK and FRAMES_MISSING, or DURATION_SLACK and SECONDS_MORE. A
    posterior of a single frame is one of the whole clip.
    """
    payload = encoded.payload
    if isinstance(payload, Tokens):
        clip_codes(payload, names)
        for number, stream in enumerate(payload.streams):
            _check_duration(encoded, stream, f", token stream {number}", names)
    elif isinstance(payload, Posterior):
        check_posterior(payload, names)
        _check_duration(encoded, payload, "", names)


def clip_codes(tokens: Tokens, names: Sequence[str] | None = None) -> list[ClipCodes]:
    """The valid tokens of each clip: per stream an int32 array (codebooks, frames).

    names: of the clips, for messages. Raises PayloadError for a clip without frames, with more
    frames than there are codes, or with a token outside its codebook.
    """
    clips: list[ClipCodes] = [[] for _ in tokens.streams[0].frames] if tokens.streams else []
    for number, stream in enumerate(tokens.streams):
        codes = stream.codes.detach().cpu().numpy()
        sizes = np.array(stream.codebook_sizes)
        for index, frames in enumerate(stream.frames.tolist()):
            who = f"{clip_name(index, names)}, token stream {number}"
            check_frames(frames, codes.shape[-1], who)
            valid = codes[index, :, :frames]
            wrong = (valid < 0) | (valid >= sizes[:, None])
            if wrong.any():
                codebook, frame = np.argwhere(wrong)[0]
                raise PayloadError(
                    f"{who}: token {valid[codebook, frame]} of codebook {codebook} at frame "
                    f"{frame} is outside its {sizes[codebook]} entries; the codec's output or its "
                    "codebook sizes are wrong"
                )
            clips[index].append(np.ascontiguousarray(valid, np.int32))
    return clips


def check_posterior(posterior: Posterior, names: Sequence[str] | None = None) -> torch.Tensor:
    """Which frames are valid, bool (clips, longest), on the CPU.

    Raises PayloadError for a clip without frames or with more than there are, and, among its
    valid frames, a mean that is not finite or a scale that is not finite and positive.
    """
    import torch

    longest = posterior.mean.shape[-1]
    for index, frames in enumerate(posterior.frames.tolist()):
        check_frames(frames, longest, clip_name(index, names))
    valid = torch.arange(longest)[None, :] < posterior.frames.cpu()[:, None]
    mean = posterior.mean.detach().cpu()
    _refuse(mean, ~mean.isfinite(), valid, "a mean that is not finite", names)
    if posterior.scale is not None:
        scale = posterior.scale.detach().cpu()
        wrong = ~scale.isfinite() | (scale <= 0)
        _refuse(scale, wrong, valid, "a scale that is not finite and positive", names)
    return valid


def check_frames(frames: int, available: int, who: str) -> None:
    """Raises PayloadError unless there is at least one frame, and no more than `available`."""
    if frames < 1:
        raise PayloadError(f"{who}: it has no frames; leave the clip out")
    if frames > available:
        raise PayloadError(f"{who}: it is said to have {frames} frames and has {available}")


def _check_duration(
    encoded: Encoded, framed: TokenStream | Posterior, what: str, names: Sequence[str] | None
) -> None:
    seconds = (encoded.lengths.double() / encoded.sample_rate).tolist()
    rate = framed.frame_rate
    for index, (frames, lasts) in enumerate(zip(framed.frames.tolist(), seconds, strict=True)):
        least = lasts * (1 - DURATION_SLACK) * rate - FRAMES_MISSING
        most = (lasts * (1 + DURATION_SLACK) + SECONDS_MORE) * rate + FRAMES_MISSING
        whole = frames == 1 and isinstance(framed, Posterior)
        if not (least <= frames <= most or whole):
            raise PayloadError(
                f"{clip_name(index, names)}{what}: it has {frames} frames, and {lasts:.3g} s at "
                f"{rate:g} frames per second are {lasts * rate:.4g}; the codec's frames or its "
                "frame rate are wrong"
            )


def clip_name(index: int, names: Sequence[str] | None) -> str:
    """How a message calls a clip."""
    return f"clip {names[index]!r}" if names else f"clip {index} in its batch"


def _refuse(
    values: torch.Tensor,
    wrong: torch.Tensor,
    valid: torch.Tensor,
    what: str,
    names: Sequence[str] | None,
) -> None:
    found = wrong & valid[:, None, :]
    if found.any():
        index, channel, frame = found.nonzero()[0].tolist()
        raise PayloadError(
            f"the posterior of {clip_name(index, names)} has {what} "
            f"({values[index, channel, frame].item():g} in channel {channel} at frame {frame}); "
            "the model's output cannot be given a rate"
        )
