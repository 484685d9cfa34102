"""Which format a checkpoint has, by its content, and what is refused unread.

Sizes are bounded before anything is read; packages with code, web pages and compressed archives
are refused with one sentence.
"""

from __future__ import annotations

import struct
import zipfile
from typing import IO

from rdbench.types import WeightsError

MAX_BYTES = 4 * 1024**3
"""Largest checkpoint that is read or downloaded; the largest published one here, X-codec2's (of
`hf-audio`), is listed at 3.3 GB."""

MAX_ENTRIES = 100_000
"""Most tensors and side files in one checkpoint."""

MAX_HEADER_BYTES = 16 * 2**20
"""Longest header of a safetensors file."""


def check_format(stream: IO[bytes], name: str) -> str:
    """The format by content: "zip", "legacy" or "safetensors"; raises for everything else."""
    size = stream.seek(0, 2)
    if size > MAX_BYTES:
        raise WeightsError(f"{name} has {size} bytes, more than the {MAX_BYTES} that are read")
    stream.seek(0)
    head = stream.read(512)
    stream.seek(0)
    if head.startswith(b"PK\x03\x04"):
        _check_zip(stream, name)
        return "zip"
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < MAX_BYTES:
        _check_safetensors(struct.unpack("<Q", head[:8])[0], name)
        return "safetensors"
    if head.startswith(b"\x80"):
        return "legacy"
    if head.lstrip().startswith(b"<"):
        raise WeightsError(f"{name} is a web page, not weights; download the file itself")
    what = "is empty" if size == 0 else "is neither a PyTorch nor a safetensors checkpoint"
    raise WeightsError(f"{name} {what}; fetch the weights file again")


def _check_safetensors(header_bytes: int, name: str) -> None:
    if header_bytes > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{name} has a header of {header_bytes} bytes, more than the {MAX_HEADER_BYTES} that "
            f"are read; fetch the weights file again"
        )


def _check_zip(stream: IO[bytes], name: str) -> None:
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except OSError:
        raise
    except Exception as error:  # zipfile raises many kinds for what is damaged
        raise WeightsError(
            f"{name} is cut short or damaged ({reason_of(error)}); fetch the weights file again"
        ) from error
    if any(e.filename.endswith((".py", "/extern_modules")) for e in entries):
        raise WeightsError(
            f"{name} is a package with code in it, which is never run; "
            f"use the checkpoint that holds weights alone"
        )
    too_much = sum(e.file_size for e in entries) > MAX_BYTES or len(entries) > MAX_ENTRIES
    if too_much or any(e.compress_type != zipfile.ZIP_STORED for e in entries):
        raise WeightsError(
            f"{name} is not laid out as PyTorch writes checkpoints (compressed, or too many "
            f"entries); save it again with torch.save"
        )


def reason_of(error: BaseException) -> str:
    """Why something was not read or reached, in one line."""
    cause = getattr(error, "reason", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__
