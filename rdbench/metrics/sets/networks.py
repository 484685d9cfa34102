"""Features of networks of `transformers`: a layer of a model of speech, and CLAP's view of sounds.

Each is a `rdbench.metrics.neural.network.Network`, which hears signals of exactly equal length
together, so that no feature depends on padding or on other clips of a batch.

`speech` is one layer of HuBERT, WavLM or wav2vec 2.0 at 16 kHz
(`rdbench.metrics.neural.semantic`), a window for every 20 ms.

`clap` is the audio half of CLAP (`rdbench.metrics.neural.clap`): one embedding of length 1 for each
window of 10 s at 48 kHz, 5 s apart.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.base import MODEL_FILE
from rdbench.metrics.packages import distribution_version
from rdbench.metrics.ragged import cut, equal_lengths
from rdbench.metrics.sets.embedding import Embedding
from rdbench.types import AudioBatch

if TYPE_CHECKING:
    from rdbench.metrics.neural.network import Network
    from rdbench.metrics.sets.embedding import Features
    from rdbench.weights.model_files import ModelFiles

LAYER = "layer"
CLAP_RATE = 48_000
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
        from rdbench.metrics.neural.clap import Clap

        Clap.check(f"…_{self.name}", self.files)

    def network(self, device: str) -> Network:
        """The model."""
        return _clap(self.files, device)


@cache
def _speech(files: ModelFiles, device: str, layer: int) -> Network:
    from rdbench.metrics.neural.semantic import SpeechFeatures

    return SpeechFeatures(files, device, layer)


@cache
def _clap(files: ModelFiles, device: str) -> Network:
    from rdbench.metrics.neural.clap import Clap

    return Clap(files, device)
