"""Checkpoints: what was saved comes back, and nothing else is read."""

import json
import os
import pickle
import struct
import time
from pathlib import Path

import pytest
import torch

from rdbench.identity import file_sha256
from rdbench.models import checkpoint
from rdbench.models.autoencoder import Autoencoder
from rdbench.models.config import AutoencoderConfig, GaussianConfig, SpectralConfig
from rdbench.types import WeightsError

CONFIG = AutoencoderConfig(
    sample_rate=8000,
    backbone=SpectralConfig(hop=40, width=8, encoder_layers=1, decoder_layers=1),
    bottleneck=GaussianConfig(channels=3),
)


@pytest.fixture
def model() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(CONFIG)


@pytest.fixture
def saved(model: Autoencoder, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, model, {"steps": 7})
    return path


def rewrite(path: Path, change: object) -> None:
    """Applies `change` to the JSON header of the file at `path`."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)  # type: ignore[operator]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_model_configuration_and_provenance_come_back(model: Autoencoder, saved: Path) -> None:
    loaded, header = checkpoint.load(saved)
    assert header.config == CONFIG
    assert header.provenance == {"steps": 7}
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float())
    audio = 0.1 * torch.randn(1, 1, 400)
    torch.testing.assert_close(
        loaded.posterior(audio)[0], model.eval().posterior(audio)[0], atol=0.02, rtol=0.02
    )


def test_half_precision_halves_the_file(model: Autoencoder, saved: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    checkpoint.save(whole, model, {}, half=False)
    assert saved.stat().st_size < 0.6 * whole.stat().st_size
    loaded, _ = checkpoint.load(whole)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize("half", [False, True])
def test_a_file_that_is_overwritten_changes_no_model_that_was_read(
    model: Autoencoder, tmp_path: Path, half: bool
) -> None:
    """Tensors that lie in a mapped file would change with it."""
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, model, {}, half=half)
    loaded, header = checkpoint.load(path)
    assert header.sha256 == file_sha256(path)
    before = {name: value.clone() for name, value in loaded.state_dict().items()}
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, before[name])
    assert checkpoint.Header(header.config, {}, {}).sha256 == ""


def test_loading_leaves_the_random_state_alone(saved: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    checkpoint.load(saved)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("keep", [0, 4, 60, 0.5, -1])
def test_truncated(saved: Path, keep: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    assert "truncated" in refused(saved) or "not a safetensors file" in refused(saved)


def test_missing_file(tmp_path: Path) -> None:
    assert "there is no checkpoint" in refused(tmp_path / "nowhere.safetensors")


class Trap:
    """Pickled, it would make a folder when loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_with_code_is_not_run(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol))
    assert "can run code" in refused(path)
    assert not (tmp_path / "sprung").exists()


def test_a_torch_archive_is_not_read(model: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(model.state_dict(), path)
    assert "can run code" in refused(path)


def test_newer_version(saved: Path) -> None:
    rewrite(saved, lambda header: header["__metadata__"].update({"rdbench.format": "2"}))
    assert "newer" in refused(saved)


def test_foreign_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    assert "no rdbench checkpoint" in refused(path)


def test_damaged_configuration(saved: Path) -> None:
    rewrite(saved, lambda h: h["__metadata__"].update({"rdbench.config": '{"sample_rate": -1}'}))
    assert "no usable configuration" in refused(saved)


def test_a_configuration_of_no_model(saved: Path) -> None:
    def widen(header: dict[str, dict[str, str]]) -> None:
        config = json.loads(header["__metadata__"]["rdbench.config"])
        rates = [2] * 60
        config["backbone"] = {"kind": "dac", "encoder_rates": rates, "decoder_rates": rates}
        header["__metadata__"]["rdbench.config"] = json.dumps(config)

    rewrite(saved, widen)
    assert "configuration" in refused(saved)


def test_a_configuration_of_very_many_strides_takes_no_time(saved: Path) -> None:
    """Their product has as many digits: 2 MB of header took 44 s."""

    def widen(header: dict[str, dict[str, str]]) -> None:
        config = json.loads(header["__metadata__"]["rdbench.config"])
        rates = [65_535] * 300_000
        config["backbone"] = {"kind": "dac", "encoder_rates": rates, "decoder_rates": rates}
        header["__metadata__"]["rdbench.config"] = json.dumps(config)

    rewrite(saved, widen)
    began = time.process_time()
    assert "configuration" in refused(saved)
    assert time.process_time() - began < 5


def test_a_configuration_that_asks_for_more_than_the_file_holds(saved: Path) -> None:
    def widen(header: dict[str, dict[str, str]]) -> None:
        config = json.loads(header["__metadata__"]["rdbench.config"])
        config["backbone"] |= {"width": 65536, "encoder_layers": 64, "expansion": 8}
        header["__metadata__"]["rdbench.config"] = json.dumps(config)

    rewrite(saved, widen)
    assert "tensor" in refused(saved) or "shape" in refused(saved)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_tensors_must_be_those_of_the_configuration(
    model: Autoencoder, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "model.safetensors"
    state = model.state_dict()
    if change == "missing":
        state.pop("decoder.head.bias")
    elif change == "extra":
        state["decoder.other"] = torch.zeros(2)
    else:
        state["decoder.head.bias"] = torch.zeros(2)
    fake = Autoencoder(CONFIG)
    fake.state_dict = lambda: state  # type: ignore[method-assign,assignment]
    checkpoint.save(path, fake, {})
    expected = {"missing": "lacks the tensor", "extra": "does not know", "shape": "of shape"}
    assert expected[change] in refused(path)


def test_a_header_cannot_promise_more_than_the_file_holds(saved: Path) -> None:
    def inflate(header: dict[str, dict[str, object]]) -> None:
        header["decoder.head.bias"]["shape"] = [1 << 40]
        header["decoder.head.bias"]["data_offsets"] = [0, 1 << 41]

    rewrite(saved, inflate)
    assert "truncated" in refused(saved)


def test_nan_in_the_weights(model: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.nn.init.constant_(model.decoder.embed.bias, float("nan"))  # type: ignore[union-attr]
    checkpoint.save(path, model, {})
    assert "NaN" in refused(path)


def test_a_full_disk_leaves_the_previous_checkpoint_whole(
    model: Autoencoder, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(saved, model, {"steps": 8})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
