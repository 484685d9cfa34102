"""Backends of a metric against each other: `rdbench metrics --selftest`.

Every metric that has a reference package beside a program of ours is computed by both on the
embedded clips under a handful of degradations, and the deviations are held against the tolerance
that the program states. (`benchmarks/metric_speed.py --full` does it over a whole corpus.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbench.metrics.base import Backend, DeviceBackend, PoolBackend, SetBackend
from rdbench.types import AudioBatch, Score, Status

if TYPE_CHECKING:
    import torch

    from rdbench.audio.clip import Clip

REFERENCE = "reference"
SECONDS = 2.5
Change = Callable[["torch.Tensor", int], "torch.Tensor"]


@dataclass(frozen=True)
class Deviation:
    """How far a backend lies from the reference package.

    key, backend: what was compared. pairs: clips × degradations. differing: pairs that one of the
    two scores and the other does not. median, largest: absolute, over the pairs that both score
    (NaN where there is none). tolerance: what the backend states.
    """

    key: str
    backend: str
    pairs: int
    differing: int
    median: float
    largest: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether all outcomes agree and no score is farther off than the backend states."""
        return self.differing == 0 and self.largest <= self.tolerance


def score_pair(backend: Backend, *, reference: AudioBatch, reconstruction: AudioBatch) -> Score:
    """The score of a single clip by any kind of backend (of a set: of that clip alone).

    Backends that take a channel at a time get a mono clip as (time,).
    """
    if isinstance(backend, SetBackend):
        import numpy as np

        whole, coded = (  # each window a group
            [backend.summary([window[None]]) for window in backend.feature(audio)[0]]
            for audio in (reference, reconstruction)
        )
        distance = backend.distance(reference=whole, reconstruction=coded)
        return Score(float(distance(np.ones((1, len(whole))))[0]))
    if isinstance(backend, DeviceBackend):
        return backend.score(backend.prepare(reference), reconstruction=reconstruction)[0]
    assert isinstance(backend, PoolBackend)
    first, second = (audio.samples[0].numpy().copy() for audio in (reference, reconstruction))
    if len(first) == 1:
        first, second = first[0], second[0]
    prepared = backend.prepare(first, reference.sample_rate)
    return backend.score(prepared, reconstruction=second, sample_rate=reconstruction.sample_rate)


def compared() -> list[tuple[str, list[str]]]:
    """Metrics with a reference package, and the names of their other backends."""
    from rdbench.metrics.registry import backend_names, keys

    names = {key: backend_names(key) for key in keys()}
    return [
        (key, [name for name in found if name != REFERENCE])
        for key, found in names.items()
        if REFERENCE in found and len(found) > 1
    ]


def deviations(limit: int | None = None) -> Iterator[Deviation]:
    """One for each metric and backend; `limit` is the number of clips, None takes every one.

    Raises MissingExtraError where a reference package is not installed.
    """
    from rdbench.audio.corpus import embedded_corpus
    from rdbench.metrics.registry import definition

    clips = embedded_corpus().clips
    for key, others in compared():
        domains = definition(key).domains
        suited = [clip for clip in clips if not domains or clip.domain in domains][:limit]
        yield from _of_metric(key, others, suited)


def _of_metric(key: str, others: Sequence[str], clips: Sequence[Clip]) -> Iterator[Deviation]:
    from rdbench.metrics.registry import backend, definition

    rate = definition(key).sample_rate or 16_000
    pairs = [pair for clip in clips for pair in _pairs(clip, rate)]
    scores = {
        name: [
            score_pair(backend(key, name), reference=clean, reconstruction=worse)
            for clean, worse in pairs
        ]
        for name in (REFERENCE, *others)
    }
    for name in others:
        yield _deviation(key, name, scores[REFERENCE], scores[name], backend(key, name).tolerance)


def _deviation(
    key: str, name: str, theirs: Sequence[Score], ours: Sequence[Score], tolerance: float
) -> Deviation:
    both = list(zip(theirs, ours, strict=True))
    gaps = sorted(
        abs(a.value - b.value) for a, b in both if a.status is Status.OK and b.status is Status.OK
    )
    return Deviation(
        key=key,
        backend=name,
        pairs=len(both),
        differing=sum(a.status is not b.status for a, b in both),
        median=gaps[len(gaps) // 2] if gaps else math.nan,
        largest=gaps[-1] if gaps else math.nan,
        tolerance=tolerance,
    )


def _pairs(clip: Clip, rate: int) -> Iterator[tuple[AudioBatch, AudioBatch]]:
    import torch

    from rdbench.audio.load import ExcerptProtocol, load_excerpt

    samples = load_excerpt(clip, ExcerptProtocol(rate, "mono", SECONDS)).samples[None]
    lengths = torch.tensor([samples.shape[-1]])
    for change in _degradations().values():
        worse = change(samples, rate).to(samples.dtype)
        yield AudioBatch(samples, lengths, rate), AudioBatch(worse, lengths, rate)


def _degradations() -> Mapping[str, Change]:
    return {
        "identity": lambda samples, _rate: samples.clone(),
        "noise at 20 dB": _noisy,
        "12 bits, a third of the level": lambda x, _rate: ((x / 3) * 2048).round() / 2048,
        "10 ms late": _late,
        "dropouts": _dropouts,
    }


def _noisy(samples: torch.Tensor, rate: int) -> torch.Tensor:
    import torch

    noise = torch.randn(samples.shape, generator=torch.Generator().manual_seed(rate))
    return samples + 0.1 * samples.square().mean().sqrt() * noise


def _late(samples: torch.Tensor, rate: int) -> torch.Tensor:
    import torch

    shift = rate // 100
    return torch.nn.functional.pad(samples, (shift, 0))[..., : samples.shape[-1]]


def _dropouts(samples: torch.Tensor, rate: int) -> torch.Tensor:
    out = samples.clone()
    for start in (rate // 2, 3 * rate // 2):
        out[..., start : start + rate // 10] = 0.0
    return out
