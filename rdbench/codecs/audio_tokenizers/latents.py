"""Continuous tokenizers of `transformers`: VibeVoice's acoustic one and that of Pocket TTS.

Z. Peng et al., "VibeVoice Technical Report", 2025 (arXiv:2508.19205): 24 kHz, 7.5 frames/s, 64
channels. Pocket TTS (Kyutai): 24 kHz, 12.5 frames/s, 32 channels.

Their encoders give a latent without a scale, so that there is no KL and no nominal rate: the mean
is decoded, and a latent can be coded by a stream of its own. The noise that VibeVoice's model adds
in training is not a posterior: its size is drawn anew for each clip. The levelling of its
processor (−25 dBFS) is not done: the latent would not tell the decoder of it. Clips are padded with
zeros to whole frames.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.codecs.audio_tokenizers.load import Geometry, Kind, load
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.types import CodecError

if TYPE_CHECKING:
    import torch

ADAPTER = 1
"""Raised when the same weights give other latents or audio."""


class LatentCodec(PosteriorCodec):
    """A tokenizer of `transformers` whose latent is continuous."""

    kind: ClassVar[Kind]
    citation: ClassVar[str]

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        subfolder: str = "",
        revision: str = "main",
    ) -> None:
        """Loads the model on the CPU, in float32.

        Args:
            points: there is one, "posterior".
            weights: a folder in transformers' layout (config.json and model.safetensors), or the
                id of one on the Hugging Face hub, whose files are in this machine's cache.
            subfolder: where the model lies in it.
            revision: of a model of the hub: a commit, or a branch.

        Raises:
            CodecError: without `weights`, or for an unknown point.
            MissingExtraError: without the package `transformers`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        loaded = load(self.kind, weights, subfolder, revision)
        self.model, self.geometry = loaded.model, loaded.geometry
        super().__init__(
            name=self.kind.codec,
            sample_rate=loaded.geometry.sample_rate,
            frame_rate=loaded.geometry.frame_rate,
            modules=loaded.model,
            channels=(loaded.geometry.channels,),
            points=points,
            prior=False,
            weights_sha256=loaded.sha256,
            citation=self.citation,
            version=f"{loaded.version}, adapter {ADAPTER}",
            details=loaded.details,
        )

    @abstractmethod
    def _latents(self, audio: torch.Tensor) -> torch.Tensor:
        """(clips, frames, channels) of whole frames of audio."""

    @abstractmethod
    def _audio(self, latents: torch.Tensor) -> torch.Tensor:
        """(clips, channels, time) of (clips, frames, channels)."""

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The latent (clips, channels, frames), and no scale."""
        import torch

        padded = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % self.geometry.hop))
        latents = self._latents(padded)
        frames = padded.shape[-1] // self.geometry.hop
        if latents.shape[1] != frames:
            raise CodecError(
                f"{self.info.name} made {latents.shape[1]} frames of {audio.shape[-1]} samples, "
                f"its configuration says {frames}; give the config.json that belongs to the weights"
            )
        return latents.transpose(1, 2), None

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        """Audio of frames × hop samples."""
        return self._audio(z.transpose(1, 2))


def _vibevoice(config: Any) -> Geometry:
    return Geometry(24_000, config.hop_length, config.channels)


class VibeVoiceAcoustic(LatentCodec):
    """The acoustic tokenizer of VibeVoice: 7.5 Hz × 64."""

    kind = Kind(
        "vibevoice_acoustic",
        "vibevoice_acoustic_tokenizer",
        "VibeVoiceAcousticTokenizerModel",
        _vibevoice,
        "microsoft/VibeVoice-AcousticTokenizer",
    )
    citation = CREDITS["vibevoice_acoustic"].citation

    def _latents(self, audio: torch.Tensor) -> torch.Tensor:
        latents: torch.Tensor = self.model.encode(audio, sample=False, return_dict=True).latents
        return latents

    def _audio(self, latents: torch.Tensor) -> torch.Tensor:
        audio: torch.Tensor = self.model.decode(latents, return_dict=True).audio
        return audio


def _pocket_tts(config: Any) -> Geometry:
    if config.encoder_config is None or config.decoder_config is None:
        raise CodecError("it is of one half of the model")
    return Geometry(config.sampling_rate, config.frame_size, config.audio_channels)


class PocketTts(LatentCodec):
    """The tokenizer of Pocket TTS: 12.5 Hz × 32."""

    kind = Kind(
        "pocket_tts",
        "pocket_tts_audio_tokenizer",
        "PocketTTSAudioTokenizerModel",
        _pocket_tts,
        "eustlb/pocket-tts-audio-tokenizer",
    )
    citation = CREDITS["pocket_tts"].citation

    def _latents(self, audio: torch.Tensor) -> torch.Tensor:
        latents: torch.Tensor = self.model.encode(audio, return_dict=True).latents
        return latents

    def _audio(self, latents: torch.Tensor) -> torch.Tensor:
        audio: torch.Tensor = self.model.decode(latents, return_dict=True).audio_values
        return audio
