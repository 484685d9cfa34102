"""VGGish and PANNs' CNN14 against values of the packages torchvggish 0.2 and panns-inference 0.1.1.

Those do not live with the torch of today's rdbench, so their values were made once, elsewhere, of
the signal and the weights below, which no random generator is needed for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from rdbench.metrics.base import SetBackend
from rdbench.metrics.registry import backend
from rdbench.metrics.sets import panns, vggish
from rdbench.types import AudioBatch, WeightsError


def signal(rate: int, seconds: float) -> torch.Tensor:
    """A sweep and a swelling tone, float32 (time,)."""
    time = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    sweep = 0.3 * torch.sin(2 * math.pi * (300 * time + 400 * time * time))
    return (sweep + 0.1 * torch.sin(2 * math.pi * 5000 * time) * torch.sin(9 * time)).float()


def fill(state: Mapping[str, torch.Tensor]) -> None:
    """Gives tensors values of about the size that trained ones have."""
    for number, (name, tensor) in enumerate(sorted(state.items())):
        if not tensor.is_floating_point():
            continue
        steps = torch.arange(tensor.numel(), dtype=torch.float64)
        wave = torch.sin(steps * (12.9898 + 0.1 * number) + number) * 43758.5453
        uniform = (wave - wave.floor()).sub(0.5).reshape(tensor.shape)
        if name.endswith("running_var"):
            made = 1.0 + 0.5 * uniform
        elif name.endswith("weight") and tensor.dim() == 1:
            made = 1.0 + 0.2 * uniform
        else:
            inputs = tensor[0].numel() if tensor.dim() > 1 else 600
            made = uniform * math.sqrt(24.0 / inputs)
        tensor.copy_(made)


def test_vggish_sees_the_levels_that_its_package_does() -> None:
    found = vggish.log_mel(signal(16_000, 2.5)[None])[0, 96:192]  # the second window
    expected = [
        [-4.58875846862793, 3.256059169769287, -4.597866535186768],
        [-4.598480701446533, -4.004279613494873, -4.598278999328613],
    ]
    np.testing.assert_allclose(found[[0, 50]][:, [0, 20, 63]], expected, atol=1e-6)


def test_panns_sees_the_levels_that_its_package_does() -> None:
    (found,) = panns.log_mel(signal(32_000, 1.3)[None])
    assert found.shape == (131, 64)
    assert found[0, [0, 20]].tolist() == pytest.approx([6.360967, -18.414637], abs=1e-4)
    # Below 50 dB under the loudest, float32 tells the two ways to a spectrum apart.
    assert found[50, [0, 20]].tolist() == pytest.approx([-64.60477, -59.96883], abs=0.1)
    assert found[50, 63] == -100


@pytest.mark.parametrize("name", ["vggish", "panns"])
def test_a_file_of_another_model_is_one_sentence(name: str, tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(64, 1, 3, 3)}, file)
    metric = backend(f"kernel_{name}", options={"weights": str(file)})
    assert isinstance(metric, SetBackend)
    rate = {"vggish": 16_000, "panns": 32_000}[name]
    with pytest.raises(WeightsError, match=rf"other\.pth does not fit metric 'frechet_{name}'"):
        metric.feature(AudioBatch(torch.zeros(1, 1, rate), torch.tensor([rate]), rate))


def embedded(key: str, file: Path, rate: int, *seconds: float) -> list[np.ndarray]:
    metric = backend(key, options={"weights": str(file)})
    assert isinstance(metric, SetBackend)
    clips = [signal(rate, one) for one in seconds]
    samples = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=math.nan)
    lengths = torch.tensor([len(one) for one in clips])
    return metric.feature(AudioBatch(samples[:, None], lengths, rate))


@pytest.mark.slow  # the weights of either are 0.3 GB
def test_vggish_is_that_of_its_package(tmp_path: Path) -> None:
    model = vggish._model()
    fill(state := model.state_dict())
    torch.save(state, tmp_path / "vggish.pth")
    found, short = embedded("frechet_vggish", tmp_path / "vggish.pth", 16_000, 2.5, 1.0)
    expected = [
        [-25.623249053955078, 10.015043258666992, 7.519427299499512, 5.393465518951416],
        [-25.000812530517578, 11.945426940917969, 6.530699729919434, 6.327339172363281],
    ]
    assert found.shape == (2, 128)
    np.testing.assert_allclose(found[:, [0, 1, 63, 127]], expected, rtol=1e-4)
    assert short.shape == (1, 128)


@pytest.mark.slow
def test_panns_are_those_of_their_package(tmp_path: Path) -> None:
    """In a file as published: tensors under `model`, with what its package has besides."""
    model = panns._model()
    own = model.state_dict()
    tags = {"fc_audioset.weight": torch.zeros(527, 2048), "fc_audioset.bias": torch.zeros(527)}
    fill(both := own | tags)
    besides = {"spectrogram_extractor.stft.conv_real.weight": torch.zeros(513, 1, 1024)}
    torch.save({"iteration": 600_000, "model": both | besides}, tmp_path / "cnn14.pth")
    short, whole, long = embedded("frechet_panns", tmp_path / "cnn14.pth", 32_000, 1.3, 10, 16)
    assert (short.shape, whole.shape, long.shape) == ((1, 2048), (1, 2048), (2, 2048))
    expected = [
        [55.81200408935547, 0, 40.3199462890625, 111.74285125732422, 2.9717514514923096, 0],
        [78.06527709960938, 0, 50.105323791503906, 149.8218536376953, 0, 0],
    ]
    np.testing.assert_allclose([short[0, :6], whole[0, :6]], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(long[0], whole[0], rtol=1e-3, atol=1e-2)
