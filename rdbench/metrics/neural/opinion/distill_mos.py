"""Distill-MOS: how good speech sounds, by a network that has no reference.

A convolutional network and a transformer that were distilled from an estimator on features of XLS-R
(Stahl and Gamper, "Distillation and pruning for scalable self-supervised representation-based
speech quality assessment", ICASSP 2025, arXiv 2502.05356), by the package `distillmos`, which has
the weights (variant 7). Each channel at 16 kHz is cut into windows of 7.68 s, as many as there are
hops of one second at most and spread evenly from its start to its end; a shorter one is filled up
with zeros. Every window is scaled to a peak of 1, and

    distill_mos = mean over windows of 1 + 4 q,   q the network's estimate, 0 … 1.

Conventions:
- the windows are those of the package and go through it four at once, whatever the length: ten
  minutes take no more memory than half a minute;
- the weights' SHA-256 is part of the backend's version, and so of the key of every value;
- gain does not count, and neither does what is said: fluent nonsense is good speech.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.identity import file_sha256
from rdbench.metrics.base import BackendFactory, Direction, MetricDefinition, Scope
from rdbench.metrics.channels import average_channels
from rdbench.metrics.equal_lengths import EqualLengths
from rdbench.metrics.packages import distribution_version, missing
from rdbench.types import Score

if TYPE_CHECKING:
    import torch

KEY = "distill_mos"
EXTRA = "mos"
RATE = 16000
WINDOW = 122880  # samples
HOP = 16000
SHORTEST = 0.5  # seconds
_AT_ONCE = 4  # windows: the first layers of one take 60 MB

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key=KEY,
        version=2,
        name="Distill-MOS",
        unit="MOS",
        direction=Direction.HIGHER,
        lower=1.0,
        upper=5.0,
        identity=math.nan,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=SHORTEST,
        needs_alignment=False,
        definition="mean opinion score that a network distilled from XLS-R estimates of the "
        "reconstruction alone at 16 kHz, mean over windows of 7.68 s",
        citation="Stahl and Gamper, Distillation and pruning for scalable self-supervised "
        "representation-based speech quality assessment, ICASSP 2025, arXiv 2502.05356; package "
        "distillmos (MIT)",
        scope=Scope.CLIP_ALONE,
    ),
)


class DistillMos(EqualLengths):
    """`distill_mos` as the module defines it."""

    name = "torch"
    tolerance = 1e-4

    @cached_property
    def version(self) -> str:
        """Of the package and of its weights; raises MissingExtraError where it is not installed."""
        number = distribution_version("distillmos", KEY, EXTRA)
        return f"distillmos {number}, weights sha256 {file_sha256(_weights())}"

    def shortest(self, sample_rate: int) -> int:
        """What is not mostly zeros."""
        return round(SHORTEST * sample_rate)

    def features(self, samples: torch.Tensor, sample_rate: int) -> tuple[torch.Tensor, ...]:
        """Of each clip and channel the score, and whether it is silent, (clips, channels)."""
        if sample_rate != RATE:
            raise ValueError(f"defined at {RATE} Hz, not {sample_rate} Hz")
        clips, channels, time = samples.shape
        silent = samples.amax(-1) == samples.amin(-1)
        scores = _scores(samples.reshape(clips * channels, time))
        return scores.reshape(clips, channels), silent

    def scores(self, reference: None, reconstruction: tuple[torch.Tensor, ...]) -> Sequence[Score]:
        """One score per clip, the mean of its channels."""
        rows = zip(*(feature.tolist() for feature in reconstruction), strict=True)
        return [
            average_channels([_score(*channel) for channel in zip(*row, strict=True)])
            for row in rows
        ]


def backends(_key: str) -> dict[str, BackendFactory]:
    """How to build each backend of the one key, the first being the default."""
    return {"torch": DistillMos}


def _score(value: float, silent: bool) -> Score:
    if silent:
        return Score.undefined("the reconstruction is silent")
    if not math.isfinite(value):
        return Score.failed("the reconstruction holds samples that are not finite")
    return Score(value)


def _scores(signals: torch.Tensor) -> torch.Tensor:
    """The mean over windows of each signal (signals, time), float64 (signals,)."""
    import numpy as np
    import torch

    over = max(0, signals.shape[-1] - WINDOW)
    padded = torch.nn.functional.pad(signals, (0, max(0, WINDOW - signals.shape[-1])))
    count = math.ceil(over / HOP) + 1
    # As the package rounds them.
    starts = [int(share * over) for share in np.linspace(0, 1, count)]
    places = [(row, start) for row in range(len(padded)) for start in starts]
    model = _model(str(signals.device))
    found = []
    with torch.no_grad():
        for first in range(0, len(places), _AT_ONCE):
            part = places[first : first + _AT_ONCE]
            windows = torch.stack([padded[row, at : at + WINDOW] for row, at in part])
            found.append(model(windows).reshape(-1).double())
    return torch.cat(found).reshape(len(padded), count).mean(-1)


@cache
def _model(device: str) -> Any:
    """The network with the package's weights, which are read as data."""
    import torch
    from distillmos import ConvTransformerSQAModel

    model = ConvTransformerSQAModel(load_weights=False, segmenting_in_forward=False)
    held = torch.load(_weights(), map_location="cpu", weights_only=True)
    model.load_state_dict(held["model"])
    return model.eval().to(device)


def _weights() -> Path:
    from importlib.util import find_spec

    package = find_spec("distillmos")
    if package is None or package.origin is None:
        raise missing("distillmos", KEY, EXTRA)
    return Path(package.origin).parent / "weights" / "distill_mos_v7.pt"
