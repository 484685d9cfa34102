"""EnCodec's latents from a checkpoint, against direct calls of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rdbench.metrics.base import SetBackend
from rdbench.metrics.registry import backend
from rdbench.types import AudioBatch, SpecError

RATE = 24_000


def batch(*lengths: int) -> AudioBatch:
    samples = torch.randn(
        (len(lengths), 1, max(lengths)), generator=torch.Generator().manual_seed(0)
    )
    return AudioBatch(0.1 * samples, torch.tensor(lengths), RATE)


def test_windows_are_the_frames_of_the_packages_encoder(tmp_path: Path) -> None:
    from encodec import EncodecModel

    torch.manual_seed(1)
    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    file = tmp_path / "encodec_24khz.th"
    torch.save(model.state_dict(), file)
    metric = backend("frechet_encodec", options={"weights": str(file)})
    assert isinstance(metric, SetBackend)
    assert len(metric.model_sha256) == 64
    audio = batch(RATE, RATE // 2 + 7)
    found = metric.feature(audio)
    for index, length in enumerate(audio.lengths.tolist()):
        with torch.no_grad():
            expected = model.encoder(audio.samples[index : index + 1, :, :length])[0].T
        np.testing.assert_allclose(found[index], expected, atol=1e-5)
    assert found[0].shape == (75, 128)


def test_without_weights_a_sentence_says_which_file_is_needed() -> None:
    with pytest.raises(SpecError, match="needs the option weights: the file encodec_24khz-"):
        backend("kernel_encodec")
