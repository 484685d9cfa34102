"""Features of networks of `transformers`: a layer of a model of speech, and CLAP's view of sounds.

`speech` is one layer of HuBERT, WavLM or wav2vec 2.0 at 16 kHz
(`rdbench.metrics.neural.semantic`), a window for every 20 ms.

`clap` is the audio half of CLAP (`rdbench.metrics.neural.clap`): one embedding of length 1 for each
window of 10 s at 48 kHz, 5 s apart.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.base import MODEL_FILE
from rdbench.metrics.packages import distribution_version
from rdbench.metrics.sets.network_embedding import NetworkEmbedding

if TYPE_CHECKING:
    from rdbench.metrics.neural.network import Network
    from rdbench.weights.model_files import ModelFiles

LAYER = "layer"
CLAP_RATE = 48_000
_HUB = "a folder of transformers' layout, or ID@REVISION of the Hugging Face hub"


class _OfTransformers(NetworkEmbedding):
    """Its version is that of the package, and of how it is used."""

    adapter: ClassVar[int] = 1
    """Raised when the same weights give other features."""

    @cached_property
    def version(self) -> str:
        """Of the package, and of how it is used."""
        package = distribution_version("transformers", self.name, "transformers")
        return f"transformers {package}, adapter {self.adapter}"


class SpeechLayer(_OfTransformers):
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


class ClapAudio(_OfTransformers):
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
