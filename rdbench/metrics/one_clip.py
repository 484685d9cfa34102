"""The score of one clip from arrays: what the functions of metrics are made of.

A metric's backend is its one implementation, which shares work between many clips; here it is given
one. `rdbench.score` scores many, removes their delays, and says what it did in rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import Backend, ChannelRule, DeviceBackend, PoolBackend
from rdbench.metrics.channels import average_channels, signals_under
from rdbench.metrics.ragged import check_match
from rdbench.types import AudioBatch, Score, SpecError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    Clip = torch.Tensor | npt.ArrayLike
    """(time,) or (channels, time), floats with full scale at ±1."""


def score_clip(
    backend: Backend,
    *,
    reconstruction: Clip,
    reference: Clip | None = None,
    sample_rate: int | None = None,
    rule: ChannelRule = ChannelRule.AVERAGED,
) -> Score:
    """What `backend` says of one clip, as it is: nothing is aligned or resampled.

    sample_rate: hertz, where the metric depends on it. rule: how a backend that sees one signal at
    a time sees several channels. Raises SpecError for what is no clip or no rate, and ValueError
    where the two sides differ in channels or length.
    """
    from rdbench.audio.arrays import checked_rate

    rate = 1 if sample_rate is None else checked_rate(sample_rate)
    ours = _batch(reconstruction, "reconstruction", rate)
    theirs = None if reference is None else _batch(reference, "reference", rate)
    if theirs is not None:
        check_match(theirs, ours)
    if isinstance(backend, DeviceBackend):
        prepared = None if theirs is None else backend.prepare(theirs)
        return backend.score(prepared, reconstruction=ours)[0]
    assert isinstance(backend, PoolBackend)
    mine = signals_under(rule, ours.samples[0].numpy())
    others: list[Any] = [None] * len(mine)
    if theirs is not None:
        signals = signals_under(rule, theirs.samples[0].numpy())
        others = [backend.prepare(one, rate) for one in signals]
    return average_channels(
        [
            backend.score(prepared, reconstruction=one, sample_rate=rate)
            for prepared, one in zip(others, mine, strict=True)
        ]
    )


def _batch(given: Clip, what: str, sample_rate: int) -> AudioBatch:
    import torch

    from rdbench.audio.arrays import clips_of

    clips = clips_of(given, what)
    if len(clips) != 1:
        raise SpecError(f"{what} holds {len(clips)} clips; give one, or all to `rdbench.score`")
    samples = clips[0][None]
    return AudioBatch(samples, torch.tensor([samples.shape[-1]]), sample_rate)
