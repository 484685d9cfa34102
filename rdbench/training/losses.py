"""Reconstruction losses: waveform, multi-scale log-mel, power-compressed complex STFT.

With X and Y the STFTs of reference and reconstruction at one of several window lengths
(hop = window / 4, Hann window, orthonormal):

- mel: mean |log10 max(M|X|, ε) - log10 max(M|Y|, ε)|, M a mel filterbank, averaged over windows
  (the multi-scale loss of DAC and Parallel WaveGAN);
- stft: mean |X^c - Y^c|² + mean (|X|^c - |Y|^c)² with X^c = X·|X|^(c-1), averaged over windows
  (Braun & Tashev 2020, arXiv 2009.12286; c = 0.3);
- wave: mean |x - y|.

One transform per window serves both. All run in float32, whatever the precision of the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

_MEL_FLOOR = 1e-5
_POWER_FLOOR = 1e-10


class ReconstructionLoss(nn.Module):
    """The losses of one sample rate; windows in samples, `mels` bands for each window."""

    def __init__(
        self, sample_rate: int, windows: Sequence[int], mels: Sequence[int], compression: float
    ) -> None:
        from torchaudio.functional import melscale_fbanks

        super().__init__()
        self.windows = tuple(windows)
        self.compression = compression
        for size, bands in zip(windows, mels, strict=True):
            bank = melscale_fbanks(
                size // 2 + 1, 0.0, sample_rate / 2, bands, sample_rate, "slaney", "slaney"
            )
            # Narrow low bands can miss every bin of a short window: such bands say nothing.
            bank = bank[:, bank.sum(0) > 0] / bank.sum(0).max()
            self.register_buffer(f"bank_{size}", bank, persistent=False)
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(
        self,
        *,
        reference: torch.Tensor,
        reconstruction: torch.Tensor,
        windows: Sequence[int] | None = None,
    ) -> dict[str, torch.Tensor]:
        """The losses `wave`, `mel` and `stft` of (clips, channels, time), scalars.

        windows: a part of the windows, all where None.
        """
        x, y = reference.float(), reconstruction.float()
        with torch.autocast(x.device.type, enabled=False):
            mel, stft = zip(
                *(self._at(size, x, y) for size in windows or self.windows), strict=True
            )
            return {
                "wave": (x - y).abs().mean(),
                "mel": torch.stack(mel).mean(),
                "stft": torch.stack(stft).mean(),
            }

    def _at(self, size: int, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            x_mel, *x_parts = self._views(size, x)
        y_mel, *y_parts = self._views(size, y)
        mel = (x_mel - y_mel).abs().mean()
        pairs = zip(x_parts, y_parts, strict=True)
        return mel, torch.stack([F.mse_loss(b, a) for a, b in pairs]).sum()

    def _views(self, size: int, audio: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Log-mel, and the compressed spectrum: real part, imaginary part, magnitude."""
        window, bank = getattr(self, f"window_{size}"), getattr(self, f"bank_{size}")
        flat = F.pad(audio.reshape(-1, audio.shape[-1]), (size // 2, size // 2))
        frames = flat.unfold(-1, size, size // 4) * window
        spectrum = torch.fft.rfft(frames, norm="ortho")
        # Real arithmetic on contiguous parts: twice as fast on a CPU as on pairs.
        real, imaginary = spectrum.real.contiguous(), spectrum.imag.contiguous()
        power = (real * real + imaginary * imaginary) + _POWER_FLOOR
        magnitude = power.sqrt()
        mel = (magnitude @ bank).clamp_min(_MEL_FLOOR).log10()
        gain = power.pow((self.compression - 1.0) / 2.0)
        return mel, real * gain, imaginary * gain, magnitude * gain
