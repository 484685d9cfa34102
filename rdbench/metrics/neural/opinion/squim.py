"""SQUIM: estimates of STOI, PESQ, SI-SDR and opinion, by the models of torchaudio.

Kumar et al., "TorchAudio-Squim: reference-less speech quality and intelligibility measures in
TorchAudio", ICASSP 2023 (arXiv 2304.01448). `squim_stoi`, `squim_pesq` and `squim_si_sdr` are what
a network estimates of the reconstruction alone at 16 kHz, on the scales of STOI, wide-band PESQ and
SI-SDR in dB; it was trained on the DNS challenge of 2020: on noise and enhancement, not on codecs.
With d the difference in opinion that another network (NORESQA-MOS: Manocha and Kumar, Interspeech
2022, arXiv 2206.12285) hears between the reconstruction and clean speech,

    squim_mos = 5 - d;

any clean speech will do, and here it is the reference.

Conventions: signals are those that the models are given by their package, which levels them for the
first three; nothing is cut into windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.base import (
    MODEL_FILE,
    BackendFactory,
    Direction,
    MetricDefinition,
    Scope,
)
from rdbench.metrics.neural.network import ScoringNetwork, model_backends
from rdbench.metrics.neural.state_file import filled
from rdbench.weights.model_files import ModelFiles

if TYPE_CHECKING:
    import torch

RATE = 16000
URL = "https://download.pytorch.org/torchaudio/models"
_CITATION = "Kumar et al., TorchAudio-Squim, ICASSP 2023, arXiv 2304.01448"


def _definition(
    key: str, name: str, unit: str, *, lower: float, upper: float, what: str, alone: bool = True
) -> MetricDefinition:
    return MetricDefinition(
        key=key,
        version=1,
        name=name,
        unit=unit,
        direction=Direction.HIGHER,
        lower=lower,
        upper=upper,
        identity=math.nan,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=0.5,
        needs_alignment=False,
        definition=f"{what} at 16 kHz; the model's file is named by the option weights",
        citation=_CITATION,
        options=(MODEL_FILE,),
        needs_model=True,
        scope=Scope.CLIP_ALONE if alone else Scope.CLIP,
    )


_ESTIMATE = "that a network of torchaudio estimates of the reconstruction alone"
DEFINITIONS: tuple[MetricDefinition, ...] = (
    _definition("squim_stoi", "SQUIM STOI", "", lower=0.0, upper=1.0, what=f"STOI {_ESTIMATE}"),
    _definition(
        "squim_pesq", "SQUIM PESQ", "MOS-LQO", lower=1.0, upper=4.64, what=f"PESQ {_ESTIMATE}"
    ),
    _definition(
        "squim_si_sdr", "SQUIM SI-SDR", "dB", lower=-math.inf, upper=math.inf,
        what=f"SI-SDR {_ESTIMATE}",
    ),
    _definition(
        "squim_mos", "SQUIM MOS", "MOS", lower=1.0, upper=5.0, alone=False,
        what="5 minus the difference in opinion that a network of torchaudio hears between "
        "reconstruction and reference,",
    ),
)  # fmt: skip


class _Squim(ScoringNetwork):
    """A model of torchaudio. build: the function that makes it, without weights."""

    extra = "base"
    packages = ("torchaudio",)
    build: ClassVar[str]

    def __init__(self, files: ModelFiles, device: str) -> None:
        super().__init__(files, device)
        import torchaudio

        build = getattr(torchaudio.models, self.build)
        self.model: Any = filled(build, files.path, named=self.named()).to(device)


class SquimObjective(_Squim):
    """STOI, PESQ and SI-SDR without a reference."""

    keys = ("squim_stoi", "squim_pesq", "squim_si_sdr")
    build = "squim_objective_base"
    source = f"the file squim_objective_dns2020.pth, fetched from {URL}/squim_objective_dns2020.pth"

    def hear(self, signals: torch.Tensor) -> Sequence[tuple[float, ...]]:
        """The three estimates of each signal."""
        return list(zip(*(one.tolist() for one in self.model(signals)), strict=True))

    def read(self, key: str, reference: None, output: tuple[float, ...]) -> float:
        """The one that the key names."""
        return output[self.keys.index(key)]


class SquimSubjective(_Squim):
    """Opinion against the reference."""

    keys = ("squim_mos",)
    build = "squim_subjective_base"
    source = (
        "the file squim_subjective_bvcc_daps.pth, fetched from "
        f"{URL}/squim_subjective_bvcc_daps.pth"
    )

    def hear(self, signals: torch.Tensor) -> Sequence[torch.Tensor]:
        """Features of each signal, (frames, dimensions), as the model's `forward` makes them."""
        features = self.model.ssl_model.extract_features(signals)[0][-1]
        return list(self.model.projector(features))

    def read(self, key: str, reference: torch.Tensor, output: torch.Tensor) -> float:
        """The opinion of both."""
        import torch

        with torch.inference_mode():
            both = torch.cat((reference, output), dim=-1)[None]
            return 5.0 - float(self.model.predictor(both))


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return model_backends(key, (SquimObjective, SquimSubjective))
