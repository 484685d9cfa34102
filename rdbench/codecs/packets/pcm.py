"""Samples as whole numbers, and files of them: what encoders without floats are given.

Full scale is 2^(bits − 1) both ways, so that what was read from a file of that many bits goes back
into one unchanged; beyond it samples are clipped, as in every file of whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.files import read_file
from rdbench.types import CodecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

BITS: Mapping[str, int] = {"s16": 16, "s24": 24}
"""The formats of whole numbers; the other is f32, floats."""
FORMATS = (*BITS, "f32")
_SUBTYPES = {"s16": "PCM_16", "s24": "PCM_24", "f32": "FLOAT"}


def to_whole(samples: Samples, bits: int) -> NDArray[np.int32]:
    """Whole numbers of `bits` for samples with full scale at ±1; shapes stay."""
    full = 2 ** (bits - 1)
    scaled = np.rint(samples.astype(np.float64) * full)
    whole: NDArray[np.int32] = np.clip(scaled, -full, full - 1).astype(np.int32)
    return whole


def write_wav(path: Path, samples: Samples, sample_rate: int, sample_format: str) -> None:
    """Writes (channels, time) as a WAV in one of FORMATS."""
    import soundfile

    data: NDArray[Any] = samples.T
    if bits := BITS.get(sample_format):
        data = to_whole(samples, bits).T << (32 - bits)  # libsndfile takes the upper bits
    soundfile.write(path, data, sample_rate, _SUBTYPES[sample_format], format="WAV")


def write_raw(path: Path, samples: Samples, sample_format: str) -> None:
    """Writes (channels, time) in one of FORMATS, interleaved, little-endian, without a header."""
    if bits := BITS.get(sample_format):
        whole = to_whole(samples, bits).T.astype("<i4")
        data = whole[..., None].view(np.uint8)[..., : bits // 8].tobytes()
    else:
        data = samples.T.astype("<f4").tobytes()
    path.write_bytes(data)


def read_raw(path: Path, channels: int, sample_format: str, most: int) -> Samples:
    """Reads (channels, time) of such a file.

    most: bytes. Raises CodecError for a file that is none, or larger, or holds half a sample or
    values that are not finite.
    """
    try:
        content = read_file(path, most)
    except OSError as error:
        raise CodecError(f"{path.name} cannot be read: {error.strerror or error}") from None
    width = BITS.get(sample_format, 32) // 8
    if len(content) % (width * channels):
        raise CodecError(
            f"{path.name} has {len(content)} bytes, which are no whole number of {sample_format} "
            f"samples of {channels} channel{'s' * (channels > 1)}; set output_format"
        )
    if sample_format in BITS:
        octets = np.frombuffer(content, np.uint8).reshape(-1, width)
        upper = np.zeros((len(octets), 4), np.uint8)
        upper[:, 4 - width :] = octets
        values = upper.view("<i4").reshape(-1, channels) / float(2**31)
    else:
        values = np.frombuffer(content, "<f4").reshape(-1, channels)
    samples: Samples = values.T.astype(np.float32)
    if not np.isfinite(samples).all():
        raise CodecError(f"{path.name} holds NaN or infinite samples")
    return samples
