"""DualCodec in an environment of its own, against direct calls of its package there.

Needs the interpreter of an environment with the package, whose pins are not rdbench's:

    python -m venv ENV && ENV/bin/pip install dualcodec
    export RDBENCH_DUALCODEC_PYTHON=ENV/bin/python
    python -m pytest -m slow tests/codecs/remote/test_dualcodec.py
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rdbench.codecs.base import Codec
from rdbench.codecs.registry import create
from rdbench.codecs.testing import check_codec, example_audio
from rdbench.rate import rates
from rdbench.types import CODES, AudioBatch, RateKind, Tokens

PYTHON = os.environ.get("RDBENCH_DUALCODEC_PYTHON", "")
SCRIPT = Path(__file__).with_name("seeded_dualcodec.py")
HOP = 1920

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="set RDBENCH_DUALCODEC_PYTHON to an interpreter"),
]


def script(*arguments: object) -> None:
    subprocess.run([PYTHON, str(SCRIPT), *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dualcodec")
    script("weights", path)
    return path


def made(folder: Path, points: Any = None) -> Codec:
    return create(
        "dualcodec",
        points=points,
        options={"weights": str(folder), "semantic": str(folder / "semantic")},
        allow_code=True,
        python=PYTHON,
    )


def test_it_passes_the_codec_checks(folder: Path) -> None:
    check_codec(made(folder, ["q1", "q8"]), seconds=0.3)


def test_codes_and_audio_are_those_of_the_package(folder: Path, tmp_path: Path) -> None:
    codec = made(folder)
    audio = example_audio(codec, seconds=0.5)
    clip, length = 1, int(audio.lengths[1])
    encoded = codec.encode(audio, codec.point("q8"))
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0] * audio.clips))
    frames = -(-length // HOP)
    padded = np.zeros(frames * HOP + 360, np.float32)
    padded[:length] = audio.samples[clip, 0, :length]
    np.save(tmp_path / "clip.npy", padded)
    script("calls", folder, tmp_path / "clip.npy", 8, tmp_path / "out.npz")
    direct = np.load(tmp_path / "out.npz")
    assert isinstance(encoded.payload, Tokens)
    (stream,) = encoded.payload.streams
    assert int(stream.frames[clip]) == frames == direct["codes"].shape[-1]
    assert np.array_equal(stream.codes[clip, :, :frames].numpy(), direct["codes"][0])
    assert min(len(np.unique(row)) for row in direct["codes"][0]) > 1
    expected = torch.from_numpy(direct["audio"])[0, 0, :length]
    torch.testing.assert_close(decoded.samples[clip, 0, :length], expected, atol=1e-5, rtol=0)
    assert expected.abs().max() > 1e-5


def test_every_number_of_codebooks_is_a_point_at_its_rate(folder: Path) -> None:
    codec = made(folder, ["q1", "q2", "q8"])
    clip = AudioBatch(0.1 * torch.randn(1, 1, 4 * HOP), torch.tensor([4 * HOP]), 24_000)
    for name, kbps in (("q1", 0.175), ("q2", 0.325), ("q8", 1.225)):
        point = codec.point(name)
        (measured,) = rates(codec.encode(clip, point))[RateKind.NOMINAL]
        assert measured.kbps == pytest.approx(kbps)
        assert point.target_kbps == pytest.approx(kbps)
