"""PESQ, wide band (ITU-T P.862.2) and narrow band (P.862 with P.862.1), by the package `pesq`.

PESQ aligns both signals in time and level, transforms them to loudness over Bark bands, and sums
symmetric and asymmetric disturbances to a raw score x (-0.5 … 4.5). What is reported here is
never x but the listening quality that the Recommendations map it to (MOS-LQO):

    narrow band, P.862.1:  0.999 + 4 / (1 + exp(-1.4945 x + 4.6607))    identity 4.5486
    wide band,   P.862.2:  0.999 + 4 / (1 + exp(-1.3669 x + 3.8224))    identity 4.6439

Versions: the package is the ITU's C code of October 2005, whose wide band is that of P.862.2
(2007). Corrigendum 2 to P.862 (March 2018) corrects the level of the loudness model, in wide band
alone. The package `pesqc2` has it; no other open program had it in 2025 (Torcoli et al.), so that
published scores are mostly without it, as these are. On the pair of files that comes with both
packages (babble at 0 dB) `pesqc2` gives 1.513 in wide band where `pesq` gives 1.083, and both give
1.607 in narrow band. Wide-band scores with and without it never compare.

Conventions:
- `pesq_wb` at 16 kHz, `pesq_nb` at 8 kHz, each from audio that the engine has resampled;
- the package divides both signals by their common peak and PESQ itself levels them, so gain and
  polarity do not count;
- clips under a quarter of a second, silent signals, and references in which the Recommendation's
  utterance detector finds no speech are `undefined`; any other error of the package is `failed`;
- valid for speech alone. P.862 was validated on 8 to 20 s of it; the package holds 50 utterances
  at most, so clips of many minutes are not for it.

Rix, Beerends, Hollier and Hekstra, "Perceptual evaluation of speech quality", ICASSP 2001;
ITU-T P.862 (2001), P.862.1 (2003), P.862.2 (2007), P.862 Corrigendum 2 (2018); Torcoli, Halimeh and
Habets, "Navigating PESQ: up-to-date versions and open implementations", arXiv 2505.19760.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import BackendFactory, MetricDefinition, PoolBackend
from rdbench.metrics.packages import distribution_version, finite, without_signal
from rdbench.metrics.perceptual.speech import speech_score
from rdbench.types import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SHORTEST_SECONDS = 0.25  # the package's BufferTooShortError


_WIDE, _NARROW = 4.643889, 4.548639  # the mappings above at x = 4.5
_definition = partial(speech_score, unit="MOS-LQO", lower=0.999, minimum_seconds=_SHORTEST_SECONDS)
DEFINITIONS: tuple[MetricDefinition, ...] = (
    _definition(
        key="pesq_wb",
        name="PESQ (wide band)",
        upper=_WIDE,
        identity=_WIDE,
        sample_rate=16000,
        definition="wide-band PESQ at 16 kHz, mapped to MOS-LQO by P.862.2 of 2007, without "
        "Corrigendum 2 of 2018 (with it scores are higher)",
        citation="ITU-T P.862.2 (2007), as the package pesq; Rix et al., ICASSP 2001",
    ),
    _definition(
        key="pesq_nb",
        name="PESQ (narrow band)",
        upper=_NARROW,
        identity=_NARROW,
        sample_rate=8000,
        definition="narrow-band PESQ at 8 kHz, mapped to MOS-LQO by P.862.1 of 2003 (Corrigendum 2 "
        "of 2018 changes nothing here)",
        citation="ITU-T P.862 (2001), P.862.1 (2003), as the package pesq; Rix et al., ICASSP 2001",
    ),
)


class PesqBackend(PoolBackend):
    """The package `pesq`; `key` is pesq_wb or pesq_nb."""

    name = "reference"
    tolerance = 0.0

    def __init__(self, key: str) -> None:
        self.key = key
        self.mode = key.removeprefix("pesq_")

    @cached_property
    def version(self) -> str:
        """The package's version; raises MissingExtraError where it is not installed."""
        return f"pesq {distribution_version('pesq', self.key)}"

    def score(
        self, prepared: Any, *, reconstruction: npt.NDArray[np.float32], sample_rate: int
    ) -> Score:
        """MOS-LQO of one channel (time,), both signals at `sample_rate` hertz."""
        if (
            silent := without_signal(reference=prepared, reconstruction=reconstruction)
        ) is not None:
            return silent
        from pesq import BufferTooShortError, NoUtterancesError, pesq

        try:
            value = pesq(sample_rate, prepared, reconstruction, self.mode)
        except BufferTooShortError:
            return Score.undefined(f"shorter than {_SHORTEST_SECONDS} s")
        except NoUtterancesError:
            return Score.undefined("PESQ found no utterance")
        except Exception as error:
            return Score.failed(f"{self.key}: {type(error).__name__}: {error}")
        return finite(value, self.key)


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return {"reference": partial(PesqBackend, key)}
