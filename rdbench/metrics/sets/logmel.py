"""Levels of mel bands in windows of half a second: an embedding that needs no weights.

A feature belongs to a window of half a second (windows follow each other; a last part that is
shorter is left out):

    f_b = mean over frames of 10 log10 max(E_b, δ)   in dB,  b = 1 … 32

E_b is the power of band b in a frame (Hann window of 32 ms, hop 16 ms, frames wholly within the
window; a sinusoid at full scale peaks at 0 dB in its bin), averaged over channels. The bands are
triangles on Slaney's mel scale over 0 … half of the protocol's rate, so that values at two rates
are different numbers. The floor δ of -100 dB is all that is done with silence: its features are
-100 in each band, and count like others. A gain of g dB moves every feature by g.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdbench.metrics.base import ChannelRule
from rdbench.metrics.ragged import cut, equal_lengths
from rdbench.metrics.sets.embedding import Embedding
from rdbench.types import AudioBatch

if TYPE_CHECKING:
    import torch

    from rdbench.metrics.sets.embedding import Features

BANDS = 32
WINDOW_SECONDS = 0.5
FRAME_SECONDS = 0.032
FLOOR_DB = -100.0

# Transformed at once, as in rdbench.metrics.signal.spectral.
_SAMPLES = 2**20


class LogMel(Embedding):
    """Levels of bands, float32 (windows, 32) per clip; none for one under half a second."""

    name = "logmel"
    title = "log-mel"
    unit = "dB"
    what = f"the levels of {BANDS} mel bands in windows of {WINDOW_SECONDS:g} s"
    at = "the protocol's rate"
    channels = ChannelRule.JOINT
    minimum_seconds = WINDOW_SECONDS
    version = "1"

    def windows(self, audio: AudioBatch) -> list[Features]:
        """See the class."""
        window = round(WINDOW_SECONDS * audio.sample_rate)
        found: dict[int, Features] = {}
        for length, indices in equal_lengths(audio, limit=_SAMPLES):
            whole = length // window
            samples = cut(audio, indices, whole * window)
            windows = samples.reshape(len(indices), audio.channels, whole, window).transpose(1, 2)
            levels = _levels(windows.flatten(0, 1), audio.sample_rate)
            levels = levels.reshape(len(indices), whole, BANDS)
            found |= dict(zip(indices, levels.cpu().numpy(), strict=True))
        return [found[index] for index in range(audio.clips)]


def _levels(samples: torch.Tensor, rate: int) -> torch.Tensor:
    """Mean level of each band in dB, (windows, bands), of (windows, channels, time)."""
    from rdbench.metrics.spectra import magnitudes, mel_bank

    hop = round(FRAME_SECONDS * rate / 2)
    if not len(samples):
        return samples.new_zeros(0, BANDS)
    full_scale = hop / 2  # half of the window's sum: a unit sinusoid on a bin
    power = (magnitudes(samples, 2 * hop, hop, center=False) / full_scale).square().mean(dim=1)
    bands = power.transpose(-1, -2) @ mel_bank(rate, 2 * hop, BANDS, str(samples.device), None)
    return bands.clamp_(min=10 ** (FLOOR_DB / 10)).log10_().mul_(10).mean(dim=1)
