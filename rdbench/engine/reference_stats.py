"""Statistics of a set of references from files of audio, for metrics of sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdbench.audio.load import read
from rdbench.audio.resample import resample_batch
from rdbench.engine.devices import resolve_device
from rdbench.engine.score_files import find_pairs
from rdbench.metrics.channels import batch_under
from rdbench.metrics.registry import backend, definition
from rdbench.metrics.sets.distances import PARTS, SetDistance
from rdbench.metrics.sets.saved import Origin, write_saved
from rdbench.suggest import nearest
from rdbench.types import AudioBatch, AudioError, SpecError


def save_reference(
    audio: Path,
    out: Path,
    *,
    key: str,
    name: str,
    sample_rate: int | None = None,
    options: Mapping[str, Any],
    device: str = "cpu",
) -> tuple[Origin, list[str]]:
    """Writes the statistics of a folder, or of one file; returns what they are of, and problems.

    key: of a metric of sets, whose embedding is used with `options`. sample_rate: hertz, for one
    that is taken at the protocol's rate. A file that cannot be read, or is too short, is left out,
    which a sentence says.

    Raises SpecError for a key that is of no such metric, without a rate where one is needed, and
    for too few clips; AudioError for a folder without audio.
    """
    import torch

    device = resolve_device(device)
    if key not in PARTS:
        raise SpecError(f"{key!r} is no metric of sets; {nearest(key, PARTS, many='there are')}")
    metric = backend(key, options=options)
    assert isinstance(metric, SetDistance)
    meant = definition(key)
    rate = meant.sample_rate or sample_rate
    if rate is None:
        raise SpecError(
            f"{key} is taken at the protocol's rate; say with --sample-rate which one that will be"
        )
    if sample_rate not in (None, rate):
        raise SpecError(f"{key} is taken at {rate} Hz; leave --sample-rate out")
    features, problems = [], []
    for file in find_pairs(None, audio):
        assert file.reconstruction is not None
        try:
            samples, given = read(file.reconstruction)
        except AudioError as error:
            problems.append(str(error))
            continue
        if samples.shape[-1] < meant.minimum_seconds * given:
            problems.append(f"{file.name} is shorter than the {meant.minimum_seconds:g} s needed")
            continue
        batch = AudioBatch(samples[None].to(device), torch.tensor([samples.shape[-1]]), given)
        batch = batch_under(meant.channels, resample_batch(batch, rate))
        features += metric.embedding.windows(batch)
    origin = Origin(name, metric.embedding.name, metric.embedding.identity, rate, 0, 0)
    return write_saved(out, origin, features, fewest=meant.minimum_clips), problems
