"""What metrics compare: whole clips as decoded, or the parts that are known without the delay."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from delayed import batch_of, pair

from rdbench.engine.measure.batch import Batch
from rdbench.engine.measure.decoded import Decoded
from rdbench.metrics.base import Scope
from rdbench.metrics.registry import definition

RATE = 16000
DELAYS = [0.0, 0.5, -3.37]
SI_SDR, LSD = definition("si_sdr"), definition("lsd")
UNALIGNED = definition("si_sdr_unaligned")


def decoded_of(*pairs: tuple[torch.Tensor, torch.Tensor]) -> Decoded:
    names = [f"clip {index}" for index in range(len(pairs))]
    clips: list[Any] = [SimpleNamespace(name=n, domain="speech", content=f"<{n}>") for n in names]
    excerpts: list[Any] = [SimpleNamespace(samples=one, sample_rate=RATE) for one, _ in pairs]
    batch = Batch(clips, excerpts, "cpu")
    return Decoded(batch_of(*(other for _, other in pairs), rate=RATE), batch, range(len(pairs)))


@pytest.fixture
def decoded() -> Decoded:
    return decoded_of(*(pair(8000, delay, seed=3, top=0.9) for delay in DELAYS))


def test_a_metric_that_needs_alignment_compares_what_both_sides_have(decoded: Decoded) -> None:
    compared = decoded.compared(SI_SDR, everywhere=False)
    assert compared.audio.lengths.tolist() == [8000, 8000 - 2 * 32, 8000 - 3 - 2 * 32]
    for position in range(len(DELAYS)):
        for rate in (RATE, 8000):
            audio = compared.at(rate)
            length = int(audio.lengths[position])
            ours = audio.samples[position, :, :length].numpy()
            reference = compared.reference(position, rate)
            assert ours.shape == reference.shape
            assert np.abs(ours - reference).max() < 0.01  # of noise at −20 dB
    assert decoded.compared(SI_SDR, everywhere=True) is compared


def test_other_metrics_compare_what_was_decoded(decoded: Decoded) -> None:
    for compared in (
        decoded.compared(LSD, everywhere=False),
        decoded.compared(UNALIGNED, everywhere=True),
    ):
        assert compared.audio is decoded.audio
        assert compared.name(1) == "speech <clip 1>"
        assert np.array_equal(compared.reference(1, RATE), decoded.batch.reference.samples[1])


def test_what_is_moved_alone_keeps_its_length_and_its_references(decoded: Decoded) -> None:
    for one in (LSD, replace(LSD, scope=Scope.SET, needs_alignment=True)):
        compared = decoded.compared(one, everywhere=True)
        assert compared.audio.lengths.tolist() == [8000] * len(DELAYS)
        assert compared.name(1) == "speech <clip 1>"
        inner = compared.audio.samples[..., 64:-64] - decoded.batch.reference.samples[..., 64:-64]
        assert float(inner.abs().max()) < 0.01


def test_parts_of_references_have_names_of_their_own(decoded: Decoded) -> None:
    """Work on references is kept in processes by these names."""
    compared = decoded.compared(SI_SDR, everywhere=False)
    assert compared.name(1) == "speech <clip 1> (32, 7968)"
    assert compared.name(2) == "speech <clip 2> (35, 7968)"


def test_the_delay_is_found_once(decoded: Decoded, monkeypatch: pytest.MonkeyPatch) -> None:
    found = decoded.delays
    monkeypatch.setattr("rdbench.engine.measure.decoded.residual_delay", None)
    decoded.release()
    assert decoded.compared(SI_SDR, everywhere=False).audio.lengths[2] == 8000 - 3 - 2 * 32
    part = decoded.part([2, 1])
    assert part.delays == [found[2], found[1]] == [-3.37, 0.5]
    assert part.compared(SI_SDR, everywhere=False).name(0) == "speech <clip 2> (35, 7968)"


@pytest.mark.parametrize("other", [torch.zeros(1, 8000), pair(8000, 0.0, seed=7)[0]])
def test_without_a_delay_to_speak_of_nothing_is_moved(other: torch.Tensor) -> None:
    decoded = decoded_of((pair(8000, 0.0)[0], other))
    assert decoded.delays == [None]
    assert decoded.compared(SI_SDR, everywhere=True).audio is decoded.audio


def test_a_clip_of_which_too_little_would_be_left_stays_as_it_is() -> None:
    clip = pair(1000, 0.0)[0]
    late = torch.cat([torch.zeros(1, 600), clip[:, :400]], dim=1)
    decoded = decoded_of((clip, late))
    assert decoded.delays == [600]
    assert decoded.compared(SI_SDR, everywhere=True).audio is decoded.audio
