"""float32 that means float32, for a codec that is used by hand as for one that a run uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_Settings = list[tuple[Any, str, Any]]


@contextmanager
def full_precision() -> Iterator[None]:
    """No TF32 in here: its ten bits of mantissa flip codes. Torch's settings are then put back.

    By default torch uses it on CUDA for convolutions; programs that train often allow it for
    products of matrices, too. cuDNN takes algorithms that give the same at every time.
    """
    import torch

    products: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    wanted: _Settings = [(cudnn, "benchmark", False), (cudnn, "deterministic", True)]
    if hasattr(cudnn, "conv"):  # torch 2.9 has names of its own, and the older ones may then raise
        wanted += [(one, "fp32_precision", "ieee") for one in (products, cudnn.conv, cudnn.rnn)]
    else:
        wanted += [(one, "allow_tf32", False) for one in (products, cudnn)]
    before = [(one, name, getattr(one, name)) for one, name, _ in wanted]
    try:
        _set(wanted)
        yield
    finally:
        _set(before)


def _set(settings: _Settings) -> None:
    for one, name, value in settings:
        setattr(one, name, value)
