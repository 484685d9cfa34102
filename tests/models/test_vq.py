"""The `vq` bottleneck: its moving averages against counts, dead entries, and two levels."""

import pytest
import torch

from rdbench.models.config import AutoencoderConfig, VqConfig
from rdbench.models.vq import Codebook, VqBottleneck

TWO_LEVELS = VqConfig(channels=6, codebook_size=8, top_stride=2)


def test_entries_are_the_moving_averages_of_the_paper() -> None:
    """With counts and sums, for batches of one size (van den Oord 2017, appendix A.1)."""
    torch.manual_seed(0)
    size, frames, decay, smoothing = 4, 50, 0.9, 1e-3
    config = VqConfig(
        channels=2, codebook_size=size, decay=decay, smoothing=smoothing, restart_below=0.0
    )
    book = Codebook(config).double()
    book.usage.fill_(1 / size)
    entries = book.entries.clone()
    counts = torch.full((size,), frames / size, dtype=torch.float64)
    sums = entries * counts[:, None]
    for _ in range(5):
        latents = torch.randn(1, frames, 2, dtype=torch.float64)
        chosen, codes, _ = book(latents, follow=True)
        distance = (latents[0, :, None] - entries).square().sum(-1)
        assert torch.equal(codes[0], distance.argmin(1))
        torch.testing.assert_close(chosen[0], entries[codes[0]])
        for entry in range(size):
            mine = latents[0, codes[0] == entry]
            counts[entry] = decay * counts[entry] + (1 - decay) * len(mine)
            sums[entry] = decay * sums[entry] + (1 - decay) * mine.sum(0)
        # Laplace: as if every entry had ε of the frames more.
        smoothed = (counts + smoothing * frames) / (1 + size * smoothing)
        entries = sums / smoothed[:, None]
        torch.testing.assert_close(book.entries, entries)
        sums = entries * smoothed[:, None]


def test_dead_entries_start_again_at_latents_and_live_ones_stay() -> None:
    torch.manual_seed(0)
    config = VqConfig(channels=2, codebook_size=3, decay=0.5, smoothing=0.0, restart_below=0.2)
    book = Codebook(config)
    book.usage.fill_(1 / 3)
    book.entries.copy_(torch.tensor([[0.0, 0.0], [10.0, 0.0], [99.0, 99.0]]))
    latents = torch.tensor([[[0.0, 0.0], [10.0, 0.0]]]).repeat(1, 4, 1)
    for _ in range(3):  # the third entry's share: 1/6, 1/12, 1/24, below 0.2 / 3 in the last
        assert float(book.entries[2, 0]) == pytest.approx(99.0)
        book(latents, follow=True)
    torch.testing.assert_close(book.entries[:2], latents[0, :2])
    assert book.entries[2].tolist() in latents[0].tolist()
    assert float(book.usage[2]) == pytest.approx(1 / 3)


def test_the_first_step_takes_its_entries_from_latents() -> None:
    torch.manual_seed(0)
    latents = 5 + torch.randn(2, 20, 3)
    book = Codebook(VqConfig(channels=3, codebook_size=4, decay=0.999))
    _, codes, commitment = book(latents, follow=True)
    assert len(codes.unique()) > 1
    assert float(commitment) < float((latents - latents.mean((0, 1))).square().mean())


@pytest.mark.parametrize("config", [VqConfig(channels=6, codebook_size=8), TWO_LEVELS])
def test_gradients_pass_straight_and_a_frozen_or_finished_codebook_stays(config: VqConfig) -> None:
    torch.manual_seed(0)
    bottleneck = VqBottleneck(config, 5)
    before = bottleneck.codebook.entries.clone()
    features = torch.randn(2, 12, 5)
    bottleneck.eval()
    bottleneck.quantize(bottleneck(features))
    bottleneck.train().requires_grad_(requires_grad=False)
    bottleneck.quantize(bottleneck(features))
    assert torch.equal(bottleneck.codebook.entries, before)
    bottleneck.requires_grad_(requires_grad=True)
    chosen, _, commitment, _ = bottleneck.quantize(bottleneck(features))
    assert not torch.equal(bottleneck.codebook.entries, before)
    (chosen.sum() + commitment).backward()
    assert all(bool(p.grad.any()) for p in bottleneck.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in bottleneck.parameters())


@pytest.mark.parametrize("config", [VqConfig(channels=6, codebook_size=8), TWO_LEVELS])
def test_codes_and_their_latents_belong_together(config: VqConfig) -> None:
    torch.manual_seed(0)
    bottleneck = VqBottleneck(config, 5).eval()
    latents = bottleneck(torch.randn(2, 12, 5))
    chosen, codes, _, _ = bottleneck.quantize(latents)
    assert codes.shape == (2, sum(config.indices), 12 // config.stride)
    torch.testing.assert_close(bottleneck.dequantize(codes), chosen)


def test_the_rate_is_that_of_the_indices_of_each_level() -> None:
    config = AutoencoderConfig(bottleneck=VqConfig(codebook_size=256, top_stride=2))
    assert config.bits_per_frame is not None
    # At 16 kHz and a hop of 160: 50 Hz of the upper level, 100 Hz of the lower one, 8 bits each.
    assert config.frame_rate * config.bits_per_frame == 50 * 8 + 100 * 8
