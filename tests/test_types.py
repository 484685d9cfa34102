"""The types that cross between rooms."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from rdbench.types import AudioBatch, CodecInfo, RateKind, RunsOn, TokenStream


def test_importing_rdbench_types_and_cli_loads_nothing_heavy() -> None:
    code = (
        "import sys, rdbench, rdbench.types, rdbench.cli.main, rdbench.metrics.registry, "
        "rdbench.codecs.registry\n"
        "heavy = {'torch', 'torchaudio', 'pandas', 'matplotlib', 'av', 'numpy', 'visqol', 'dac'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_select_cuts_to_the_longest_clip_selected() -> None:
    batch = AudioBatch(torch.ones(3, 1, 10), torch.tensor([10, 4, 6]), 8000)
    part = batch.select([1, 2])
    assert part.samples.shape == (2, 1, 6)
    assert part.lengths.tolist() == [4, 6]
    assert not part.uniform


def test_audio_batch_refuses_lengths_of_another_batch() -> None:
    with pytest.raises(ValueError, match="do not match"):
        AudioBatch(torch.ones(3, 1, 10), torch.tensor([10, 4]), 8000)


def test_token_stream_refuses_codes_of_other_codebooks() -> None:
    with pytest.raises(ValueError, match="codebooks"):
        TokenStream(torch.zeros(1, 2, 5, dtype=torch.int64), torch.tensor([5]), (16,), 50.0)


@pytest.mark.parametrize(
    ("reference", "expected"), [(16000, 16000), (22050, 24000), (44100, 48000), (96000, 48000)]
)
def test_native_rate_is_the_nearest_at_or_above(reference: int, expected: int) -> None:
    info = CodecInfo(
        "opus", "opus", (8000, 12000, 16000, 24000, 48000), (1, 2), RateKind.PAYLOAD, RunsOn.POOL
    )
    assert info.native_rate(reference) == expected
