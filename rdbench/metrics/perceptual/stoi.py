"""STOI and ESTOI, intelligibility from short-time correlations, by the package `pystoi`.

Both signals are resampled to 10 kHz, frames (256 samples, half overlapped) in which the reference
lies 40 dB below its loudest frame are taken out of both, and the rest becomes envelopes in 15
third-octave bands from 150 Hz up. Over segments of 30 frames (384 ms):

    STOI  = mean over bands and segments of the correlation of the reference's envelope with the
            reconstruction's, after scaling to equal energy and clipping at -15 dB SDR
    ESTOI = mean over segments of the correlation after normalizing rows and columns

Conventions:
- pystoi's own resampler (`resample_oct`) goes from the protocol's rate to 10 kHz, so that values
  are the package's; the engine resamples nothing;
- samples are passed as float64;
- fewer than 31 frames left: pystoi warns and returns 1e-5, here it is `undefined`; silent signals
  are `undefined` too (pystoi returns 0, or a random number for ESTOI);
- pystoi's ESTOI adds noise of 1e-16 from NumPy's global generator. It decides the correlation
  where the reconstruction drops out for a whole segment, so the generator is seeded for the
  call and put back: a score is the same in any process and order.
- valid for speech alone; gain and polarity do not count (rather: they hardly do).

Taal, Hendriks, Heusdens and Jensen, IEEE TASLP 19(7), 2011; Jensen and Taal, IEEE/ACM TASLP
24(11), 2016.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from rdbench.metrics.base import BackendFactory, DeviceBackend, MetricDefinition, PoolBackend
from rdbench.metrics.packages import distribution_version, finite, without_signal
from rdbench.metrics.perceptual.speech import speech_score
from rdbench.types import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

RATE = 10000
FRAME = 256
SEGMENT = 30  # frames

# Thirty frames of the STFT take more than this many samples at 10 kHz, by pystoi's framing.
_SHORTEST_SECONDS = (FRAME + SEGMENT * FRAME // 2) / RATE
_SEED = 0
# NumPy's global generator and the warning filters belong to the process.
_PROCESS = threading.Lock()


_definition = partial(
    speech_score,
    unit="",
    lower=-1.0,
    upper=1.0,
    identity=1.0,
    sample_rate=None,
    minimum_seconds=_SHORTEST_SECONDS,
)
_AT_10K = "at 10 kHz, resampled from the protocol's rate by pystoi's own resampler"
DEFINITIONS: tuple[MetricDefinition, ...] = (
    _definition(
        key="stoi",
        name="STOI",
        definition=f"short-time objective intelligibility {_AT_10K}",
        citation="Taal et al., An algorithm for intelligibility prediction of time-frequency "
        "weighted noisy speech, IEEE TASLP 19(7), 2011",
    ),
    _definition(
        key="estoi",
        name="ESTOI",
        definition=f"extended short-time objective intelligibility {_AT_10K}",
        citation="Jensen and Taal, An algorithm for predicting the intelligibility of speech "
        "masked by modulated noise maskers, IEEE/ACM TASLP 24(11), 2016",
    ),
)


class StoiBackend(PoolBackend):
    """The package `pystoi`; `key` is stoi or estoi."""

    name = "reference"
    tolerance = 0.0

    def __init__(self, key: str) -> None:
        self.key = key

    @cached_property
    def version(self) -> str:
        """The package's version; raises MissingExtraError where it is not installed."""
        return f"pystoi {distribution_version('pystoi', self.key)}"

    def prepare(
        self, reference: npt.NDArray[np.float32], sample_rate: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """The reference channel (time,) as it is and at 10 kHz."""
        return reference, _at_10k(reference, sample_rate)

    def score(
        self, prepared: Any, *, reconstruction: npt.NDArray[np.float32], sample_rate: int
    ) -> Score:
        """STOI or ESTOI of one channel (time,) at `sample_rate` hertz."""
        # Silence is looked for before the resampler, whose edges turn a constant into a signal.
        reference, at_10k = prepared
        silent = without_signal(reference=reference, reconstruction=reconstruction)
        if silent is not None:
            return silent
        if len(at_10k) <= FRAME:
            return Score.undefined(f"shorter than {_SHORTEST_SECONDS} s")
        from pystoi import stoi

        degraded = _at_10k(reconstruction, sample_rate)
        try:
            with _PROCESS, _seeded(), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                value = stoi(at_10k, degraded, RATE, extended=self.key == "estoi")
        except Exception as error:
            return Score.failed(f"{self.key}: {type(error).__name__}: {error}")
        if any("Not enough STFT frames" in str(warning.message) for warning in caught):
            return Score.undefined(f"fewer than {SEGMENT + 1} frames of speech")
        return finite(value, self.key)


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return {
        "torch": partial(_tensors, key, "float64"),
        "torch_float32": partial(_tensors, key, "float32"),
        "reference": partial(StoiBackend, key),
    }


def _tensors(key: str, precision: Literal["float64", "float32"]) -> DeviceBackend:
    from rdbench.metrics.perceptual.stoi_torch import StoiTorch

    return StoiTorch(extended=key == "estoi", precision=precision)


def _at_10k(samples: npt.NDArray[np.float32], sample_rate: int) -> npt.NDArray[np.float64]:
    from pystoi.utils import resample_oct

    wide: npt.NDArray[np.float64] = samples.astype("float64")
    if sample_rate == RATE or wide.size == 0:
        return wide
    resampled: npt.NDArray[np.float64] = resample_oct(wide, RATE, sample_rate)
    return resampled


@contextmanager
def _seeded() -> Iterator[None]:
    """NumPy's global generator, seeded inside and as it was outside."""
    import numpy as np

    state = np.random.get_state()  # noqa: NPY002 (it is the one that pystoi uses)
    np.random.seed(_SEED)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
