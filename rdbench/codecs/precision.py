"""float32 that means float32, for a codec that is used by hand as for one that a run uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def full_precision() -> Iterator[None]:
    """No TF32 in here: its ten bits of mantissa flip codes. Torch's settings are then put back.

    By default torch uses it on CUDA for convolutions; programs that train often allow it for
    products of matrices, too.
    """
    import torch

    products, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before, products.allow_tf32 = products.allow_tf32, False
    try:
        with cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        products.allow_tf32 = before
