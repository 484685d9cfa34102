"""Features of networks of `transformers`: a layer of a model of speech, and CLAP's view of sounds.

Each is a `rdbench.metrics.neural.network.Network`, which hears signals of exactly equal length
together, so that no feature depends on padding or on other clips of a batch.

`speech` is one layer of HuBERT, WavLM or wav2vec 2.0 at 16 kHz
(`rdbench.metrics.neural.semantic`), a window for every 20 ms.

`clap` is the audio half of CLAP (Wu et al., "Large-scale contrastive language-audio pretraining
with feature fusion and keyword-to-caption augmentation", ICASSP 2023, arXiv 2211.06687): one
embedding of length 1 for each window of 10 s at 48 kHz, 5 s apart (a last part that is shorter is
left out); a shorter clip is one window, which the package's feature extractor repeats until it is
full.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.base import MODEL_FILE
from rdbench.metrics.packages import distribution_version
from rdbench.metrics.ragged import cut, equal_lengths
from rdbench.metrics.sets.embedding import Embedding
from rdbench.types import AudioBatch, SpecError

if TYPE_CHECKING:
    import numpy as np

    from rdbench.metrics.neural.network import Network
    from rdbench.metrics.sets.embedding import Features
    from rdbench.weights.model_files import ModelFiles

LAYER = "layer"
CLAP_RATE = 48_000
CLAP_SECONDS = 10
WINDOW_SECONDS, HOP_SECONDS = 10, 5
_HUB = "a folder of transformers' layout, or ID@REVISION of the Hugging Face hub"


class NetworkEmbedding(Embedding):
    """Features that a network makes of signals at its rate. at_once: samples that go together."""

    options: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    at_once: ClassVar[int] = 60 * 16_000
    adapter: ClassVar[int] = 1
    """Raised when the same weights give other features."""

    @abstractmethod
    def network(self, device: str) -> Network:
        """The model on a device, loaded once."""

    @cached_property
    def version(self) -> str:
        """Of the package, and of how it is used."""
        package = distribution_version("transformers", self.name, "transformers")
        return f"transformers {package}, adapter {self.adapter}"

    def windows(self, audio: AudioBatch) -> list[Features]:
        """See `Embedding`; raises WeightsError for what is no such model."""
        import torch

        network = self.network(str(audio.samples.device))
        found: dict[int, Features] = {}
        with torch.inference_mode():
            for length, indices in equal_lengths(audio, limit=self.at_once):
                heard = network.hear(cut(audio, indices, length)[:, 0])
                made = (one.float().cpu().numpy() for one in heard)
                found |= dict(zip(indices, made, strict=True))
        return [found[index] for index in range(audio.clips)]


class SpeechLayer(NetworkEmbedding):
    """A layer of a self-supervised model of speech, float32 (frames, dimensions) per clip.

    layer: 0 is what enters the first. Raises SpecError for one that the model has not.
    """

    name = "speech"
    title = "speech model"
    what = "a layer (option layer) of a HuBERT, WavLM or wav2vec 2.0"
    at = "16 kHz"
    sample_rate = 16_000
    minimum_seconds = 0.1
    domains = ("speech",)
    options = (MODEL_FILE, LAYER)
    source = f"{_HUB} (`rdbench weights fetch microsoft/wavlm-base-plus` brings it into its cache)"
    citation = "Chen et al., WavLM, IEEE JSTSP 16, 2022, arXiv 2110.13900"

    def __init__(self, *, weights: str | None = None, layer: Any = None) -> None:
        super().__init__(weights=weights)
        from rdbench.metrics.neural.semantic import SpeechFeatures

        self.layer = layer
        SpeechFeatures.check(f"…_{self.name}", self.files, layer=layer)

    @property
    def identity(self) -> str:
        """With the layer."""
        return f"{super().identity}, layer {self.layer}"

    def network(self, device: str) -> Network:
        """The model with its layer."""
        return _speech(self.files, device, self.layer)


class ClapAudio(NetworkEmbedding):
    """CLAP's embedding of windows of 10 s, float32 (windows, dimensions) per clip."""

    name = "clap"
    title = "CLAP"
    what = "CLAP's embedding of windows of 10 s"
    at = "48 kHz"
    sample_rate = CLAP_RATE
    minimum_seconds = 0.5
    at_once = 60 * CLAP_RATE
    source = f"{_HUB} (`rdbench weights fetch laion/clap-htsat-unfused` brings it into its cache)"
    citation = "Wu et al., CLAP with feature fusion, ICASSP 2023, arXiv 2211.06687"

    def __init__(self, *, weights: str | None = None) -> None:
        super().__init__(weights=weights)
        _clap_kind().check(f"…_{self.name}", self.files)

    def network(self, device: str) -> Network:
        """The model."""
        return _clap(self.files, device)


_PREPARED = (
    "feature_size", "hop_length", "max_length_s", "frequency_min", "frequency_max", "top_db",
    "padding",
)  # fmt: skip
"""What a published `preprocessor_config.json` says of CLAP's filter bank and windows."""


@cache
def _speech(files: ModelFiles, device: str, layer: int) -> Network:
    from rdbench.metrics.neural.semantic import SpeechFeatures

    return SpeechFeatures(files, device, layer)


@cache
def _clap(files: ModelFiles, device: str) -> Network:
    made: Network = _clap_kind()(files, device)
    return made


@cache
def _clap_kind() -> Any:
    """The class of the network, which is built on packages that definitions do without."""
    from rdbench.metrics.neural.transformers_network import PREPROCESSOR, TransformersNetwork

    class ClapWindows(TransformersNetwork):
        keys = ("frechet_clap",)
        extra = "transformers"
        rate = CLAP_RATE
        classes: ClassVar[Mapping[str, str]] = {"clap": "ClapModel"}
        source = ClapAudio.source
        surplus = ("position_ids",)

        def __init__(self, files: ModelFiles, device: str) -> None:
            super().__init__(files, device)
            from transformers import ClapFeatureExtractor

            said = self.side_file(files, PREPROCESSOR)
            taken = {name: said[name] for name in _PREPARED if name in said}
            self._extractor = ClapFeatureExtractor(truncation=self._truncation(files), **taken)

        @classmethod
        def check(cls, key: str, files: ModelFiles, **options: Any) -> None:
            super().check(key, files, **options)
            cls._truncation(files)

        @classmethod
        def _truncation(cls, files: ModelFiles) -> str:
            said = cls.side_file(files, PREPROCESSOR)
            rate = said.get("sampling_rate") if isinstance(said, Mapping) else None
            way = said.get("truncation", "fusion") if rate == CLAP_RATE else None
            lasts = said.get("max_length_s", CLAP_SECONDS) if way else None
            if way not in ("fusion", "rand_trunc") or lasts != CLAP_SECONDS:
                raise SpecError(
                    f"{files.path / PREPROCESSOR} is not of a CLAP of {CLAP_RATE} Hz; copy it from "
                    "where the model is published"
                )
            return str(way)

        def hear(self, signals: Any) -> Sequence[Any]:
            found = []
            for signal in signals:
                made = self._extractor(
                    [*_windows(signal.cpu().numpy())], sampling_rate=CLAP_RATE, return_tensors="pt"
                )
                inputs = {name: value.to(self.device) for name, value in made.items()}
                # Its own random choice, for what is longer than a window, is never asked for.
                inputs["is_longer"] = inputs["is_longer"].new_zeros(len(inputs["is_longer"]), 1)
                found.append(self.model.get_audio_features(**inputs).pooler_output)
            return found

    return ClapWindows


def _windows(signal: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    length, hop = WINDOW_SECONDS * CLAP_RATE, HOP_SECONDS * CLAP_RATE
    starts = range(0, max(1, len(signal) - length + 1), hop)
    return [signal[start : start + length] for start in starts]
