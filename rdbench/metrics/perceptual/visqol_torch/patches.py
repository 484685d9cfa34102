"""Where the patches of the reference lie.

Patches follow one another without a gap from frame `patch / 2 − 1` on. Audio mode leaves out the
last one that would end within the last frames; speech mode takes only patches in which at least
one frame holds voice.

Voice activity. The reference, divided by its largest sample, is read as 16-bit integers in chunks
of one hop, the first chunk of the first patch beginning at *sample* (not frame) `patch / 2 − 1`,
as in the reference implementation. A chunk is silent when its RMS is under 5000, and without
voice when it and the two before it are silent; the first two chunks of a signal always count.

Sources: Hines et al. 2015; framing and thresholds as in visqol-python 3.8.0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from rdbench.metrics.perceptual.visqol_torch.modes import Mode

SILENT_RMS = 5000.0  # of 16-bit samples
SILENT_CHUNKS = 3


def reference_patches(signal: npt.NDArray[np.float64], mode: Mode) -> npt.NDArray[np.int64]:
    """First frames of the patches of a reference (time,), ascending; may be empty."""
    frames = mode.frames(len(signal))
    first, patch = mode.first_patch, mode.patch
    if not mode.voiced_only:
        last = max(frames - patch - 1, first + 1)  # exclusive, and one patch in any case
        starts = np.arange(first, last, patch, dtype=np.int64)
        return starts[: 0 if frames < patch + first + 1 else None]
    count = max(0, (frames - first) // patch)
    starts = first + patch * np.arange(count, dtype=np.int64)
    if count == 0:
        return starts
    active = voice_activity(signal[first : first + count * patch * mode.hop], mode.hop, signal)
    voiced: npt.NDArray[np.int64] = starts[active.reshape(count, patch).any(axis=1)]
    return voiced


def voice_activity(
    samples: npt.NDArray[np.float64], chunk: int, signal: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether each chunk of `samples` holds voice; levels are relative to `signal`'s maximum."""
    peak = signal.max()
    scaled = samples / peak if peak != 0.0 else np.zeros_like(samples)
    integers = np.trunc(np.clip(scaled * 32768.0, -32768.0, 32767.0))
    rms = np.sqrt(np.mean(np.square(integers.reshape(-1, chunk)), axis=1))
    silent = rms < SILENT_RMS
    active = np.ones(len(silent), dtype=np.bool_)
    if len(silent) >= SILENT_CHUNKS:
        runs = np.lib.stride_tricks.sliding_window_view(silent, SILENT_CHUNKS)
        active[SILENT_CHUNKS - 1 :] = ~runs.all(axis=1)
    return active


def cut(spectrogram: torch.Tensor, starts: torch.Tensor, length: int) -> torch.Tensor:
    """Patches (patches, bands, length) of a spectrogram (bands, frames) from these frames on."""
    index = starts[:, None] + torch.arange(length, device=spectrogram.device)
    return spectrogram[:, index].transpose(0, 1)
