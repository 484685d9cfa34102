"""From RMS to decibels over a floor that reference and reconstruction share.

s = 10 log10(rms), at least −45. In each frame that both signals have, values more than 45 below
the loudest band of either are raised to that level. Then the smallest value of both signals is
subtracted, so that the floor is 0.

The factor is 10 on an amplitude, so a range of 45 is 90 dB of power. Floors as in
visqol-python 3.8.0; a band without any energy counts as the smallest float64 step, 2.2e-16.
"""

from __future__ import annotations

import numpy as np
import torch

FLOOR = -45.0
RANGE = 45.0
SILENCE = float(np.finfo(np.float64).eps)


def level(
    reference: torch.Tensor,
    reconstruction: torch.Tensor,
    reference_frames: torch.Tensor,
    reconstruction_frames: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both spectrograms as levels above their common floor; 0 past each item's frames.

    reference, reconstruction: RMS (items, bands, frames), of two lengths; the frame counts are
    int64 (items,) on the same device.
    """
    valid = [
        _valid(reference, reference_frames),
        _valid(reconstruction, reconstruction_frames),
    ]
    levels = [_decibels(reference), _decibels(reconstruction)]
    common = min(reference.shape[-1], reconstruction.shape[-1])
    both = (valid[0][..., :common] & valid[1][..., :common])[:, 0]
    peak = torch.maximum(levels[0][..., :common].amax(1), levels[1][..., :common].amax(1))
    floor = torch.where(both, peak - RANGE, FLOOR)[:, None]
    for item in levels:
        item[..., :common] = torch.maximum(item[..., :common], floor)
    lowest = torch.minimum(*(_minimum(*pair) for pair in zip(levels, valid, strict=True)))
    first, second = (
        torch.where(inside, item - lowest, 0.0) for item, inside in zip(levels, valid, strict=True)
    )
    return first, second


def _valid(spectrogram: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    index = torch.arange(spectrogram.shape[-1], device=spectrogram.device)
    return index < frames[:, None, None]


def _decibels(rms: torch.Tensor) -> torch.Tensor:
    present = torch.where(rms == 0.0, SILENCE, rms)
    return (10.0 * torch.log10(present)).clamp_(min=FLOOR)


def _minimum(levels: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return torch.where(valid, levels, torch.inf).amin(dim=(1, 2), keepdim=True)
