"""music2latent: a continuous latent and a consistency model that decodes it, through its package.

M. Pasini, S. Lattner, G. Fazekas, "Music2Latent: Consistency Autoencoders for Latent Audio
Compression", ISMIR 2024 (arXiv:2408.06500). 44.1 kHz mono, hop 4096 (10.77 frames/s), 64 channels.

The latent is a value and no posterior, so that there is no KL. The decoder turns noise into a
spectrogram: its noise is drawn on the CPU from the option `seed`, the same for clips of one length,
so that a latent sounds the same in any batch, at any time and on any device. A clip is run whole
and in float32, where the package cuts pieces of 60 s and computes in float16 on a GPU.

The package's spectrogram has no padding: what it gives back fades in and out over three of its hops
of 512 samples, and what does not fill a frame is lost. A clip is therefore given 1536 zeros before
and as many behind as whole frames take, which are cut again.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.codecs.credits import CREDITS
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.files import user_path
from rdbench.types import CodecError, MissingExtraError
from rdbench.weights.checkpoints import load_strict, read_checkpoint, tensors_of
from rdbench.weights.configs import build_bounded

if TYPE_CHECKING:
    import torch

NAME = "music2latent"
ADAPTER = 1
"""Raised when the same weights give other latents or audio."""
WEIGHTS = "music2latent.pt"
UNDER = "gen_state_dict"
SOURCE = f"https://huggingface.co/SonyCSLParis/music2latent/resolve/main/{WEIGHTS}"
HOP, FRAME = 512, 4096
"""Samples between spectra, and those of a frame of the latent: eight of them."""
FADE = 3 * HOP
MAX_STEPS = 100


class Music2Latent(PosteriorCodec):
    """A music2latent model; its one point is its latent."""

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        steps: int = 1,
        seed: int = 0,
    ) -> None:
        """Loads the model on the CPU.

        Args:
            points: there is one, "posterior".
            weights: music2latent.pt as its authors publish it, or its folder.
            steps: of the decoder, from noise to audio.
            seed: of the decoder's noise.

        Raises:
            CodecError: without `weights`, for an unknown point, or a number of steps that there
                cannot be.
            MissingExtraError: without the package `music2latent`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        if weights is None:
            raise CodecError(
                f"codec {NAME!r} needs the option weights: the file {WEIGHTS}, from {SOURCE}"
            )
        if not 1 <= steps <= MAX_STEPS:
            raise CodecError(
                f"codec {NAME!r}: its option steps is {steps}; give one from 1 to {MAX_STEPS}"
            )
        try:
            from music2latent.models import UNet
        except ImportError as error:
            raise MissingExtraError(f"codec {NAME!r}", NAME) from error
        path = user_path(weights)
        path = path / WEIGHTS if path.is_dir() else path
        checkpoint = read_checkpoint(path, UNDER)
        self.model = build_bounded(UNet, path, codec=f"codec {NAME!r}")
        load_strict(self.model, tensors_of(checkpoint, self.model), codec=f"codec {NAME!r}")
        self._steps, self._seed = steps, seed
        super().__init__(
            name=NAME,
            sample_rate=44_100,
            frame_rate=44_100 / FRAME,
            modules=self.model,
            points=points,
            prior=False,
            weights_sha256=checkpoint.sha256,
            licence="CC-BY-NC-4.0",
            citation=CREDITS["music2latent"].citation,
            version=f"music2latent {version('music2latent')}, adapter {ADAPTER}",
            details={
                "weights": checkpoint.filename,
                "weights_bytes": path.stat().st_size,
                "steps": steps,
                "seed": seed,
            },
        )

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The latent (clips, 64, frames), and no scale."""
        import torch
        from music2latent.audio import to_representation_encoder
        from music2latent.hparams_inference import sigma_rescale

        length = FADE + audio.shape[-1]
        behind = -length % FRAME + FADE
        padded = torch.nn.functional.pad(audio[:, 0], (FADE, behind))
        return self.model.encoder(to_representation_encoder(padded)) / sigma_rescale, None

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        """Audio of frames × 4096 samples."""
        import torch
        from music2latent.audio import to_waveform
        from music2latent.hparams import data_channels, hop, sigma_max
        from music2latent.hparams_inference import sigma_rescale
        from music2latent.utils import get_sigma, reverse_step

        generator = torch.Generator().manual_seed(self._seed)
        shape = (1, data_channels, 2 * hop, z.shape[-1] * FRAME // hop)

        def noise() -> torch.Tensor:
            drawn = torch.randn(shape, generator=generator).to(z.device)
            return drawn.expand(len(z), -1, -1, -1)

        noisy = noise() * sigma_max
        for step in range(self._steps, 0, -1):
            level, next_level = (get_sigma(i, self._steps + 1) for i in (step + 1, step))
            made = self.model(z * sigma_rescale, noisy, level)
            noisy = reverse_step(made, noise(), next_level)
        audio: torch.Tensor = to_waveform(made)[:, None, FADE:]
        return audio
