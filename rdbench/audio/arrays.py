"""Audio in the forms that people have it in Python: arrays and tensors, one clip or several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.types import SpecError

if TYPE_CHECKING:
    import torch

LOWEST_RATE, HIGHEST_RATE = 1000, 768_000
"""Sample rates that are taken, in hertz."""
LOUDEST = 100.0
"""The largest sample that is taken for one, 40 dB beyond full scale: whatever is above it is in the
scale of integers, in which every level and every floor of a metric means something else."""


def checked_rate(sample_rate: Any) -> int:
    """A sample rate in whole hertz; raises SpecError for what is none."""
    try:
        if LOWEST_RATE <= sample_rate <= HIGHEST_RATE and int(sample_rate) == sample_rate:
            return int(sample_rate)
    except (TypeError, ValueError):
        pass
    raise SpecError(
        f"sample_rate is {sample_rate!r}; give whole hertz, from {LOWEST_RATE} to {HIGHEST_RATE}"
    )


def clips_of(given: Any, what: str) -> list[torch.Tensor]:
    """Clips, float32 (channels, time) on the CPU, of any form.

    given: a clip (time,) or (channels, time), a batch (clips, channels, time), or a list of clips,
    which may differ in length and channels; NumPy arrays or tensors of floats, full scale at ±1.
    what: names it in messages. Raises SpecError for audio of another form or in another scale.
    """
    import numpy as np
    import torch

    if isinstance(given, str | Path):
        raise SpecError(f"{what} is a path; give arrays, or use `rdbench score` for files")
    if isinstance(given, list | tuple) and given and np.ndim(given[0]):
        return [_clip(one, f"{what} {number}") for number, one in enumerate(given)]
    tensor = _tensor(given, what)
    if not len(tensor):
        raise SpecError(f"{what} holds no clip; give one")
    if tensor.ndim == 3:
        return [_clip(one, f"{what} {number}") for number, one in enumerate(tensor)]
    assert isinstance(tensor, torch.Tensor)
    return [_clip(tensor, what)]


def _clip(given: Any, what: str) -> torch.Tensor:
    from rdbench.audio.load import MAX_CHANNELS

    tensor = _tensor(given, what)
    if tensor.ndim == 1:
        tensor = tensor[None]
    if tensor.ndim != 2:
        raise SpecError(
            f"{what} has the shape {tuple(tensor.shape)}; give (time,), (channels, time) or "
            "(clips, channels, time)"
        )
    if not 1 <= tensor.shape[0] <= MAX_CHANNELS:
        raise SpecError(
            f"{what} has {tensor.shape[0]} channels of {tensor.shape[1]} samples; give (channels, "
            f"time) with 1 to {MAX_CHANNELS} channels"
        )
    peak = float(tensor.nan_to_num(0.0, 0.0, 0.0).abs().max()) if tensor.numel() else 0.0
    if peak > LOUDEST:
        raise SpecError(
            f"{what} has samples of up to {peak:g}, where full scale is ±1; divide floats that "
            "were 16-bit integers by 32768 (of 24 bits by 8388608)"
        )
    return tensor.contiguous()


def _tensor(given: Any, what: str) -> torch.Tensor:
    import numpy as np
    import torch

    try:
        tensor = given if isinstance(given, torch.Tensor) else torch.from_numpy(np.array(given))
    except (TypeError, ValueError) as error:
        raise SpecError(f"{what} is not an array of numbers ({error}); give floats") from None
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise SpecError(f"{what} holds {kind}; give floats with full scale at ±1")
    return tensor.detach().cpu().float()
