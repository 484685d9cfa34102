"""Similarity of voices: x-vectors of a speech model, of the reference and of the reconstruction.

An x-vector (Snyder et al., "X-vectors: robust DNN embeddings for speaker recognition", ICASSP 2018)
over the layers of a self-supervised model, as WavLM has it for verification (Chen et al., IEEE
JSTSP 16(6), 2022, arXiv 2110.13900), e of a signal at 16 kHz; and

    speaker_xvector = e(reference) · e(reconstruction) / (|e(reference)| |e(reconstruction)|)

Its authors advise 0.86 as the threshold above which two recordings are of one voice
(microsoft/wavlm-base-plus-sv). Another model has another scale: compare values of one model alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from rdbench.metrics.base import MODEL_FILE, BackendFactory, Direction, MetricDefinition
from rdbench.metrics.neural.network import ScoringNetwork, model_backends
from rdbench.metrics.neural.transformers_network import UNUSED, WaveformNetwork

if TYPE_CHECKING:
    import torch

KEY = "speaker_xvector"
RATE = 16000

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key=KEY,
        version=1,
        name="Speaker similarity (x-vector)",
        unit="",
        direction=Direction.HIGHER,
        lower=-1.0,
        upper=1.0,
        identity=1.0,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=0.5,
        needs_alignment=False,
        definition="cosine of the x-vectors that a WavLM or wav2vec 2.0 for verification, named by "
        "the option weights, makes of reference and reconstruction at 16 kHz",
        citation="Chen et al., WavLM, IEEE JSTSP 16(6), 2022, arXiv 2110.13900; Snyder et al., "
        "X-vectors, ICASSP 2018",
        options=(MODEL_FILE,),
        needs_model=True,
    ),
)


class XVector(WaveformNetwork, ScoringNetwork):
    """A model that tells speakers apart."""

    keys = (KEY,)
    extra = "transformers"
    source = (
        "a folder of transformers' layout, or ID@REVISION of the Hugging Face hub "
        "(`rdbench weights fetch microsoft/wavlm-base-plus-sv` brings it into its cache)"
    )
    classes: ClassVar[Mapping[str, str]] = {
        "wavlm": "WavLMForXVector",
        "wav2vec2": "Wav2Vec2ForXVector",
    }
    unused = (*UNUSED, "objective.weight", "classifier.weight", "classifier.bias")

    def hear(self, signals: torch.Tensor) -> Sequence[torch.Tensor]:
        """The x-vector of each signal, (dimensions,)."""
        return list(self.model(self.prepared(signals)).embeddings)

    def read(self, key: str, reference: torch.Tensor, output: torch.Tensor) -> float:
        """The cosine of both."""
        return cosine(reference, output)


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return model_backends(key, (XVector,))


def cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    """Of two vectors (dimensions,), in float64; NaN where one is zero."""
    a, b = first.double(), second.double()
    lengths = float(a.norm() * b.norm())
    return max(-1.0, min(1.0, float(a @ b) / lengths)) if lengths else math.nan
