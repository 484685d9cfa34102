"""`Diffusers`: audio autoencoders of the package `diffusers` on the KL axis.

Which class a model is of stands in its `config.json`. Mean and scale are the encoder's, and the KL
is recomputed of them: that of the package's Oobleck distribution lacks the factor 1/2. Clips are
encoded whole, padded with zeros to whole frames, and cut again. The models were trained to give
back what they get where it was: no delay is declared, and what a run measures is a row of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.posterior.diffusers.classes import CLASSES
from rdbench.codecs.posterior.diffusers.config import Autoencoder
from rdbench.codecs.posterior.diffusers.loading import Part, load, read_config
from rdbench.types import CodecError, MissingExtraError
from rdbench.weights.checkpoints import tensors_sha256
from rdbench.weights.configs import config_named
from rdbench.weights.hub import CONFIG, WEIGHTS, folders_of, origin_of

if TYPE_CHECKING:
    import torch

ADAPTER = 1
"""Raised when the same weights give other posteriors or audio."""


class Diffusers(PosteriorCodec):
    """An audio autoencoder of diffusers, of one of `classes`."""

    codec: ClassVar[str] = "diffusers"
    classes: ClassVar[Mapping[str, type[Autoencoder]]] = CLASSES
    unnamed: ClassVar[str] = ""
    """The class of a `config.json` that names none."""

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        subfolder: str = "",
        vocoder: str = "",
        revision: str = "main",
    ) -> None:
        """Loads the model on the CPU, in float32.

        Args:
            points: there is one, "posterior".
            weights: a folder in diffusers' layout (config.json and safetensors), or the id of one
                on the Hugging Face hub, whose files are in this machine's cache.
            subfolder: where the autoencoder lies in it ("vae" or the like in a whole pipeline).
            vocoder: where the vocoder lies in it, for a class that needs one.
            revision: of a model of the hub: a commit, or a branch.

        Raises:
            CodecError: without `weights`, for an unknown point, or where `vocoder` is missing or
                one too many.
            MissingExtraError: without the package `diffusers`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        called = f"codec {self.codec!r}"
        _need_package(called)
        folder, *more = folders_of(
            weights,
            [subfolder, *([vocoder] if vocoder else [])],
            revision,
            codec=called,
            package="diffusers",
            names=(WEIGHTS,),
            wanted="a folder in diffusers' layout or a hub id such as "
            "stabilityai/stable-audio-open-1.0 (with subfolder: vae)",
        )
        config = read_config(called, folder, self.classes, self.unnamed)
        parts = [Part(config, folder)]
        if (config.vocoder is None) != (not vocoder):
            what = "needs the option vocoder: the folder of its" if not vocoder else "takes no"
            raise CodecError(f"{called}: {config.builds} {what} vocoder; mend the spec")
        if config.vocoder is not None:
            (place,) = more
            known = {config.vocoder.builds: config.vocoder}
            parts.append(Part(read_config(called, place, known), place))
        self.model = load(called, config, parts)
        self.config = config
        layout = config.layout
        self.hop = layout.hop
        super().__init__(
            name=config.builds,
            sample_rate=layout.sample_rate,
            frame_rate=layout.sample_rate / layout.hop,
            modules=self.model,
            channels=(layout.channels,),
            points=points,
            prior=config.prior,
            weights_sha256=tensors_sha256(self.model),
            citation=config.citation,
            version=f"diffusers {version('diffusers')}, "
            f"{', '.join(config_named(part.folder / CONFIG) for part in parts)}, adapter {ADAPTER}",
            details={
                "weights": Path(str(weights)).name,
                "weights_bytes": sum(part.weights_bytes for part in parts),
                "weights_from": origin_of(str(weights), folder),
                "latents": layout.latents,
            },
        )

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean and standard deviation, (clips, latents, frames) each; None for one of SAME."""
        import torch

        padded = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % self.hop))
        return self.config.posterior(self.model, padded)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        """Audio of frames × hop samples."""
        return self.config.decode(self.model, z)


class Oobleck(Diffusers):
    """An AutoencoderOobleck, by a name of its own; its `config.json` need not name the class."""

    codec = "oobleck"
    unnamed = "AutoencoderOobleck"
    classes: ClassVar[Mapping[str, type[Autoencoder]]] = {unnamed: CLASSES[unnamed]}

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        subfolder: str = "",
        revision: str = "main",
    ) -> None:
        """Loads the model, as `Diffusers` does."""
        super().__init__(points=points, weights=weights, subfolder=subfolder, revision=revision)


def _need_package(called: str) -> None:
    try:
        import diffusers  # noqa: F401  (whether it is there and can be imported)
    except ImportError as error:
        raise MissingExtraError(called, "diffusers") from error
