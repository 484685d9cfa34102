"""Tasks: what is hidden, what is kept, and noise that belongs to the clip."""

import pytest
import torch

from rdbench.models.probe.condition import coarse_log_mel
from rdbench.models.probe.config import BANDS, ProbeConfig, ProbeShape
from rdbench.models.probe.tasks import NAMES, gaps, generate, task
from rdbench.models.probe.transformer import Probe
from rdbench.types import SpecError

FRAMES, LIVE = 45, [0, 2]


@pytest.fixture
def probe() -> Probe:
    torch.manual_seed(0)
    shape = ProbeShape(width=16, layers=1, heads=2)
    config = ProbeConfig(shape=shape, channels=3, live=tuple(LIVE), frame_rate=10, sample_rate=8000)
    model = Probe(config)
    torch.nn.init.normal_(model.head.weight, std=0.1)
    model.latent_mean.fill_(0.5)
    model.latent_scale.fill_(2.0)
    return model.eval()


def made(probe: Probe, name: str, seed: int = 0, **other: torch.Tensor) -> torch.Tensor:
    latent = torch.randn(3, FRAMES, generator=torch.Generator().manual_seed(7))
    told = torch.randn(FRAMES, BANDS, generator=torch.Generator().manual_seed(8))
    return generate(
        probe,
        task(name),
        other.get("latent", latent),
        other.get("condition", told),
        generator=torch.Generator().manual_seed(seed),
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_task_makes_a_latent_that_its_seed_decides(probe: Probe, name: str) -> None:
    first = made(probe, name)
    assert first.shape == (3, FRAMES)
    assert first.dtype == torch.float32
    assert first.is_contiguous()
    assert torch.equal(first, made(probe, name))
    assert not torch.equal(first, made(probe, name, seed=1))


def test_the_tasks_see_what_they_may(probe: Probe) -> None:
    other = {"latent": torch.zeros(3, FRAMES), "condition": torch.zeros(FRAMES, BANDS)}
    changed = {
        name: {
            key: not torch.equal(made(probe, name), made(probe, name, **{key: value}))
            for key, value in other.items()
        }
        for name in ("conditioned", "infill", "unconditional", "renoise_0.5", "renoise_0")
    }
    assert changed == {
        "conditioned": {"latent": False, "condition": True},
        "infill": {"latent": True, "condition": False},
        "unconditional": {"latent": False, "condition": False},
        "renoise_0.5": {"latent": True, "condition": True},
        "renoise_0": {"latent": False, "condition": True},
    }


def test_renoising_joins_generation_and_reconstruction(probe: Probe) -> None:
    latent = torch.randn(3, FRAMES, generator=torch.Generator().manual_seed(7))
    assert torch.equal(made(probe, "renoise_0"), made(probe, "conditioned"))
    near = made(probe, "renoise_0.999")
    assert torch.allclose(near[LIVE], latent[LIVE], atol=0.05)


def test_infill_keeps_what_is_visible(probe: Probe) -> None:
    latent = torch.randn(3, FRAMES, generator=torch.Generator().manual_seed(7))
    hidden = gaps(FRAMES, 10.0)
    filled = made(probe, "infill")[LIVE]
    assert torch.allclose(filled[:, ~hidden], latent[LIVE][:, ~hidden], atol=1e-5)
    assert not torch.isclose(filled[:, hidden], latent[LIVE][:, hidden], atol=1e-3).any(0).all()


def test_dead_channels_are_noise_of_their_own_spread(probe: Probe) -> None:
    dead = made(probe, "unconditional")[1]
    noise = torch.randn(3, FRAMES, generator=torch.Generator().manual_seed(0))[1]
    assert torch.allclose(dead, 0.5 + 2.0 * noise)


def test_the_gap_is_half_a_second_in_the_middle_of_every_two() -> None:
    hidden = gaps(450, 100.0).nonzero().flatten().tolist()
    assert hidden == [*range(75, 125), *range(275, 325)]
    assert gaps(60, 100.0).nonzero().flatten().tolist() == list(range(15, 45))
    assert gaps(1, 100.0).tolist() == [True]


@pytest.mark.parametrize("name", ["renoise", "renoise_1", "renoise_nan", "renoise_x", "infil"])
def test_an_unknown_task_is_named(name: str) -> None:
    with pytest.raises(SpecError, match=f"there is no task '{name}'"):
        task(name)


@pytest.mark.parametrize("frame_rate", [12.5, 50.0, 86.1328125, 100.0])
def test_the_log_mel_follows_level_and_pitch(frame_rate: float) -> None:
    rate = 16000
    time = torch.arange(2 * rate) / rate
    tone = torch.sin(2 * torch.pi * torch.where(time < 1, 300.0, 3000.0) * time)
    frames = round(2 * frame_rate)
    found = coarse_log_mel(0.5 * tone[None], rate, frames, frame_rate)
    assert found.shape == (frames, BANDS)
    quarter = frames // 4
    low, high = found[quarter].argmax(), found[3 * quarter].argmax()
    assert low < high
    louder = coarse_log_mel(tone.expand(2, -1), rate, frames, frame_rate)
    assert float(louder[quarter].max() - found[quarter].max()) == pytest.approx(0.301, abs=1e-3)
    assert float(coarse_log_mel(torch.zeros(1, 100), rate, 1, frame_rate).max()) == -5.0
