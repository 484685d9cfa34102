"""Speaker similarity: whether the voice is still that of the same person, by Resemblyzer's encoder.

With e(x) in R^256 the embedding of a channel x at 16 kHz,

    speaker_resemblyzer = e(s) · e(ŝ),   ‖e‖ = 1, e ≥ 0, so 0 … 1,

which text-to-speech calls SECS (speaker encoder cosine similarity; Casanova et al., "YourTTS", ICML
2022). The encoder was trained to verify speakers by the generalised end-to-end loss (Wan, Wang,
Papir and Lopez Moreno, "Generalized end-to-end loss for speaker verification", ICASSP 2018, arXiv
1710.10467); the package `resemblyzer` has its weights:

    m[t]   powers of 40 mel bands (Slaney's), Hann windows of 25 ms, every 10 ms; no logarithm
    w_k    frames 77k … 77k + 160 of m, that is 1.6 s every 0.77 s
    u_k    = relu(W h + b) / ‖·‖,   h the last state of the third LSTM layer after w_k
    e      = Σ_k u_k / ‖Σ_k u_k‖

Conventions:
- they are those of the package's `embed_utterance`: a last window of which less than three quarters
  is there is left out, and others are filled up with zeros;
- a channel softer than -30 dB of full scale (RMS) is brought to that level first, and a louder one
  is left as it is, as the package's `preprocess_wav` does. Its detector of pauses, which cuts them
  out, is not used: it would cut other parts of a reconstruction than of its reference;
- what a first window would need is needed: three quarters of 1.6 s;
- the weights' SHA-256 is part of the backend's version, and so of the key of every value. They are
  read as data, and of the package nothing is imported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.identity import file_sha256
from rdbench.metrics.base import BackendFactory, Direction, MetricDefinition
from rdbench.metrics.channels import average_channels
from rdbench.metrics.equal_lengths import EqualLengths
from rdbench.metrics.packages import distribution_version, missing
from rdbench.metrics.spectra import mel_bank
from rdbench.types import Score

if TYPE_CHECKING:
    import torch

KEY = "speaker_resemblyzer"
EXTRA = "speaker"
RATE = 16000
LEVEL_DB = -30.0  # of full scale
WINDOW, HOP, BANDS = 400, 160, 40  # samples, samples, mel bands
FRAMES, STEP = 160, 77  # of one input of the encoder, and to the next: 1.3 a second
COVERAGE = 0.75
SHORTEST = COVERAGE * FRAMES * HOP / RATE  # seconds
_HIDDEN, _LAYERS = 256, 3
_AT_ONCE = 64  # windows

DEFINITIONS: tuple[MetricDefinition, ...] = (
    MetricDefinition(
        key=KEY,
        version=1,
        name="Speaker similarity",
        unit="",
        direction=Direction.HIGHER,
        lower=0.0,
        upper=1.0,
        identity=1.0,
        domains=("speech",),
        sample_rate=RATE,
        minimum_seconds=SHORTEST,
        needs_alignment=False,
        definition="cosine of the embeddings of reference and reconstruction by Resemblyzer's "
        "speaker encoder at 16 kHz, pauses left in",
        citation="Wan et al., Generalized end-to-end loss for speaker verification, ICASSP 2018, "
        "arXiv 1710.10467; weights of the package resemblyzer (Apache 2.0)",
    ),
)


class SpeakerSimilarity(EqualLengths):
    """`speaker_resemblyzer` as the module defines it."""

    name = "torch"
    tolerance = 1e-5

    @cached_property
    def version(self) -> str:
        """Of the package and of its weights; raises MissingExtraError where it is not installed."""
        number = distribution_version("resemblyzer", KEY, EXTRA)
        return f"resemblyzer {number}, weights sha256 {file_sha256(_weights())}"

    def shortest(self, sample_rate: int) -> int:
        """Three quarters of a window."""
        return round(SHORTEST * sample_rate)

    def features(self, samples: torch.Tensor, sample_rate: int) -> tuple[torch.Tensor, ...]:
        """Embeddings (clips, channels, dimensions), and what is silent (clips, channels)."""
        if sample_rate != RATE:
            raise ValueError(f"defined at {RATE} Hz, not {sample_rate} Hz")
        clips, channels, time = samples.shape
        silent = samples.amax(-1) == samples.amin(-1)
        found = embeddings(samples.reshape(clips * channels, time))
        return found.reshape(clips, channels, -1), silent

    def scores(self, reference: Any, reconstruction: Any) -> Sequence[Score]:
        """One score per clip, the mean of its channels."""
        similar = (reference[0] * reconstruction[0]).sum(-1).clamp(max=1.0).tolist()
        silent = reference[1].tolist(), reconstruction[1].tolist()
        return [
            average_channels([_score(*channel) for channel in zip(*clip, strict=True)])
            for clip in zip(similar, *silent, strict=True)
        ]


def embeddings(signals: torch.Tensor) -> torch.Tensor:
    """The speaker of each signal (signals, time) at 16 kHz: float64 (signals, 256) of norm 1.

    NaN for a signal that is silent or not finite. Raises MissingExtraError where the package that
    has the weights is not installed.
    """
    import torch

    starts = _starts(signals.shape[-1])
    end = (starts[-1] + FRAMES) * HOP
    padded = torch.nn.functional.pad(_levelled(signals), (0, max(0, end - signals.shape[-1])))
    mel = _mel(padded)
    windows = torch.stack([mel[:, start : start + FRAMES] for start in starts], dim=1)
    lstm, linear = _encoder(str(signals.device))
    inputs, found = windows.flatten(0, 1), []
    with torch.no_grad():
        for first in range(0, len(inputs), _AT_ONCE):
            _, (hidden, _) = lstm(inputs[first : first + _AT_ONCE])
            found.append(_unit(linear(hidden[-1]).relu().double()))
    return _unit(torch.cat(found).reshape(*windows.shape[:2], -1).sum(dim=1))


def backends(_key: str) -> dict[str, BackendFactory]:
    """How to build each backend of the one key, the first being the default."""
    return {"torch": SpeakerSimilarity}


def _score(value: float, reference: bool, reconstruction: bool) -> Score:
    for what, silent in (("reference", reference), ("reconstruction", reconstruction)):
        if silent:
            return Score.undefined(f"the {what} is silent")
    if not math.isfinite(value):
        return Score.failed("the audio holds samples that are not finite, or no voice at all")
    return Score(value)


def _starts(length: int) -> list[int]:
    """First frames of the windows of a signal of `length` samples, one at least."""
    frames = math.ceil((length + 1) / HOP)
    starts = list(range(0, max(1, frames - FRAMES + STEP + 1), STEP))
    covered = (length / HOP - starts[-1]) / FRAMES
    return starts[:-1] if covered < COVERAGE and len(starts) > 1 else starts


def _levelled(signals: torch.Tensor) -> torch.Tensor:
    level = signals.double().square().mean(-1, keepdim=True).sqrt()
    gain = (10 ** (LEVEL_DB / 20) / level).clamp(min=1.0)
    return (signals * gain).float()


def _mel(signals: torch.Tensor) -> torch.Tensor:
    """Mel powers of (signals, time): (signals, frames, bands)."""
    import torch

    window = torch.hann_window(WINDOW, device=signals.device)
    spectra = torch.stft(
        signals, WINDOW, HOP, window=window, center=True, pad_mode="constant", return_complex=True
    )
    powers = spectra.abs().square().transpose(-1, -2)
    return powers @ mel_bank(RATE, WINDOW, BANDS, str(signals.device))


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    unit: torch.Tensor = vectors / vectors.norm(dim=-1, keepdim=True)
    return unit


@cache
def _encoder(device: str) -> tuple[torch.nn.LSTM, torch.nn.Linear]:
    """Both parts of the network with the package's weights, which are read as data."""
    import torch

    held = torch.load(_weights(), map_location="cpu", weights_only=True)["model_state"]
    lstm = torch.nn.LSTM(BANDS, _HIDDEN, _LAYERS, batch_first=True)
    linear = torch.nn.Linear(_HIDDEN, _HIDDEN)
    for name, part in (("lstm", lstm), ("linear", linear)):
        start = f"{name}."
        part.load_state_dict(
            {key.removeprefix(start): one for key, one in held.items() if key.startswith(start)}
        )
    return lstm.eval().to(device), linear.eval().to(device)


def _weights() -> Path:
    from importlib.util import find_spec

    package = find_spec("resemblyzer")
    if package is None or package.origin is None:
        raise missing("resemblyzer", KEY, EXTRA)
    return Path(package.origin).parent / "pretrained.pt"
