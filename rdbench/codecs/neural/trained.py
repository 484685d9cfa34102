"""Whether weights that loaded are also trained: codes in use, and speech that stays speech.

A model whose tensors fit can still be an empty one: freshly built EnCodec codebooks are all zero,
and every code is then 0. `check_distinct_codes` finds that while loading. `check_pretrained`
reconstructs an embedded speech clip and looks at PESQ, for genuine weights alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rdbench.types import CODES, AudioBatch, OperatingPoint, Tokens, WeightsError

if TYPE_CHECKING:
    import torch

    from rdbench.codecs.base import Codec

MIN_DISTINCT = 8
"""Fewest different codes that each codebook must show on the probe (25 to 75 frames)."""

MIN_PESQ = 2.5
"""Lowest believable PESQ (wb, MOS-LQO) with all codebooks. Published models score above 3 there;
untrained ones about 1.1."""


def probe(sample_rate: int, channels: int, seconds: float = 0.5) -> AudioBatch:
    """A deterministic signal of varied content: a gliding harmonic tone and bursts of noise."""
    import torch

    generator = torch.Generator().manual_seed(20)
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    phase = 2 * math.pi * (120 * time + 250 * time**2 + 4 * torch.sin(11 * time))
    tone = sum(torch.sin(k * phase) / k for k in range(1, 9))
    noise = torch.randn(channels, len(time), generator=generator, dtype=torch.float64)
    gate = torch.sin(2 * math.pi * 7 * time).clamp(min=0) ** 2
    samples = (0.15 * tone * (1.2 - gate) + 0.1 * noise * gate).float()
    return AudioBatch(samples[None], torch.tensor([samples.shape[-1]]), sample_rate)


def distinct_codes(codec: Codec, full: OperatingPoint) -> list[int]:
    """How many different codes each codebook uses on the probe, at the point that has them all."""
    info = codec.info
    encoded = codec.encode(probe(info.sample_rates[0], info.channels[0]), full)
    assert isinstance(encoded.payload, Tokens)
    codes: torch.Tensor = encoded.payload.streams[0].codes
    return [int(row.unique().numel()) for row in codes[0]]


def check_distinct_codes(codec: Codec, full: OperatingPoint, at_least: int = MIN_DISTINCT) -> None:
    """Raises WeightsError where a codebook is hardly used: with fewer codes than `at_least`."""
    counts = distinct_codes(codec, full)
    fewest = min(counts)
    if fewest < at_least:
        raise WeightsError(
            f"weights of {codec.info.name}: codebooks look untrained (codebook "
            f"{counts.index(fewest) + 1} of {len(counts)} uses {fewest} different code(s) on a "
            f"varied signal); give a trained checkpoint"
        )


def check_pretrained(
    codec: Codec, full: OperatingPoint, speech: AudioBatch | None = None
) -> list[str]:
    """What speaks against `codec`'s weights being the genuine ones; empty where nothing does.

    Encodes one speech clip with all codebooks and scores the result with PESQ (wb). Meant for
    weights that should be the published ones (`codec.info.details["pretrained"]`).

    full: the point with all codebooks. speech: a clip at the codec's rate and layout; None means
    an embedded one.
    """
    name, rate = codec.info.name, codec.info.sample_rates[0]
    findings = []
    fewest = min(distinct_codes(codec, full))
    if fewest < MIN_DISTINCT:
        findings.append(f"{name}: a codebook uses {fewest} different code(s) on a varied signal")
    reference = speech or _embedded_speech(rate, codec.info.channels[0])
    encoded = codec.encode(reference, full)
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0]))
    score = _pesq_wb(reference, decoded)
    if not score >= MIN_PESQ:
        findings.append(
            f"{name}: PESQ (wb) of a speech clip is {score:.2f} with all codebooks, at least "
            f"{MIN_PESQ} is expected of the published weights"
        )
    return findings


def _embedded_speech(sample_rate: int, channels: int) -> AudioBatch:
    import torch

    from rdbench.audio.corpus import embedded_corpus
    from rdbench.audio.load import ExcerptProtocol, load_excerpt

    clip = embedded_corpus().select(["speech"]).clips[0]
    protocol = ExcerptProtocol(sample_rate, "mono" if channels == 1 else "stereo", None)
    samples = load_excerpt(clip, protocol).samples[None]
    return AudioBatch(samples, torch.tensor([samples.shape[-1]]), sample_rate)


def _pesq_wb(reference: AudioBatch, reconstruction: AudioBatch) -> float:
    """PESQ of the first clip's mean over channels; NaN where there is no score."""
    from pesq import PesqError, pesq

    from rdbench.audio.resample import resample

    pair = [
        resample(audio.samples[0].mean(0).cpu(), audio.sample_rate, 16_000).numpy()
        for audio in (reference, reconstruction)
    ]
    try:
        return float(pesq(16_000, *pair, "wb"))
    except PesqError:
        return math.nan
