"""The coarse log-mel that a probe is conditioned on: 20 bands at 25 Hz, one row for each frame."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from rdbench.models.probe.config import BANDS

RATE = 25.0
"""Windows per second."""
_FLOOR = 1e-5


def coarse_log_mel(
    audio: torch.Tensor, sample_rate: int, frames: int, frame_rate: float
) -> torch.Tensor:
    """float32 (frames, bands) of one clip's audio (channels, time), its channels averaged.

    Magnitudes of Hann windows of 80 ms, centred on every 40 ms, in triangles on Slaney's mel scale,
    log10 of at least 1e-5; a frame of the latent has the values of the 40 ms that its middle is in.
    """
    from torchaudio.functional import melscale_fbanks

    hop = round(sample_rate / RATE)
    mono = audio.float().mean(0)
    windows = -(-mono.shape[0] // hop)
    before = hop // 2
    padded = F.pad(mono, (before, (windows + 1) * hop - before - mono.shape[0]))
    spectrum = torch.fft.rfft(padded.unfold(0, 2 * hop, hop) * torch.hann_window(2 * hop)).abs()
    bank = melscale_fbanks(hop + 1, 0.0, sample_rate / 2, BANDS, sample_rate, "slaney", "slaney")
    levels = (spectrum @ bank).clamp_min(_FLOOR).log10()
    middles = (torch.arange(frames, dtype=torch.float64) + 0.5) / frame_rate
    nearest = (middles * sample_rate / hop).long().clamp_max(windows - 1)
    rows: torch.Tensor = levels[nearest]
    return rows
