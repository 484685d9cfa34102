"""Weights are read as data, and what is wrong with a file is one sentence."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from rdbench.types import WeightsError
from rdbench.weights import formats
from rdbench.weights.checkpoints import Checkpoint, load_strict, read_checkpoint, tensors_of


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.pth"
    torch.save({"weight": torch.randn(3, 4), "bias": torch.randn(3)}, path)
    return path


def refused(path: Path, said: str) -> None:
    with pytest.raises(WeightsError, match=said) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message


# Reading


def test_a_state_dict_is_read_with_its_hash(checkpoint: Path) -> None:
    read = read_checkpoint(checkpoint)
    assert set(read.state) == {"weight", "bias"}
    assert read.sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert read.metadata == {}


@pytest.mark.parametrize("zipped", [True, False])
def test_state_and_metadata_are_read_from_both_torch_formats(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model.pth"
    content = {"state_dict": {"a": torch.ones(2)}, "metadata": {"kwargs": {"rates": [2, 4]}}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(path)
    assert torch.equal(read.state["a"], torch.ones(2))
    assert read.metadata == {"kwargs": {"rates": [2, 4]}}


@pytest.mark.parametrize("zipped", [True, False])
def test_one_of_several_tables_is_read_where_it_is_named(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model.pt"
    content = {"gen": {"a": torch.ones(2), "b": torch.zeros(1)}, "ema": {"a": torch.zeros(2)}}
    torch.save(content | {"it": 3}, path, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(path, "gen")
    assert set(read.state) == {"a", "b"}
    assert torch.equal(read.state["a"], torch.ones(2))
    refused(path, "holds 'gen' \\(dict\\) where tensors were expected")


def test_what_a_model_has_not_can_be_left() -> None:
    model = torch.nn.Linear(2, 1)
    whole = Checkpoint(
        {"bias": torch.ones(1), "weight": torch.ones(1, 2), "x": torch.ones(1)}, "", "f"
    )
    assert set(tensors_of(whole, model).state) == {"weight", "bias"}
    less = tensors_of(Checkpoint({"bias": torch.ones(1)}, "", "f"), model)
    with pytest.raises(WeightsError, match=r"1 missing \(first 'weight'\)"):
        load_strict(model, less, codec="codec 'x'")


def test_safetensors_are_read_with_their_metadata(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(3.0)}, path, {"kwargs": '{"rates": [2, 4]}', "by": "us"})
    read = read_checkpoint(path)
    assert torch.equal(read.state["a"], torch.arange(3.0))
    assert read.metadata == {"kwargs": {"rates": [2, 4]}, "by": "us"}


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("write", ["pickle", "zip", "legacy"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, write: str) -> None:
    path, marker = tmp_path / "evil.pth", tmp_path / "ran"
    content = {"a": torch.ones(2), "b": Malicious(marker)}
    if write == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=write == "zip")
    refused(path, r"holds code or objects \([\w.]+\)|is damaged or not a checkpoint")
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "short.pth"
    state = {"a": torch.randn(1000), "b": torch.randn(1000)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path, "cut short|damaged")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>Not found</html>", "web page"),
        (b"\n\n  <html></html>", "web page"),
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "neither"),
        (b"PK\x03\x04 and nothing else", "cut short or damaged"),
        (b"\x80\x02.", "damaged or not a checkpoint"),
        (b"\x80\x02}.", "damaged or not a checkpoint"),
        (bytes([9, 0, 0, 0, 0, 0, 0, 0]) + b"{nonsense", "damaged"),
    ],
)
def test_what_is_no_checkpoint_is_said_to_be_none(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    refused(path, said)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(
    tmp_path: Path, checkpoint: Path
) -> None:
    """A megabyte of zeros, compressed, could be terabytes."""
    path = tmp_path / "bomb.pth"
    with (
        zipfile.ZipFile(checkpoint) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    refused(path, "not laid out as PyTorch writes")


def test_a_file_above_the_size_limit_is_not_read(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "MAX_BYTES", 100)
    refused(checkpoint, "more than the 100 that are read")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(2)], "holds a list, not a table of tensors"),
        ({}, "not a table of tensors"),
        ({"a": torch.ones(2), "epoch": 3}, r"holds 'epoch' \(int\) where tensors"),
        ({"a": torch.tensor([1.0, float("nan")])}, "'a' that are not finite"),
    ],
)
def test_anything_but_finite_tensors_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "odd.pth"
    torch.save(content, path)
    refused(path, said)


# Filling a model


def on_meta() -> torch.nn.Linear:
    with torch.device("meta"):
        return torch.nn.Linear(4, 3)


def test_a_model_is_filled_in_float32(tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    torch.save({"weight": torch.ones(3, 4).half(), "bias": torch.zeros(3).half()}, path)
    model = on_meta()
    load_strict(model, read_checkpoint(path), codec="it")
    assert model.weight.dtype is torch.float32
    assert torch.equal(model(torch.ones(4)), torch.full((3,), 4.0))
    assert not model.weight.requires_grad
    assert not model.training


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"weight": torch.ones(3, 4)}, r"of 2 tensors 1 missing \(first 'bias'\)"),
        (
            {"weight": torch.ones(3, 4), "bais": torch.ones(3), "x": torch.ones(1)},
            r"1 missing \(first 'bias'\), 2 unexpected \(first 'bais'\)",
        ),
        (
            {"weight": torch.ones(4, 3), "bias": torch.ones(3)},
            r"1 of another shape \(first 'weight'\)",
        ),
    ],
)
def test_names_and_shapes_must_fit(tmp_path: Path, state: Any, said: str) -> None:
    path = tmp_path / "model.pth"
    torch.save(state, path)
    with pytest.raises(WeightsError, match=rf"model.pth does not fit it: .*{said}"):
        load_strict(on_meta(), read_checkpoint(path), codec="it")
