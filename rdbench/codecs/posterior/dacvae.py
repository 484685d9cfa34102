"""DACVAE: the VAE of Meta's SAM Audio, through its package.

Meta, "SAM Audio", 2025 (https://github.com/facebookresearch/dacvae): DAC (arXiv:2306.06546) with a
Gaussian bottleneck. As published 48 kHz mono, hop 1920 (25 frames/s), 128 channels; what a file
records of its model is what is built. Mean and σ = softplus(s) + 1e-4 are the encoder's, and the KL
is recomputed of them.

The decoder writes a watermark, of a message that the package draws anew at each call: here it is
all zeros. A clip is filled up to whole frames with its own end, mirrored, as the package does, and
with zeros where it is too short for that. Wrong audio was reported of this decoder with cuDNN on
H100 (issue 8 of its repository), so that a model that is moved to a device decodes a latent there
and on the CPU first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rdbench.codecs.credits import CREDITS
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.precision import full_precision
from rdbench.files import user_path
from rdbench.types import CodecError, MissingExtraError
from rdbench.weights.checkpoints import load_strict, read_checkpoint, tensors_of
from rdbench.weights.configs import build_bounded, no_config, reason

if TYPE_CHECKING:
    import torch

NAME = "dacvae"
CALLED = f"codec {NAME!r}"
ADAPTER = 1
"""Raised when the same weights give other posteriors or audio."""
WEIGHTS = "weights.pth"
SOURCE = f"https://huggingface.co/facebook/dacvae-watermarked/resolve/main/{WEIGHTS}"
SMALLEST_SCALE = 1e-4
SAME = 1e-3
"""Largest difference between devices, in parts of the largest sample."""
_TRIED_FRAMES = 8
Width = Annotated[int, Field(ge=1, le=16_384)]
Strides = Annotated[list[Annotated[int, Field(ge=1, le=64)]], Field(min_length=4, max_length=4)]


class DacVae(PosteriorCodec):
    """A DACVAE model; its one point is its posterior."""

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
    ) -> None:
        """Loads the model on the CPU.

        Args:
            points: there is one, "posterior".
            weights: weights.pth as its authors publish it, or its folder.

        Raises:
            CodecError: without `weights`, or for an unknown point.
            MissingExtraError: without the package `dacvae`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        if weights is None:
            raise CodecError(f"{CALLED} needs the option weights: {WEIGHTS}, from {SOURCE}")
        try:
            import dacvae
        except ImportError as error:
            raise MissingExtraError(CALLED, NAME) from error
        path = user_path(weights)
        path = path / WEIGHTS if path.is_dir() else path
        checkpoint = read_checkpoint(path)
        arguments = _arguments(checkpoint.metadata, path)
        self.model = build_bounded(
            lambda: dacvae.DACVAE(**arguments.model_dump()), path, codec=CALLED
        )
        load_strict(self.model, tensors_of(checkpoint, self.model), codec=CALLED)
        self._hop = math.prod(arguments.encoder_rates)
        super().__init__(
            name=NAME,
            sample_rate=arguments.sample_rate,
            frame_rate=arguments.sample_rate / self._hop,
            modules=self.model,
            points=points,
            weights_sha256=checkpoint.sha256,
            licence="",
            citation=CREDITS["dacvae"].citation,
            version=f"dacvae {_version(dacvae)}, adapter {ADAPTER}",
            details={
                "weights": checkpoint.filename,
                "weights_bytes": path.stat().st_size,
                "config": arguments.model_dump(),
            },
        )

    def to(self, device: torch.device | str) -> PosteriorCodec:
        """Moves the model, when it decodes there as it does where it is; raises CodecError."""
        import torch

        if torch.device(device) == self.device:
            return self
        here = self._tried()
        super().to(device)
        check_same(here, self._tried(), str(device))
        return self

    def _tried(self) -> torch.Tensor:
        """What a fixed latent decodes to where the model is, on the CPU."""
        import torch

        generator = torch.Generator().manual_seed(0)
        shape = (1, self.model.quantizer.codebook_dim, _TRIED_FRAMES)
        with torch.inference_mode(), full_precision():
            latent = torch.randn(shape, generator=generator).to(self.device)
            return self.decode_latent(latent).cpu()

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation, (clips, latents, frames) each."""
        import torch

        behind = -audio.shape[-1] % self._hop
        mode = "reflect" if behind < audio.shape[-1] else "constant"
        padded = torch.nn.functional.pad(audio, (0, behind), mode)
        hidden = self.model.encoder(padded)
        mean, raw = self.model.quantizer.in_proj(hidden).chunk(2, dim=1)
        return mean, torch.nn.functional.softplus(raw) + SMALLEST_SCALE

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        """Audio of frames × hop samples, with the watermark of zeros."""
        import torch

        bits = self.model.decoder.wm_model.msg_processor.nbits
        message = torch.zeros(len(z), bits, device=z.device)
        hidden = self.model.quantizer.out_proj(z)
        audio: torch.Tensor = self.model.decoder(hidden, message=message)
        return audio


class Arguments(BaseModel):
    """Those of the package's model, as a checkpoint records them; else those of the published."""

    model_config = ConfigDict(frozen=True, strict=True)

    encoder_dim: Width = 64
    encoder_rates: Strides = [2, 8, 10, 12]
    latent_dim: Width | None = 1024
    decoder_dim: Width = 1536
    decoder_rates: Strides = [12, 10, 8, 2]
    codebook_dim: Width = 128
    sample_rate: Annotated[int, Field(ge=8000, le=192_000)] = 48_000

    @model_validator(mode="after")
    def _check(self) -> Arguments:
        if math.prod(self.encoder_rates) != math.prod(self.decoder_rates):
            raise ValueError("encoder_rates and decoder_rates are of differing frames")
        return self


def _arguments(metadata: Mapping[str, Any], path: Path) -> Arguments:
    recorded = metadata.get("kwargs", {})
    try:
        return Arguments.model_validate(recorded if isinstance(recorded, Mapping) else {})
    except ValueError as error:
        raise no_config(path, reason(error), codec=CALLED) from error


def check_same(here: torch.Tensor, there: torch.Tensor, device: str) -> None:
    """Raises CodecError where a device made other samples than the CPU did."""
    gap = float((here - there).abs().max()) / max(float(here.abs().max()), 1e-9)
    if not gap <= SAME:  # so is NaN
        raise CodecError(
            f"{CALLED} decodes otherwise on {device} than on the CPU (by {gap:.1e} of its largest "
            f"sample, allowed {SAME:g}); run it on the CPU, or with another release of torch"
        )


def _version(package: Any) -> str:
    try:
        return version(NAME)
    except PackageNotFoundError:
        return str(getattr(package, "__version__", "of an unknown release"))
