"""AutoencoderOobleck of `diffusers`: the VAE of Stable Audio, and others of its architecture.

Z. Evans, J. Parker, C. Carr, Z. Zukowski, J. Taylor, J. Pons, "Stable Audio Open", 2024
(arXiv:2407.14358). The published model: 44.1 kHz stereo, hop 2048 (21.53 frames/s), 64 channels.

Mean and scale come from `latent_dist` (.mean, .std); its own `.kl()` lacks the factor 1/2 and is
not used. Clips are encoded whole, padded with zeros to whole frames, and cut again.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.types import CodecError, MissingExtraError, WeightsError
from rdbench.weights.checkpoints import tensors_sha256

if TYPE_CHECKING:
    import torch

ADAPTER = 1
"""Raised when the same weights give other posteriors or audio."""

_CITATION = "Evans et al.: Stable Audio Open, 2024, arXiv:2407.14358"


class Oobleck(PosteriorCodec):
    """A `diffusers` AutoencoderOobleck on the KL axis."""

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        subfolder: str = "",
    ) -> None:
        """Loads the model on the CPU, in float32.

        Args:
            points: there is one, "posterior".
            weights: a folder in diffusers' layout (config.json and safetensors), or the id of one
                on the Hugging Face hub.
            subfolder: where the VAE lies in it ("vae" in a whole pipeline).

        Raises:
            CodecError: without `weights`, or for an unknown point.
            MissingExtraError: without the package `diffusers`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        if weights is None:
            raise CodecError(
                "codec 'oobleck' needs the option weights: a folder in diffusers' layout or a hub "
                "id such as stabilityai/stable-audio-open-1.0 (with subfolder: vae)"
            )
        model = _load(str(weights), subfolder)
        self.model = model
        self.hop = int(model.hop_length)
        super().__init__(
            name="oobleck",
            sample_rate=int(model.sampling_rate),
            frame_rate=model.sampling_rate / self.hop,
            modules=model,
            channels=(int(model.config.audio_channels),),
            points=points,
            weights_sha256=tensors_sha256(model),
            citation=_CITATION,
            version=f"diffusers {version('diffusers')}, adapter {ADAPTER}",
            details={"weights": Path(str(weights)).name, "latents": _latents(model)},
        )

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation, (clips, latents, frames) each."""
        import torch

        padded = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % self.hop))
        latent = self.model.encode(padded).latent_dist
        return latent.mean, latent.std

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        """Audio of frames × hop samples."""
        audio: torch.Tensor = self.model.decode(z).sample
        return audio


def _load(weights: str, subfolder: str) -> Any:
    try:
        from diffusers import AutoencoderOobleck
    except ImportError as error:
        raise MissingExtraError("codec 'oobleck'", "diffusers") from error
    where = f"{weights}/{subfolder}" if subfolder else weights
    if Path(weights).is_dir():
        _check_folder(Path(weights, subfolder))
    try:
        # Safetensors alone: a .bin file is a pickle and can run code.
        model, found = AutoencoderOobleck.from_pretrained(
            weights, subfolder=subfolder or None, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # diffusers raises what its parts raise
        raise WeightsError(
            f"codec 'oobleck' cannot load {where} ({type(error).__name__}: {_first_line(error)}); "
            "give a folder with config.json and diffusion_pytorch_model.safetensors, or a hub id "
            "that this machine can reach"
        ) from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found.get(kind):
            raise WeightsError(
                f"codec 'oobleck': {where} has {kind.replace('_', ' ')}, the first of them "
                f"{sorted(map(str, found[kind]))[0]!r}; fetch the weights again"
            )
    return model.float().eval()


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"codec 'oobleck': {folder} has no config.json; give the folder of the VAE, or its "
            "parent with the option subfolder"
        )


def _latents(model: Any) -> int:
    return int(model.config.decoder_input_channels)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no reason given"
