"""The probe's network: what it sees, what it never sees, and what it costs."""

import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rdbench.models.probe.config import BANDS, ProbeConfig, ProbeShape
from rdbench.models.probe.flow import squared_error
from rdbench.models.probe.tasks import given_for
from rdbench.models.probe.transformer import Given, Probe

CHANNELS, LIVE = 5, (0, 2, 3)


def probe(*, seconds: float = 1.0, trained: bool = True) -> Probe:
    """A small probe whose zeros, which training leaves, are random."""
    shape = ProbeShape(width=16, layers=2, heads=2, reach=seconds)
    config = ProbeConfig(
        shape=shape, channels=CHANNELS, live=LIVE, frame_rate=10.0, sample_rate=8000
    )
    torch.manual_seed(0)
    model = Probe(config)
    if trained:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def given(clips: int, frames: int, valid: torch.Tensor | None = None) -> Given:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(clips, frames, len(LIVE), generator=generator)
    told = torch.randn(clips, frames, BANDS, generator=generator)
    visible = torch.rand(clips, frames, generator=generator) < 0.5
    return given_for(z, told, visible=visible, conditioned=torch.arange(clips) > 0, valid=valid)


def noise(clips: int, frames: int) -> torch.Tensor:
    return torch.randn(clips, frames, len(LIVE), generator=torch.Generator().manual_seed(2))


def test_padding_never_matters() -> None:
    model, whole = probe(), given(2, 30)
    t = torch.tensor([0.3, 0.8])
    alone = [
        model(noise(2, 30)[i : i + 1, :length], t[i : i + 1], Given(*(
            part[i : i + 1, :length] for part in whole[:4]
        )))
        for i, length in enumerate((30, 17))
    ]  # fmt: skip
    valid = torch.arange(30) < torch.tensor([[30], [17]])
    for filler in (0.0, 1e6):
        x = noise(2, 30).masked_fill(~valid[..., None], filler)
        told = [part.masked_fill(~valid[..., None], filler) for part in whole[:4]]
        made = model(x, t, Given(*told, valid))
        assert bool(made.isfinite().all())
        assert torch.allclose(made[:1], alone[0], atol=1e-5)
        assert torch.allclose(made[1:, :17], alone[1], atol=1e-5)


def test_attention_reaches_as_far_as_it_says() -> None:
    model, told = probe(seconds=0.2), given(1, 40)
    x, t = noise(1, 40), torch.tensor([0.5])
    changed = x.clone()
    changed[0, 20] += 1.0
    moved = (model(x, t, told) - model(changed, t, told)).abs().amax(-1)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == list(range(16, 25))  # two layers, 2 frames each


def test_frames_are_alike_wherever_a_clip_begins() -> None:
    model, told = probe(seconds=0.2), given(1, 40)
    x, t = noise(1, 40), torch.tensor([0.5])
    later = model(x[:, 10:], t, Given(*(part[:, 10:] for part in told[:4])))
    assert torch.allclose(model(x, t, told)[:, 15:], later[:, 5:], atol=1e-5)


def test_an_untrained_probe_is_the_best_for_white_latents() -> None:
    model, clips = probe(trained=False), 4000
    t = (torch.arange(clips) + 0.5) / clips
    z = torch.randn(clips, 20, len(LIVE), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        errors = squared_error(lambda x, at: model(x, at, given(clips, 20)), z, noise(clips, 20), t)
    assert float(errors.mean()) == pytest.approx(math.pi / 2, rel=0.01)


def test_flops_are_those_that_torch_counts() -> None:
    model = probe()
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(noise(1, 30), torch.tensor([0.5]), given(1, 30))
    assert model.flops(30) == counter.get_total_flops()


def test_the_cpu_profile_has_some_1_2_million_parameters() -> None:
    config = ProbeConfig(channels=96, live=tuple(range(96)), frame_rate=100, sample_rate=16000)
    assert 1.15e6 < Probe(config).parameter_count < 1.35e6


def test_standardised_and_back() -> None:
    model = probe()
    model.latent_mean.copy_(torch.arange(5.0))
    model.latent_scale.copy_(torch.arange(1.0, 6.0))
    latent = torch.randn(7, CHANNELS)
    live = model.standardised(latent)
    assert torch.allclose(live[:, 1], (latent[:, 2] - 2) / 3)
    back = model.restored(live, torch.zeros(7, CHANNELS))
    assert torch.allclose(back[:, list(LIVE)], latent[:, list(LIVE)], atol=1e-6)
    assert torch.equal(back[:, [1, 4]], torch.tensor([1.0, 4.0]).expand(7, 2))


@pytest.mark.parametrize("live", [(), (2, 1), (1, 1), (5,), (-1,)])
def test_impossible_live_channels_are_refused(live: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="live"):
        ProbeConfig(channels=CHANNELS, live=live, frame_rate=10.0, sample_rate=8000)
