"""Whose time is charged to a codec: its own, and that of the variant that is decoded."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rdbench.codecs.neural.lyra import Lyra
from rdbench.codecs.packets.pyav import Opus
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.variants import variant
from rdbench.engine.passes.costs import CostsPass, Timing, time_codec
from rdbench.engine.plan.systems import Step
from rdbench.rate.coded import SentCoder
from rdbench.rate.coded.fitted import FittedLatent
from rdbench.rate.prior import Moments
from rdbench.stopwatch import Stopwatch
from rdbench.store.variants import BUILT_IN
from rdbench.types import AudioBatch, Posterior, Variant

RATE = 16_000
SECONDS = 2


class Clock:
    """Goes on when a piece of work says so, and by itself never."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def slows(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, seconds: int) -> None:
        """Has a function take some seconds more."""
        work = getattr(owner, name)

        def slower(*args: Any, **options: Any) -> Any:
            self.now += seconds
            return work(*args, **options)

        monkeypatch.setattr(owner, name, slower)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    watch = partial(Stopwatch, clock=clock)
    monkeypatch.setattr("rdbench.engine.passes.costs.Stopwatch", watch)
    return clock


class Linear(PosteriorCodec):
    """A VAE that takes no time to speak of: 64 channels of scaled samples, 250 frames a second."""

    def __init__(self) -> None:
        modules = torch.nn.Linear(1, 1)
        super().__init__(name="linear", sample_rate=RATE, frame_rate=250.0, modules=modules)

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        mean = 30 * audio.reshape(len(audio), -1, 64).transpose(1, 2)
        return mean, torch.ones_like(mean)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return z.transpose(1, 2).reshape(len(z), 1, -1) / 30


def noise(seconds: float = SECONDS, seed: int = 0) -> AudioBatch:
    generator = torch.Generator().manual_seed(seed)
    samples = 0.1 * torch.randn(1, 1, round(seconds * RATE), generator=generator)
    return AudioBatch(samples, torch.tensor([samples.shape[-1]]), RATE)


def timed(codec: Any, one: Variant, seconds: float = SECONDS) -> Timing:
    system: Any = SimpleNamespace(codec=codec, name=codec.info.name)
    return time_codec(Step(system, codec.points[0], one), [noise(seconds)], repeats=2)


def test_resampling_in_an_adapter_is_not_charged(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.slows(monkeypatch, Opus, "_encode_clip", 3)
    clock.slows(monkeypatch, Opus, "_decode_packets", 4)
    clock.slows(monkeypatch, importlib.import_module("rdbench.audio.resample"), "resample", 100)
    codec = Opus(points=[16])
    timing = timed(codec, codec.variants[0])
    assert clock.now >= 300
    assert timing.encode == (3 / SECONDS,) * 2
    assert timing.decode == (4 / SECONDS,) * 2
    assert timing.clip_seconds == SECONDS


@pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="needs the extra rdbench[lyra]")
def test_the_reading_of_models_is_not_charged(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    interpreter = importlib.import_module("ai_edge_litert.interpreter")
    clock.slows(monkeypatch, interpreter, "Interpreter", 100)
    clock.slows(monkeypatch, Lyra, "_encode_clip", 3)
    codec = Lyra(points=[6], models=shared_data / "lyra")
    timing = timed(codec, codec.variants[0])
    assert clock.now >= 300
    assert timing.encode == (3 / SECONDS,) * 2
    assert timing.decode == (0.0,) * 2


def test_a_stream_is_made_by_the_encoder_and_read_by_the_decoder(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.slows(monkeypatch, Linear, "posterior", 1)
    clock.slows(monkeypatch, Linear, "decode_latent", 2)
    clock.slows(monkeypatch, SentCoder, "encode", 10)
    clock.slows(monkeypatch, SentCoder, "decode", 20)
    sample, coded = (timed(Linear(), variant(name)) for name in ("sample", "coded"))
    assert (sample.encode[0], sample.decode[0]) == (1 / SECONDS, 2 / SECONDS)
    assert (coded.encode[0], coded.decode[0]) == (11 / SECONDS, 22 / SECONDS)


@pytest.fixture(scope="module")
def fitted() -> FittedLatent:
    """What any kind of stream may ask for, fitted on another clip."""
    codec = Linear()
    posterior = codec.encode(noise(seed=1), codec.points[0]).payload
    assert isinstance(posterior, Posterior)
    return FittedLatent.fit([posterior], Moments.of([posterior]), np.ones(64))


STREAMS = [variant(card.name) for card in BUILT_IN.values() if card.stream]


@pytest.mark.parametrize("one", STREAMS, ids=str)
def test_every_variant_with_a_stream_pays_for_making_it(
    one: Variant, fitted: FittedLatent, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Linear()
    codec.fitted = fitted
    coder = codec.latent_coder(one)
    assert coder is not None
    clock.slows(monkeypatch, type(coder), "encode", 10)
    sample, stream = (timed(codec, which, seconds=0.1) for which in (variant("sample"), one))
    assert sample.encode == (0.0,) * 2
    assert stream.encode == pytest.approx((10 / 0.1,) * 2)


def test_what_can_be_transmitted_has_costs_and_what_stands_for_a_point() -> None:
    spec = SimpleNamespace(variants=None)
    asked = CostsPass(machine="", others=(), clips=1, repeats=1, threads=1)
    for names, wanted in (
        (["sample", "mean", "coded"], ["sample", "coded"]),
        (["mean", "coded", "noise_2"], ["mean", "coded"]),
    ):
        variants = [variant(name) for name in names]
        system: Any = SimpleNamespace(codec=Linear(), spec=spec, variants=variants)
        steps = [Step(system, system.codec.points[0], one) for one in variants]
        found = [str(step.variant) for step in steps if asked.of_set(step, [])]
        assert found == wanted
