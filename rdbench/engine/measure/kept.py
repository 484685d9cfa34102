"""Reconstructions that an earlier start kept as FLAC, taken up to be scored again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from rdbench.store.audio import Kept, read_audio
from rdbench.types import AudioBatch, StoreError

if TYPE_CHECKING:
    from rdbench.engine.measure.batch import Batch

FROM_KEPT = "scored from audio kept at 24 bits"
"""What rows say whose score was made from a FLAC."""


_ROUNDED = 2.0**-22
"""How far the peak of a file may be off by being rounded."""


def load_kept(kept: Kept, batch: Batch) -> AudioBatch | None:
    """A kept reconstruction on the device of `batch`; None where it is not what belongs there."""
    try:
        samples, rate = read_audio(kept.path)
    except StoreError:
        return None
    reference = batch.reference
    if abs(float(np.abs(samples).max(initial=0.0)) - kept.peak) > _ROUNDED:
        return None  # its row tells of another file
    if samples.shape != reference.samples.shape[1:] or rate != reference.sample_rate:
        return None
    lengths = torch.tensor([samples.shape[-1]], dtype=torch.int64)
    return AudioBatch(torch.from_numpy(samples)[None], lengths, rate).to(reference.samples.device)
