"""What is refused of a `.nemo` file before anything of it is built, without NeMo."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rdbench.codecs.remote.adapters.nanocodec import CHECKPOINT, CONFIG, NanoCodec

CODEC = {
    "sample_rate": 22_050,
    "samples_per_frame": 1764,
    "audio_encoder": {"_target_": "nemo.collections.tts.modules.audio_codec_modules.Encoder"},
    "vector_quantizer": {},
    "audio_decoder": {},
}


def saved(folder: Path, config: Any, checkpoint: Any = None) -> str:
    """A `.nemo` file."""
    kept = io.BytesIO()
    torch.save({} if checkpoint is None else checkpoint, kept)
    contents = {CONFIG: yaml.safe_dump(config).encode(), CHECKPOINT: kept.getvalue()}
    with tarfile.open(folder / "codec.nemo", "w") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(folder / "codec.nemo")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audio_encoder": {"_target_": "os.system"}}, "names the class 'os.system', which is not"),
        ({"audio_encoder": {"_target_": "nemo.core.Model"}}, "names the class 'nemo.core.Model'"),
        ({"semantic_codec": {"sample_rate": 1}}, "a second codec for semantics"),
        ({"output_sample_rate": 44_100}, "decodes to another rate"),
        ({"audio_encoder": None, "vector_quantizer": None}, "says no 'audio_encoder'"),
    ],
)
def test_a_configuration_that_is_not_run_is_one_sentence(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    config = {name: value for name, value in {**CODEC, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=said):
        NanoCodec(weights=saved(tmp_path, config))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="Weights only load failed"):
        NanoCodec(weights=saved(tmp_path, CODEC, checkpoint=tmp_path))


def test_another_archive_is_told(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.nemo", "w"):
        pass
    with pytest.raises(ValueError, match=f"holds no {CONFIG} and {CHECKPOINT}; give a .nemo file"):
        NanoCodec(weights=str(tmp_path / "other.nemo"))
