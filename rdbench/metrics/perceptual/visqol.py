"""ViSQOL v3, audio and speech mode, by the package `visqol-python` (a port of Google's program).

Both signals become gammatone spectrograms (80 ms windows, 20 ms hops); patches of the reference
are matched to the reconstruction by dynamic programming and realigned, their similarity is NSIM
per band, and a learned mapping f turns band similarities into MOS-LQO. With r and d matched patches
in decibels, μ, σ² and σ_rd their means, variances and covariance in a window of 3 × 3 points,

    NSIM   = (2 μ_r μ_d + C1) / (μ_r² + μ_d² + C1) · (σ_rd + C3) / (σ_r σ_d + C3)
    visqol = f( mean of NSIM over frames and patches, of each band )

(`rdbench.metrics.perceptual.visqol_torch.nsim` has the constants), by mode:

- `visqol_audio`: 48 kHz, 32 bands, patches of 30 frames, support vector regression. An identity
  scores 4.7321; the mapping saturates at high rates.
- `visqol_speech`: 16 kHz, 21 bands, patches of 20 frames with voice activity, Google's lattice
  network. Without the lattice the package maps by an exponential fit that lies one to two points
  higher and says so in a log line: here the lattice is required, and its absence is an error.
  The lattice sees the energy of the bands, so an identity scores 4.0 to 4.7, depending on
  the clip; there is no one ceiling.
- `visqol_speech_exponential`: the same similarity under that exponential fit, as published scores
  of ViSQOL v2 and of v3 without its lattice have it. An identity scores 5.

Conventions:
- the channels of a clip are averaged to one before it is scored, as Google's program does with a
  file of several; the mean of the channels' scores is another number (1.883 for 2.250 on a pair of
  its conformance set);
- the package levels the reconstruction to the reference and aligns it in time, so gain, polarity
  and a constant delay count for little (the lattice moves by up to 0.1 with them);
- it needs 45 frames in audio mode (0.96 s) and 29 in speech mode (0.64 s); 5 to 10 s is what its
  authors advise;
- silent signals are `undefined` (the package gives a silent reference its best score, and a
  silent reconstruction NaN); any error of the package is `failed`;
- audio mode on any domain, speech mode on speech alone.

Chinen et al., "ViSQOL v3: an open source production ready objective speech and audio metric",
QoMEX 2020 (arXiv 2004.09584); Hines et al., "ViSQOLAudio: an objective audio quality metric for
low bitrate codecs", JASA 137(6), 2015.
"""

from __future__ import annotations

import importlib.util
import math
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import (
    BackendFactory,
    ChannelRule,
    DeviceBackend,
    Direction,
    MetricDefinition,
    PoolBackend,
)
from rdbench.metrics.packages import distribution_version, finite, missing, without_signal
from rdbench.types import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from visqol import VisqolApi

AUDIO_RATE = 48000
SPEECH_RATE = 16000
_CITATION = "Chinen et al., ViSQOL v3, QoMEX 2020, arXiv 2004.09584"


def _definition(
    key: str,
    name: str,
    *,
    rate: int,
    seconds: float,
    identity: float,
    domains: tuple[str, ...],
    mapping: str,
) -> MetricDefinition:
    mode = key.split("_")[1]
    return MetricDefinition(
        key=key,
        version=2,
        name=name,
        unit="MOS-LQO",
        direction=Direction.HIGHER,
        lower=1.0,
        upper=5.0,
        identity=identity,
        domains=domains,
        sample_rate=rate,
        minimum_seconds=seconds,
        needs_alignment=False,
        definition=f"ViSQOL v3 in {mode} mode at {rate} Hz, of the mean of a clip's channels, "
        f"mapped to MOS-LQO by its {mapping}",
        citation=_CITATION,
        channels=ChannelRule.DOWNMIX,
    )


DEFINITIONS: tuple[MetricDefinition, ...] = (
    _definition(
        "visqol_audio",
        "ViSQOL (audio)",
        rate=AUDIO_RATE,
        seconds=0.96,
        identity=4.732101253042348,
        domains=(),
        mapping="support vector regression",
    ),
    _definition(
        "visqol_speech",
        "ViSQOL (speech)",
        rate=SPEECH_RATE,
        seconds=0.64,
        identity=math.nan,  # depends on the clip
        domains=("speech",),
        mapping="lattice network",
    ),
    _definition(
        "visqol_speech_exponential",
        "ViSQOL (speech, exponential)",
        rate=SPEECH_RATE,
        seconds=0.64,
        identity=5.0,
        domains=("speech",),
        mapping="exponential fit",
    ),
)


class VisqolBackend(PoolBackend):
    """The package `visqol-python`; `key` is one of `DEFINITIONS`.

    One `VisqolApi` is built when it is first needed and serves the worker from then on.
    """

    name = "reference"
    tolerance = 0.0

    def __init__(self, key: str) -> None:
        self.key = key
        self.mode = key.split("_")[1]
        self.lattice = key == "visqol_speech"

    @cached_property
    def version(self) -> str:
        """Package and mapping; raises MissingExtraError where one of them is not installed."""
        package = f"visqol-python {distribution_version('visqol-python', self.key)}"
        if not self.lattice:
            return f"{package}, {'svr' if self.mode == 'audio' else 'exponential'} mapping"
        if importlib.util.find_spec("ai_edge_litert") is None:
            raise missing("visqol-python[lattice]", self.key)
        runtime = distribution_version("ai-edge-litert", self.key)
        return f"{package}, lattice mapping (ai-edge-litert {runtime})"

    def warm_up(self) -> None:
        """Builds the models and has numba compile on a second of noise; seconds where uncached."""
        import numpy as np

        rate = AUDIO_RATE if self.mode == "audio" else SPEECH_RATE
        noise = np.random.default_rng(0).standard_normal((2, rate)) * 0.1
        self._api.measure_from_arrays(noise[0], noise[0] + 0.1 * noise[1], rate)

    def score(
        self, prepared: Any, *, reconstruction: npt.NDArray[np.float32], sample_rate: int
    ) -> Score:
        """MOS-LQO of one channel (time,), both signals at `sample_rate` hertz.

        Raises MissingExtraError where the package or the lattice's runtime is not installed.
        """
        if (
            silent := without_signal(reference=prepared, reconstruction=reconstruction)
        ) is not None:
            return silent
        definition = next(item for item in DEFINITIONS if item.key == self.key)
        if len(prepared) / sample_rate < definition.minimum_seconds:
            return Score.undefined(f"shorter than {definition.minimum_seconds} s")
        api = self._api
        try:
            result = api.measure_from_arrays(prepared, reconstruction, sample_rate)
        except Exception as error:
            return Score.failed(f"{self.key}: {type(error).__name__}: {error}")
        return finite(float(result.moslqo), self.key)

    @cached_property
    def _api(self) -> VisqolApi:
        try:
            from visqol import VisqolApi

            api = VisqolApi()
            # With True the package raises where it would otherwise fall back to another mapping.
            api.create(mode=self.mode, use_lattice_model=self.lattice)
        except (ImportError, FileNotFoundError) as error:
            raise missing("visqol-python[lattice,accel]", self.key) from error
        return api


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return {"torch": partial(_tensors, key), "reference": partial(VisqolBackend, key)}


def _tensors(key: str) -> DeviceBackend:
    from rdbench.metrics.perceptual.visqol_torch.backend import VisqolTorch

    return VisqolTorch(key)
