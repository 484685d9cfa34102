"""Signal-to-noise ratio and its scale-invariant relative, in decibels.

For a reference s and a reconstruction ŝ of one channel, both of N samples:

    SNR    = 10 log10( Σ s² / Σ (ŝ - s)² )
    SI-SDR = 10 log10( Σ (αs)² / Σ (ŝ - αs)² ),   α = Σ ŝs / Σ s²

SI-SDR is that of Le Roux, Wisdom, Erdogan and Hershey, "SDR - half-baked or well done?", ICASSP
2019 (arXiv 1811.02508), after the mean of s and of ŝ has been removed (the zero-mean variant).
SNR keeps the means.

Where ŝ is late, both measure the delay: Opus at 32 kbps, half a sample off, has an SI-SDR of 14 dB
on speech, and of 20 dB without it. So both are scored after the residual delay has been removed
(`rdbench.audio.align`), on the samples that s and ŝ have in common then: as SI-SDR is deaf to one
gain of a clip, both are deaf to one delay. `snr_unaligned` and `si_sdr_unaligned` are the same
ratios of what was decoded, as it is.

Conventions:
- sums run in float64 over the clip's own samples; padding is never read;
- a ratio is cut to ±100 dB per channel, so that an identity (an infinite ratio) scores +100 dB and
  a reconstruction without any part of the reference -100 dB; both are `ok`;
- a silent reference leaves both undefined (a reference that is constant, SI-SDR);
- a silent reconstruction has an SNR of 0 dB, for all of the reference is error. Its SI-SDR is 0/0
  and its limit depends on how ŝ fades, so it is undefined rather than the lower bound;
- channels are scored one by one and averaged in decibels.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rdbench.metrics.base import BackendFactory, DeviceBackend, Direction, MetricDefinition
from rdbench.metrics.channels import average_channels
from rdbench.metrics.one_clip import score_clip
from rdbench.metrics.ragged import check_match
from rdbench.types import AudioBatch, Score

if TYPE_CHECKING:
    import torch

    from rdbench.metrics.one_clip import Clip

CAP_DB = 100.0
UNALIGNED = "_unaligned"
# Removing the mean of a constant in float64 leaves rounding, not signal: energies below this
# share of the raw energy are that rounding (one float32 step in a minute of audio is above it).
_ROUNDING = 1e-24


def _definitions(
    key: str, name: str, formula: str, citation: str
) -> tuple[MetricDefinition, MetricDefinition]:
    """Of one ratio without the residual delay, and of the same as decoded."""
    aligned = MetricDefinition(
        key=key,
        version=2,
        name=name,
        unit="dB",
        direction=Direction.HIGHER,
        lower=-CAP_DB,
        upper=CAP_DB,
        identity=CAP_DB,
        domains=(),
        sample_rate=None,
        minimum_seconds=0.0,
        needs_alignment=True,
        definition=f"{formula}, per channel at the protocol's rate, cut to ±{CAP_DB:g} dB; the "
        "residual delay is removed first, to a hundredth of a sample",
        citation=citation,
    )
    unaligned = replace(
        aligned,
        key=f"{key}{UNALIGNED}",
        version=1,
        name=f"{name}, unaligned",
        needs_alignment=False,
        as_decoded=True,
        definition=f"{formula}, per channel at the protocol's rate, cut to ±{CAP_DB:g} dB, of what "
        "was decoded, with its residual delay",
    )
    return aligned, unaligned


DEFINITIONS: tuple[MetricDefinition, ...] = (
    *_definitions(
        "snr",
        "SNR",
        "10 log10 of reference energy over error energy",
        "Jayant and Noll, Digital Coding of Waveforms, Prentice-Hall 1984",
    ),
    *_definitions(
        "si_sdr",
        "SI-SDR",
        "scale-invariant signal-to-distortion ratio after removing both means",
        "Le Roux et al., SDR - half-baked or well done?, ICASSP 2019, arXiv 1811.02508",
    ),
)


@dataclass(frozen=True)
class _Prepared:
    """A reference and, per clip and channel, float64 (clips, channels), its energy."""

    audio: AudioBatch
    energy: torch.Tensor


class _Ratio(DeviceBackend):
    """A ratio of energies, batched over clips and channels."""

    name = "torch"
    version = "1"
    tolerance = 1e-4  # decibels, float64 sums of float32 samples

    @abstractmethod
    def _signal(self, audio: AudioBatch) -> torch.Tensor:
        """The samples that count, float64 (clips, channels, time), zero past each length."""

    @abstractmethod
    def _energies(
        self, prepared: _Prepared, reconstruction: AudioBatch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies of what is kept and of what is error, each float64 (clips, channels)."""

    def prepare(self, reference: AudioBatch) -> _Prepared:
        """The energy of each reference channel."""
        return _Prepared(reference, self._signal(reference).square().sum(-1))

    def score(self, prepared: _Prepared, *, reconstruction: AudioBatch) -> list[Score]:
        """One score per clip, the mean of its channels."""
        check_match(prepared.audio, reconstruction)
        kept, error = self._energies(prepared, reconstruction)
        rows = zip(prepared.energy.tolist(), kept.tolist(), error.tolist(), strict=True)
        return [
            average_channels([_decibels(*values) for values in zip(*row, strict=True)])
            for row in rows
        ]


class SnrBackend(_Ratio):
    """SNR as the module defines it."""

    def _signal(self, audio: AudioBatch) -> torch.Tensor:
        return _unpadded(audio)

    def _energies(
        self, prepared: _Prepared, reconstruction: AudioBatch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        error = _unpadded(reconstruction) - _unpadded(prepared.audio)
        return prepared.energy, error.square().sum(-1)


class SiSdrBackend(_Ratio):
    """SI-SDR as the module defines it."""

    def _signal(self, audio: AudioBatch) -> torch.Tensor:
        return _zero_mean(audio)

    def _energies(
        self, prepared: _Prepared, reconstruction: AudioBatch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        reference, estimate = _zero_mean(prepared.audio), _zero_mean(reconstruction)
        energy = prepared.energy
        projection = (estimate * reference).sum(-1) / energy.where(energy > 0, energy + 1)
        target = projection[..., None] * reference
        return target.square().sum(-1), (estimate - target).square().sum(-1)


def snr(*, reference: Clip, reconstruction: Clip) -> Score:
    """`snr`, `snr_unaligned`: SNR of one clip in dB, as it is, delay and all.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time). The mean of
    the channels' values, each within ±100.
    """
    return score_clip(SnrBackend(), reconstruction=reconstruction, reference=reference)


def si_sdr(*, reference: Clip, reconstruction: Clip) -> Score:
    """`si_sdr`, `si_sdr_unaligned`: SI-SDR of one clip in dB, as it is, delay and all.

    reference, reconstruction: one clip each, alike, (time,) or (channels, time). The mean of
    the channels' values, each within ±100.
    """
    return score_clip(SiSdrBackend(), reconstruction=reconstruction, reference=reference)


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return {"torch": SnrBackend if key.removesuffix(UNALIGNED) == "snr" else SiSdrBackend}


def _decibels(reference: float, kept: float, error: float) -> Score:
    """The ratio of two energies as a score; `reference` is the energy of the reference."""
    if not math.isfinite(reference):
        return Score.failed("the reference holds samples that are not finite")
    if not (math.isfinite(kept) and math.isfinite(error)):
        return Score.failed("the reconstruction holds samples that are not finite")
    if reference == 0:
        return Score.undefined("the reference is silent")
    if kept == 0 and error == 0:
        return Score.undefined("the reconstruction is silent")
    ratio = 10 * (_log10(kept) - _log10(error))
    return Score(min(max(ratio, -CAP_DB), CAP_DB))


def _log10(energy: float) -> float:
    return math.log10(energy) if energy > 0 else -math.inf


def _inside(audio: AudioBatch) -> torch.Tensor:
    """Which samples are not padding, bool (clips, 1, time)."""
    import torch

    time = torch.arange(audio.samples.shape[-1], device=audio.samples.device)
    return time < audio.lengths.to(audio.samples.device)[:, None, None]


def _unpadded(audio: AudioBatch) -> torch.Tensor:
    # where, not a product: padding may hold anything, NaN too.
    return audio.samples.double().where(_inside(audio), 0.0)


def _zero_mean(audio: AudioBatch) -> torch.Tensor:
    samples = _unpadded(audio)
    lengths = audio.lengths.to(samples)[:, None, None].clamp(min=1)
    centred = (samples - samples.sum(-1, keepdim=True) / lengths).where(_inside(audio), 0.0)
    raw = samples.square().sum(-1, keepdim=True)
    rounding = centred.square().sum(-1, keepdim=True) <= _ROUNDING * raw
    return centred.where(~rounding, 0.0)
