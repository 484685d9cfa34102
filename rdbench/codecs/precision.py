"""float32 that means float32, for a codec that is used by hand as for one that a run uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def full_precision() -> Iterator[None]:
    """No TF32 in here: its ten bits of mantissa flip codes. Torch's settings are then put back.

    By default torch uses it on CUDA for convolutions; programs that train often allow it for
    products of matrices, too. cuDNN takes algorithms that give the same at every time.
    """
    import torch

    cudnn: Any = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    restore = turn_off_tf32()
    try:
        cudnn.benchmark, cudnn.deterministic = False, True
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
        restore()


def turn_off_tf32() -> Callable[[], None]:
    """Turns TF32 off; returns what puts torch's settings back.

    Torch 2.9 has names of its own for them, and refuses to read the older ones where a newer one
    contradicts them. So the older ones are set while they can be read: what then runs may read them
    too (`torch.backends.cudnn.flags` does).
    """
    import torch

    products: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    try:
        convolutions, precision = cudnn.allow_tf32, torch.get_float32_matmul_precision()
        _ = products.allow_tf32
    except RuntimeError:
        return _turn_off_by_newer_names([products, cudnn.conv, cudnn.rnn])
    cudnn.allow_tf32 = False
    if precision != "highest":
        torch.set_float32_matmul_precision("highest")

    def restore() -> None:
        cudnn.allow_tf32 = convolutions
        if precision != "highest":
            torch.set_float32_matmul_precision(precision)

    return restore


def _turn_off_by_newer_names(places: list[Any]) -> Callable[[], None]:
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"

    def restore() -> None:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value

    return restore
