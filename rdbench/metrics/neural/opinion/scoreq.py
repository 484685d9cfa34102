"""SCOREQ: speech quality by embeddings that were ordered by opinion, with and without a reference.

Ragano, Skoglund and Hines, "SCOREQ: speech quality assessment with contrastive regression", NeurIPS
2024 (arXiv 2410.06675), by the package `scoreq-pytorch`, which is the authors' model without
fairseq. e is the mean over frames of wav2vec 2.0's last layer, of unit length, of a channel at
16 kHz, filled up with zeros to whole frames of 20 ms; and

    scoreq     = w · e(reconstruction) + b                     an opinion, higher is better
    scoreq_ref = |e(reference) - e(reconstruction)|            a distance, 0 … 2, lower is better

There is a model for each of the two, and of each one for natural and one for synthesized speech:
the file says which it is. The reference need not be that of the clip; here it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.base import MODEL_FILE, BackendFactory, Direction, MetricDefinition, Scope
from rdbench.metrics.neural.network import ScoringNetwork, model_backends
from rdbench.metrics.neural.state_file import PRETRAINING, filled
from rdbench.weights.model_files import ModelFiles

if TYPE_CHECKING:
    import torch

RATE = 16000
_URL = "https://huggingface.co/Blinorot/SCOREQ-PyTorch/resolve/main"
scoreq = partial(
    MetricDefinition,
    version=1,
    domains=("speech",),
    sample_rate=RATE,
    minimum_seconds=0.5,
    needs_alignment=False,
    citation="Ragano, Skoglund and Hines, SCOREQ, NeurIPS 2024, arXiv 2410.06675; package "
    "scoreq-pytorch (MIT)",
    options=(MODEL_FILE,),
    needs_model=True,
)

DEFINITIONS: tuple[MetricDefinition, ...] = (
    scoreq(
        key="scoreq",
        name="SCOREQ",
        unit="MOS",
        direction=Direction.HIGHER,
        lower=-math.inf,
        upper=math.inf,
        identity=math.nan,
        definition="mean opinion score that SCOREQ estimates of the reconstruction alone at 16 "
        "kHz; the model's file is named by the option weights",
        scope=Scope.CLIP_ALONE,
    ),
    scoreq(
        key="scoreq_ref",
        name="SCOREQ (reference)",
        unit="",
        direction=Direction.LOWER,
        lower=0.0,
        upper=2.0,
        identity=0.0,
        definition="distance of the embeddings that SCOREQ makes of reference and reconstruction "
        "at 16 kHz; the model's file is named by the option weights",
    ),
)


class _Scoreq(ScoringNetwork):
    """One of both models. mode: the package's name of it."""

    extra = "mos"
    packages = ("scoreq-pytorch",)
    mode: ClassVar[str]

    def __init__(self, files: ModelFiles, device: str) -> None:
        super().__init__(files, device)
        from scoreq_pytorch.scoreq_torch import SCOREQModel

        model = filled(
            lambda: SCOREQModel(self.mode).model,
            files.path,
            named=self.named(),
            surplus=PRETRAINING,
        )
        self.model: Any = model.to(device)

    def hear(self, signals: torch.Tensor) -> Sequence[torch.Tensor]:
        """The embedding of each signal, or its opinion (1,)."""
        from scoreq_pytorch.wav2vec2 import pad_tensor_to_multiple

        whole, _ = pad_tensor_to_multiple(signals[:, None], multiple=320, dim=-1, value=0.0)
        return list(self.model(whole))


class ScoreqAlone(_Scoreq):
    """Without a reference."""

    keys = ("scoreq",)
    mode = "nr"
    source = (
        f"the file scoreq_natural_nr_state_dict.pt, fetched from {_URL}/"
        "scoreq_natural_nr_state_dict.pt"
    )

    def read(self, key: str, reference: None, output: torch.Tensor) -> float:
        """It is the output."""
        return float(output)


class ScoreqReference(_Scoreq):
    """With a reference."""

    keys = ("scoreq_ref",)
    mode = "ref"
    source = (
        f"the file scoreq_natural_ref_state_dict.pt, fetched from {_URL}/"
        "scoreq_natural_ref_state_dict.pt"
    )

    def read(self, key: str, reference: torch.Tensor, output: torch.Tensor) -> float:
        """The distance of both."""
        return float((reference.double() - output.double()).norm())


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return model_backends(key, (ScoreqAlone, ScoreqReference))
