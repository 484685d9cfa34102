"""NISQA 2.0: the quality of speech without a reference, and four reasons for it.

Mittag et al., "NISQA: a deep CNN-self-attention model for multidimensional speech quality
prediction with crowdsourced datasets", Interspeech 2021 (arXiv 2104.09494), by the model that
torchmetrics has, from the authors' file. Of the reconstruction alone at 48 kHz: mel spectrogram,
windows of 150 ms every 40 ms, a convolutional network, self-attention, and a pooling for each of

    nisqa               overall
    nisqa_noisiness     nisqa_discontinuity     nisqa_coloration     nisqa_loudness

all of them higher where it is better. It was trained on transmitted and coded speech of telephony.
Its 1300 windows end at 52 s: what is longer is undefined. On the CPU, whatever the device.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdbench.identity import read_hashed
from rdbench.metrics.base import MODEL_FILE, BackendFactory, Direction, MetricDefinition, Scope
from rdbench.metrics.neural.network import ScoringNetwork, model_backends
from rdbench.text import first_line
from rdbench.types import WeightsError
from rdbench.weights.checkpoints import Checkpoint, load_strict
from rdbench.weights.configs import build_bounded
from rdbench.weights.formats import MAX_BYTES, check_format
from rdbench.weights.model_files import ModelFiles

if TYPE_CHECKING:
    import torch

RATE = 48000
URL = "https://github.com/gabrielmittag/NISQA/raw/refs/heads/master/weights/nisqa.tar"
# In the order of the model's outputs.
_WHAT = {
    "nisqa": ("NISQA", "overall quality"),
    "nisqa_noisiness": ("NISQA noisiness", "how free of noise it is"),
    "nisqa_discontinuity": ("NISQA discontinuity", "how free of gaps it is"),
    "nisqa_coloration": ("NISQA coloration", "how free of coloration it is"),
    "nisqa_loudness": ("NISQA loudness", "how right its loudness is"),
}

DEFINITIONS: tuple[MetricDefinition, ...] = tuple(
    MetricDefinition(
        key=key,
        version=1,
        name=name,
        unit="MOS",
        direction=Direction.HIGHER,
        lower=-math.inf,
        upper=math.inf,
        identity=math.nan,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=0.5,
        needs_alignment=False,
        definition=f"mean opinion score that NISQA 2.0 estimates of the reconstruction alone at "
        f"48 kHz, {what}; the model's file is named by the option weights",
        citation="Mittag et al., NISQA, Interspeech 2021, arXiv 2104.09494; package torchmetrics "
        "(Apache-2.0)",
        options=(MODEL_FILE,),
        needs_model=True,
        scope=Scope.CLIP_ALONE,
    )
    for key, (name, what) in _WHAT.items()
)


class Nisqa(ScoringNetwork):
    """The model of five scores."""

    keys = tuple(_WHAT)
    rate = RATE
    at_once = 60 * RATE
    extra = "mos"
    packages = ("torchmetrics", "librosa")
    source = f"the file nisqa.tar (CC BY-NC-SA 4.0), fetched from {URL}"

    def __init__(self, files: ModelFiles, device: str) -> None:
        super().__init__(files, device)
        from torchmetrics.functional.audio import nisqa

        settings, checkpoint = _read(files, self.named())
        try:
            self.model: Any = build_bounded(
                lambda: nisqa._NISQADIM(settings), files.path, codec=self.named()
            )
            self._ends = settings["ms_hop_length"] * (
                settings["ms_max_segments"] * settings["ms_seg_hop_length"]
                + settings["ms_seg_length"] - 2
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise _not_nisqa(files, self.named(), error) from error
        load_strict(self.model, checkpoint, codec=self.named())
        self._settings = settings

    @property
    def longest(self) -> float:
        """Where its windows end."""
        return float(self._ends)

    def hear(self, signals: torch.Tensor) -> Sequence[Sequence[float]]:
        """The five scores of each signal."""
        import torch
        from torchmetrics.functional.audio import nisqa

        # The package computes spectra by librosa, and masks on the CPU.
        spectra = nisqa._get_librosa_melspec(signals.cpu().numpy(), RATE, self._settings)
        windows, count = nisqa._segment_specs(torch.from_numpy(spectra), self._settings)
        found: list[list[float]] = self.model(windows, count.expand(len(windows))).tolist()
        return found

    def read(self, key: str, reference: None, output: Sequence[float]) -> float:
        """The one that the key names."""
        return output[self.keys.index(key)]


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return model_backends(key, (Nisqa,))


def _read(files: ModelFiles, named: str) -> tuple[Mapping[str, Any], Checkpoint]:
    """The model's settings and its tensors, read as data."""
    import torch

    try:
        content, digest = read_hashed(files.path, limit=MAX_BYTES)
        check_format(io.BytesIO(content), str(files.path))
        held = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        settings, state = dict(held["args"]), dict(held["model_state_dict"])
    except WeightsError:
        raise
    except Exception as error:  # of a file: the reader may raise anything
        raise _not_nisqa(files, named, error) from error
    return settings, Checkpoint(state, digest, files.path.name)


def _not_nisqa(files: ModelFiles, named: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"{named}: {files.path} is not NISQA's file of weights ({first_line(error)}); fetch {URL}"
    )
