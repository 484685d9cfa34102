"""UTMOS: how natural speech sounds, by the strong learner of the VoiceMOS challenge of 2022.

Saeki et al., "UTMOS: UTokyo-SaruLab system for VoiceMOS challenge 2022", Interspeech 2022 (arXiv
2204.02152): wav2vec 2.0, a listener and a domain, a recurrent layer and a projection, by the
package `utmos-pytorch`, which is the authors' model without fairseq. Of the reconstruction alone at
16 kHz,

    utmos = 3 + 2 · mean over frames of the output,

for the listener and the domain that the authors' demo takes. It was trained on synthesized and
converted speech in English. Nothing is cut into windows; level counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import MODEL_FILE, BackendFactory, Direction, MetricDefinition, Scope
from rdbench.metrics.neural.network import ScoringNetwork, model_backends
from rdbench.metrics.neural.state_file import PRETRAINING, filled
from rdbench.weights.model_files import ModelFiles

if TYPE_CHECKING:
    import torch

KEY = "utmos"
RATE = 16000

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key=KEY,
        version=1,
        name="UTMOS",
        unit="MOS",
        direction=Direction.HIGHER,
        # A projection without bounds: what it was trained on lies within 1 to 5.
        lower=-math.inf,
        upper=math.inf,
        identity=math.nan,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=0.5,
        needs_alignment=False,
        definition="mean opinion score of naturalness that UTMOS22 strong estimates of the "
        "reconstruction alone at 16 kHz; the model's file is named by the option weights",
        citation="Saeki et al., UTMOS, Interspeech 2022, arXiv 2204.02152; package utmos-pytorch "
        "(MIT)",
        options=(MODEL_FILE,),
        needs_model=True,
        scope=Scope.CLIP_ALONE,
    ),
)


class Utmos(ScoringNetwork):
    """The strong learner."""

    keys = (KEY,)
    extra = "mos"
    packages = ("utmos-pytorch",)
    source = (
        "the file utmos_state_dict.pt, fetched from "
        "https://huggingface.co/Blinorot/UTMOS-PyTorch/resolve/main/utmos_state_dict.pt"
    )

    def __init__(self, files: ModelFiles, device: str) -> None:
        super().__init__(files, device)
        import torch
        from utmos_pytorch.utmos_torch import UTMOSModel, UTMOSScoreTorch

        # The package's object, without its way of loading, which passes over what does not fit.
        score: Any = UTMOSScoreTorch.__new__(UTMOSScoreTorch)
        torch.nn.Module.__init__(score)
        score.model = filled(UTMOSModel, files.path, named=self.named(), surplus=PRETRAINING)
        self._score = score.eval().to(device)

    def hear(self, signals: torch.Tensor) -> Sequence[float]:
        """The score of each signal."""
        found: list[float] = self._score(signals[:, None]).tolist()
        return found

    def read(self, key: str, reference: None, output: float) -> float:
        """It is the output."""
        return output


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return model_backends(key, (Utmos,))
