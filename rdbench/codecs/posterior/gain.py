"""How much of an error in each channel of a latent the decoder lets through.

On pieces of other clips, a sample of the posterior is decoded as it is and with more noise in one
channel, of the variance that the posterior's has there; the gain is the mean square difference of
the two outputs, over that variance. Outputs are compared as spectra whose magnitudes are compressed
to |X|^0.3 with their phases kept: a measure of loudness in which quiet bands count, as in the
losses that such models are trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.rate.prior import Moments

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from rdbench.types import Posterior

PIECES = 12
SECONDS = 1.0
_WINDOW_SECONDS = 0.032
_POWER = 0.3
_FLOOR = 1e-5
_RELATIVE_NOISE = 0.1


def decoder_gain(
    codec: PosteriorCodec, posteriors: Sequence[Posterior], moments: Moments
) -> NDArray[np.float64]:
    """Mean square error of the compressed spectrum for each unit in a channel, (channels,).

    posteriors: of clips of which `PIECES` give their middle. moments: of the posteriors.
    """
    import torch

    latent = _pieces(posteriors, codec.info.frame_rate or 1.0)
    noise = np.where(np.isnan(moments.noise), _RELATIVE_NOISE * moments.spread, moments.noise)
    generator = torch.Generator().manual_seed(0)
    errors = torch.randn(latent.shape, generator=generator) * torch.from_numpy(noise)[:, None]

    def spectrum(values: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            audio = codec.decode_latent(values.to(codec.device, torch.float32))
        return _compressed(audio, codec.info.sample_rates[0])

    plain = spectrum(latent)
    found = np.zeros(latent.shape[1])
    for channel in np.flatnonzero(noise > 0):
        moved = latent.clone()
        moved[:, channel] += errors[:, channel]
        power = float(errors[:, channel].square().mean())
        found[channel] = float((spectrum(moved) - plain).square().mean()) / power
    return found


def _pieces(posteriors: Sequence[Posterior], frame_rate: float) -> torch.Tensor:
    """Samples of the middle second of clips (or of less, where none is longer), float32."""
    import torch

    clips = [(one, i, int(n)) for one in posteriors for i, n in enumerate(one.frames.tolist())]
    wanted = min(max(1, round(SECONDS * frame_rate)), max(n for _, _, n in clips))
    clips = [one for one in clips if one[2] >= wanted]
    clips = clips[:: max(1, len(clips) // PIECES)][:PIECES]
    generator = torch.Generator().manual_seed(1)
    pieces = []
    for posterior, index, frames in clips:
        first = (frames - wanted) // 2
        part = (index, slice(None), slice(first, first + wanted))
        piece = posterior.mean[part].detach().cpu().float()
        if posterior.scale is not None:
            noise = torch.randn(piece.shape, generator=generator)
            piece = piece + posterior.scale[part].detach().cpu().float() * noise
        pieces.append(piece)
    return torch.stack(pieces)


def _compressed(audio: torch.Tensor, rate: int) -> torch.Tensor:
    """Spectra of (clips, channels, time), magnitudes to the power of 0.3, phases kept."""
    import torch

    window = torch.hann_window(2 * max(1, round(_WINDOW_SECONDS * rate / 2)), device=audio.device)
    size = len(window)
    flat = audio.flatten(0, 1)
    flat = torch.nn.functional.pad(flat, (0, max(0, size - flat.shape[-1])))
    bins = torch.stft(flat, size, size // 4, window=window, center=False, return_complex=True)
    return torch.view_as_real(bins * bins.abs().clamp_min(_FLOOR) ** (_POWER - 1.0))
