"""What the rate of a clip follows from: tokens, a posterior, or bits that were counted elsewhere.

Arrays are (codebooks, frames) and (channels, frames); an array of tokens may be (frames,), and a
leading axis of one clip, as models give it, is dropped. Frame rates are those of the clip: frames
over its unpadded seconds. Of a part of a clip these are the frames that lie in it, to the nearest
whole one at either end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.codecs.batches import pad_stack
from rdbench.codecs.elsewhere.arrays import read_arrays
from rdbench.codecs.elsewhere.clip_files import MOST_BYTES, ClipFiles, HashedFile
from rdbench.rate.validate import check_posterior, clip_codes
from rdbench.text import first_line
from rdbench.types import AudioBatch, CodecError, Counted, Posterior, RateKind, Tokens, TokenStream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdbench.audio.load import Part

    Sizes = int | Sequence[int] | Mapping[str, int | Sequence[int]]

MOST_CODEBOOKS = 128
"""An array with more rows is one that lies on its side."""


def counted(kind: RateKind, given: Sequence[ClipFiles]) -> Counted:
    """Eight bits for each byte of a clip's bitstream; raises as `HashedFile.read` does.

    A part of a clip has the share of them that it has of the clip's time.
    """
    import torch

    bits = [
        8.0
        * (len(one.coded["bitstreams"].read()) if one.size is None else one.size)
        * (one.part.length / one.part.total if one.part else 1.0)
        for one in given
    ]
    return Counted(kind, torch.tensor(bits, dtype=torch.float64))


def stated(kbps: float, audio: AudioBatch) -> Counted:
    """The bits that a stated rate comes to."""
    return Counted(RateKind.STATED, 1000.0 * kbps * audio.seconds)


def tokens(given: Sequence[ClipFiles], audio: AudioBatch, sizes: Sizes) -> Tokens:
    """The tokens of clips.

    sizes: entries of every codebook alike, of each, or of either by the name of an array, where a
    codec has streams of several frame rates. Raises CodecError for arrays that do not fit them,
    and for tokens outside of their codebook.
    """
    import torch

    by_name = dict(sizes) if isinstance(sizes, Mapping) else {"": sizes}
    names, most_of = [one.clip for one in given], _samples(given, audio)
    found = [_token_arrays(one, by_name, most) for one, most in zip(given, most_of, strict=True)]
    streams = []
    for name, of_stream in by_name.items():
        codes, frames = pad_stack([torch.from_numpy(arrays[name]) for arrays in found])
        count = int(codes.shape[1])
        each = (of_stream,) * count if isinstance(of_stream, int) else tuple(of_stream)
        streams.append(TokenStream(codes, frames, each, _frame_rate(frames, audio)))
    made = Tokens(tuple(streams))
    clip_codes(made, names)
    return made


def posterior(given: Sequence[ClipFiles], audio: AudioBatch) -> Posterior:
    """The posteriors of clips, of arrays `mean` and `scale` (σ).

    Raises CodecError for files without them, values that are not finite, and scales that are not
    positive.
    """
    import torch

    found = [
        _mean_and_scale(one, most) for one, most in zip(given, _samples(given, audio), strict=True)
    ]
    mean, frames = pad_stack([torch.from_numpy(mean) for mean, _ in found])
    scale, _ = pad_stack([torch.from_numpy(scale) for _, scale in found])
    made = Posterior(mean, scale, frames, _frame_rate(frames, audio))
    check_posterior(made, [one.clip for one in given])
    return made


def _token_arrays(
    given: ClipFiles, sizes: Mapping[str, int | Sequence[int]], most: int
) -> dict[str, NDArray[np.int64]]:
    file = given.coded["tokens"]
    what = f"{file.path}, the tokens of {given.clip!r},"
    arrays = _arrays(file, "iu", "save whole numbers")
    if set(sizes) == {""} and len(arrays) == 1:
        arrays = {"": next(iter(arrays.values()))}
    if set(arrays) != set(sizes):
        raise CodecError(
            f"{what} has the arrays {_listed(arrays)}, and `codebook_sizes` is of "
            f"{_listed(sizes)}; name the same"
        )
    return {
        name: _taken(_codes(values, sizes[name], what, most), given.part)
        for name, values in arrays.items()
    }


def _codes(
    values: NDArray[Any], sizes: int | Sequence[int], what: str, most: int
) -> NDArray[np.int64]:
    rows = _rows(values if values.ndim > 1 else values[None], what, most)
    if rows.dtype.kind == "u" and rows.size and rows.max() > np.iinfo(np.int64).max:
        raise CodecError(f"{what} has tokens beyond 63 bits; mend the file")
    wanted = len(rows) if isinstance(sizes, int) else len(sizes)
    if len(rows) != wanted or len(rows) > MOST_CODEBOOKS:
        raise CodecError(
            f"{what} has the shape {values.shape}, where "
            + (f"{wanted} codebooks" if len(rows) != wanted else f"at most {MOST_CODEBOOKS} rows")
            + " are expected; save (codebooks, frames)"
        )
    return np.array(rows, np.int64)


def _mean_and_scale(given: ClipFiles, most: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    file = given.coded["latents"]
    what = f"{file.path}, the latent of {given.clip!r},"
    arrays = _arrays(file, "f", "save floats")
    if set(arrays) != {"mean", "scale"}:
        raise CodecError(f"{what} has the arrays {_listed(arrays)}; save mean and scale (σ)")
    mean, scale = (_rows(arrays[name], what, most) for name in ("mean", "scale"))
    if mean.shape != scale.shape:
        raise CodecError(
            f"{what} has a mean of the shape {mean.shape} and a scale of {scale.shape}; save both "
            "(channels, frames)"
        )
    with np.errstate(over="ignore"):
        mean, scale = np.array(mean, np.float32), np.array(scale, np.float32)
    return _taken(mean, given.part), _taken(scale, given.part)


def _arrays(file: HashedFile, kinds: str, wanted: str) -> dict[str, NDArray[Any]]:
    content = file.read()
    try:
        return read_arrays(content, file.path.suffix.lower(), kinds=kinds, most=MOST_BYTES)
    except Exception as error:  # NumPy and zipfile raise anything for what is no array
        raise CodecError(
            f"{file.path} holds no such array ({first_line(error)}); {wanted}"
        ) from None


def _rows(values: NDArray[Any], what: str, most: int) -> NDArray[Any]:
    """most: frames, as many as the clip has samples: what has more is no code of it."""
    rows = values[0] if values.ndim == 3 and len(values) == 1 else values
    if rows.ndim != 2 or not rows.size:
        raise CodecError(
            f"{what} has the shape {values.shape}; save an array with a row for each codebook or "
            "channel and a column for each frame"
        )
    if rows.shape[1] > most:
        raise CodecError(
            f"{what} has {rows.shape[1]} frames, and its clip has {most} samples; save an array "
            "with a column for each frame"
        )
    return rows


def _frame_rate(frames: Any, audio: AudioBatch) -> float:
    """Of all clips of a batch, which are of one codec and equally long, by the first of them."""
    return float(frames[0]) / float(audio.seconds[0])


def _samples(given: Sequence[ClipFiles], audio: AudioBatch) -> list[int]:
    """Of each clip, all of it where these are of whole clips."""
    return [
        one.part.total if one.part else length
        for one, length in zip(given, audio.lengths.tolist(), strict=True)
    ]


def _taken(frames: NDArray[Any], part: Part | None) -> NDArray[Any]:
    """The columns that lie in a part of the clip, one at least."""
    if part is None:
        return frames
    each = frames.shape[1] / part.total
    first = min(round(part.offset * each), frames.shape[1] - 1)
    return frames[:, first : max(round((part.offset + part.length) * each), first + 1)]


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(name or "one without a name" for name in names) or "none"
