"""Whether the same is said: features of a self-supervised speech model, frame against frame.

HuBERT (Hsu et al., IEEE/ACM TASLP 29, 2021, arXiv 2106.07447), WavLM (Chen et al., arXiv
2110.13900) or wav2vec 2.0 (Baevski et al., arXiv 2006.11477) makes a feature of every 20 ms at
16 kHz, whose middle and upper layers tell phones apart and forget voices and rooms. With x_i of the
reference, y_j of the reconstruction, at the layer that the option `layer` names (0 is what enters
the first), and cos of two features,

    semantic_similarity = mean over i of cos(x_i, y_i)
    speech_bert_score   = mean over j of max over i of cos(x_i, y_j)

The first holds frames of one time against each other: what is late or slower costs. The second is
the precision of SpeechBERTScore (Saeki et al., "SpeechBERTScore: reference-aware automatic
evaluation of speech generation leveraging NLP evaluation metrics", Interspeech 2024, arXiv
2401.16812), for which time does not count. Features of all speech are alike to some degree, so that
no value is near 0: read differences, of one model and layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.base import MODEL_FILE, BackendFactory, Direction, MetricDefinition
from rdbench.metrics.neural.network import ScoringNetwork, model_backends
from rdbench.metrics.neural.transformers_network import WaveformNetwork
from rdbench.types import SpecError
from rdbench.weights.model_files import ModelFiles
from rdbench.weights.transformers_models import read_configuration

if TYPE_CHECKING:
    import torch

RATE = 16000
LAYER = "layer"
_WHAT = {
    "semantic_similarity": (
        "Semantic similarity",
        "mean cosine of features of the same time",
        "Hsu et al., HuBERT, IEEE/ACM TASLP 29, 2021, arXiv 2106.07447; Chen et al., WavLM, arXiv "
        "2110.13900",
    ),
    "speech_bert_score": (
        "SpeechBERTScore",
        "mean over the reconstruction's features of the highest cosine with one of the reference",
        "Saeki et al., SpeechBERTScore, Interspeech 2024, arXiv 2401.16812",
    ),
}

DEFINITIONS: tuple[MetricDefinition, ...] = tuple(
    MetricDefinition(
        key=key,
        version=1,
        name=name,
        unit="",
        direction=Direction.HIGHER,
        lower=-1.0,
        upper=1.0,
        identity=1.0,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=0.1,
        needs_alignment=False,
        definition=f"{what}, of a layer (option layer) of a HuBERT, WavLM or wav2vec 2.0 that the "
        "option weights names, at 16 kHz",
        citation=citation,
        options=(MODEL_FILE, LAYER),
        needs_model=True,
    )
    for key, (name, what, citation) in _WHAT.items()
)


class SpeechFeatures(WaveformNetwork, ScoringNetwork):
    """A layer of a self-supervised speech model."""

    keys = tuple(_WHAT)
    extra = "transformers"
    source = (
        "a folder of transformers' layout, or ID@REVISION of the Hugging Face hub "
        "(`rdbench weights fetch facebook/hubert-base-ls960` brings it into its cache)"
    )
    classes: ClassVar[Mapping[str, str]] = {
        "hubert": "HubertModel",
        "wavlm": "WavLMModel",
        "wav2vec2": "Wav2Vec2Model",
    }
    # Of the heads that published files may have.
    surplus = ("lm_head.weight", "lm_head.bias")

    def __init__(self, files: ModelFiles, device: str, layer: int) -> None:
        super().__init__(files, device)
        self.layer = layer

    @classmethod
    def check(cls, key: str, files: ModelFiles, layer: Any = None, **options: Any) -> None:
        """Also, that the model has the layer."""
        super().check(key, files, **options)
        most = read_configuration(cls._wanted(), files.path)[1].num_hidden_layers
        if not isinstance(layer, int) or isinstance(layer, bool) or not 0 <= layer <= most:
            raise SpecError(
                f"metric {key!r}: the option {LAYER} is {layer!r}; name one from 0 to {most} (9 of "
                "HuBERT base and 14 of WavLM large are in use)"
            )

    def hear(self, signals: torch.Tensor) -> Sequence[torch.Tensor]:
        """The features of each signal, (frames, dimensions)."""
        made = self.model(self.prepared(signals), output_hidden_states=True)
        return list(made.hidden_states[self.layer])

    def read(self, key: str, reference: torch.Tensor, output: torch.Tensor) -> float:
        """The similarity that the key names."""
        similar = similarities(reference, output)
        if key == "semantic_similarity":
            return float(similar.diagonal().mean())
        return float(similar.amax(0).mean())


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return model_backends(key, (SpeechFeatures,))


def similarities(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Cosines of all features (frames, dimensions) of both, (frames, frames), float64."""
    import torch

    sides = [torch.nn.functional.normalize(one.double(), dim=-1) for one in (first, second)]
    return (sides[0] @ sides[1].T).clamp(-1.0, 1.0)
