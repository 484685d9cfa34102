"""The `spectrogram` backbone: 2-D convolutions on a log-magnitude spectrogram, and Griffin-Lim.

The textbook's spectrogram VAE: the encoder sees magnitudes alone and the decoder predicts
magnitudes alone. In decoding their phase is found by Griffin-Lim (Griffin & Lim 1984; with
momentum, Perraudin, Balazs & Sondergaard 2013), from zero phase on, so that audio is a function of
the latent. In training, where the audio is at hand, its own phase stands in: the losses, which are
of waveforms, then reach the magnitudes through one inverse STFT.

Spectra are centred on multiples of the spectrogram's hop, from 0 on. Those of n hops are n + 1; the
last one, and the highest frequency of each, are neither encoded nor predicted: the decoder repeats
their neighbours. Transforms run in float32 whatever the precision of the layers.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from rdbench.models.config import SpectrogramConfig

_FLOOR = 1e-4
_LOG_RANGE = (-12.0, 5.0)
_MOMENTUM = 0.99
_QUIET = -4.0
"""Log-magnitude that an untrained decoder is near: about that of speech."""


class _Spectrogram(nn.Module):
    """The STFT that both sides share, of (clips, channels, spectra · hop), orthonormal."""

    window: torch.Tensor

    def __init__(self, config: SpectrogramConfig) -> None:
        super().__init__()
        self.hop = config.spectrum_hop
        self.size = config.window
        # On the CPU by name: on the meta device it would import seconds of torch for nothing.
        window = torch.hann_window(self.size, device="cpu")
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)

    def stft(self, audio: torch.Tensor) -> torch.Tensor:
        """Complex (clips, channels, frequencies, spectra + 1)."""
        found = torch.stft(
            audio.float().flatten(0, 1), self.size, self.hop, window=self.window,
            pad_mode="constant", return_complex=True,
        )  # fmt: skip
        return found.reshape(*audio.shape[:2], *found.shape[1:])


class SpectrogramEncoder(_Spectrogram):
    """(clips, channels, frames · hop) to features (clips, frames, features)."""

    def __init__(self, config: SpectrogramConfig, channels: int) -> None:
        super().__init__(config)
        self.features = config.widths[-1] * config.bands
        widths = (channels, *config.widths)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, (4, 2 * stride + stride % 2), (2, stride), (1, 1))
            for before, after, stride in zip(widths, config.widths, config.strides, strict=False)
        )

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Features of `audio`, whose length must be a multiple of the model's hop."""
        with torch.autocast(audio.device.type, enabled=False):
            hidden = self.stft(audio)[..., :-1, :-1].abs().clamp_min(_FLOOR).log()
        for layer in self.layers:
            hidden = F.gelu(layer(hidden))
        return hidden.flatten(1, 2).transpose(1, 2)


class SpectrogramDecoder(_Spectrogram):
    """Latents (clips, frames, latents) to (clips, channels, frames · hop)."""

    def __init__(self, config: SpectrogramConfig, channels: int, latents: int) -> None:
        super().__init__(config)
        self.bands = config.bands
        self.rounds = config.rounds
        self.embed = nn.Linear(latents, config.widths[-1] * config.bands)
        widths = (*config.widths[::-1], channels)
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(before, after, (4, 2 * stride + stride % 2), (2, stride), (1, 1))
            for before, after, stride in zip(widths, widths[1:], config.strides[::-1], strict=False)
        )
        last = self.layers[-1]
        assert isinstance(last, nn.ConvTranspose2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, _QUIET)

    def forward(
        self, latents: torch.Tensor, *, phase_of: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Audio of frames · hop samples, with the phase of `phase_of` or by Griffin-Lim.

        phase_of: audio shaped as the result.
        """
        magnitude = self._magnitude(latents)
        rows, length = magnitude.flatten(0, 1), (magnitude.shape[-1] - 1) * self.hop
        with torch.autocast(latents.device.type, enabled=False):
            if phase_of is None:
                audio = self._griffin_lim(rows, length)
            else:
                spectrum = torch.polar(rows, self.stft(phase_of).flatten(0, 1).angle())
                audio = torch.istft(
                    spectrum, self.size, self.hop, window=self.window, length=length
                )
        return audio.reshape(*magnitude.shape[:2], -1)

    def _magnitude(self, latents: torch.Tensor) -> torch.Tensor:
        """(clips, channels, frequencies, spectra + 1), float32."""
        hidden = self.embed(latents).transpose(1, 2).unflatten(1, (-1, self.bands))
        for number, layer in enumerate(self.layers):
            hidden = layer(F.gelu(hidden) if number else hidden)
        found = hidden.float().clamp(*_LOG_RANGE).exp()
        return F.pad(found, (0, 1, 0, 1), mode="replicate")

    def _griffin_lim(self, magnitude: torch.Tensor, length: int) -> torch.Tensor:
        from torchaudio.functional import griffinlim

        audio: torch.Tensor = griffinlim(
            magnitude, self.window, self.size, self.hop, self.size, power=1.0, n_iter=self.rounds,
            momentum=_MOMENTUM, length=length, rand_init=False,
        )  # fmt: skip
        return audio
