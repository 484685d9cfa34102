"""Weights are read as data, downloads are whole or absent, and what is wrong is one sentence."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rdbench.types import WeightsError
from rdbench.weights import formats
from rdbench.weights import published as weights
from rdbench.weights.checkpoints import load_strict, read_checkpoint
from rdbench.weights.published import (
    WeightsFile,
    cache_folder,
    fetch,
    locate,
)


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


# Fetching


class Response(io.BytesIO):
    """What an opened URL looks like; `failing_after` bytes the connection breaks."""

    def __init__(
        self, content: bytes, *, length: int | None = None, failing_after: int | None = None
    ) -> None:
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content) if length is None else length)}
        self.failing_after = failing_after

    def read(self, size: int | None = -1, /) -> bytes:
        if self.failing_after is not None:
            if self.tell() >= self.failing_after:
                raise ConnectionResetError(104, "Connection reset by peer")
            size = self.failing_after
        return super().read(size)


def serving(content: bytes, **options: Any) -> Callable[[str], Response]:
    return lambda url: Response(content, **options)


def no_network(url: str) -> Response:
    raise OSError("Name or service not known")


def published(content: bytes | None = None, url: str = "https://example.org/w.th") -> WeightsFile:
    digest = None if content is None else hashlib.sha256(content).hexdigest()[:8]
    return WeightsFile(url, "model-w.th", digest, "MIT")


def test_a_download_is_kept_and_then_used_without_a_network(
    tmp_path: Path, checkpoint: Path
) -> None:
    content = checkpoint.read_bytes()
    file, folder = published(content), tmp_path / "cache"
    path = fetch(file, cache_dir=folder, opener=serving(content))
    assert path == folder / "model-w.th"
    assert path.read_bytes() == content
    assert fetch(file, cache_dir=folder, opener=no_network) == path
    assert [p.name for p in folder.iterdir()] == ["model-w.th"]


def test_without_a_network_one_sentence_names_file_source_destination_and_hash(
    tmp_path: Path,
) -> None:
    with pytest.raises(WeightsError) as caught:
        fetch(published(b"x"), cache_dir=tmp_path, opener=no_network)
    message = str(caught.value)
    for part in ("model-w.th", "https://example.org/w.th", str(tmp_path / "model-w.th")):
        assert part in message
    assert "SHA-256 begins with 2d711642" in message
    assert "Name or service not known" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"failing_after": 50}, {"length": 10**6}])
def test_an_interrupted_download_leaves_nothing_behind(
    tmp_path: Path, checkpoint: Path, options: dict[str, int]
) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(WeightsError, match="could not be downloaded"):
        fetch(published(), cache_dir=folder, opener=serving(checkpoint.read_bytes(), **options))
    assert list(folder.iterdir()) == []


def test_a_keyboard_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted(url: str) -> Response:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(published(), cache_dir=tmp_path, opener=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_another_hash_is_refused_when_downloaded_and_when_found(
    tmp_path: Path, checkpoint: Path
) -> None:
    file = published(b"the published content")
    with pytest.raises(WeightsError, match="does not begin with the published"):
        fetch(file, cache_dir=tmp_path / "a", opener=serving(checkpoint.read_bytes()))
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "model-w.th").write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"model-w.th has SHA-256 [0-9a-f]{64}, which does not"):
        fetch(file, cache_dir=tmp_path, opener=no_network)


def test_a_web_page_instead_of_weights_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"https://example.org/w.th is a web page"):
        fetch(published(), cache_dir=tmp_path, opener=serving(b"<html>log in</html>"))
    assert list(tmp_path.iterdir()) == []


def test_an_endless_download_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MAX_BYTES", 1000)
    with pytest.raises(WeightsError, match="larger than 1000 bytes"):
        fetch(published(), cache_dir=tmp_path, opener=serving(b"PK" * 1000, length=0))
    assert list(tmp_path.iterdir()) == []


def test_only_https_is_fetched_also_after_a_redirect(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not an https address"):
        fetch(published(url="http://example.org/w.th"), cache_dir=tmp_path, opener=serving(b"PK"))
    handler, request = weights._HttpsOnly(), weights.urllib.request.Request("https://a.org/w")
    with pytest.raises(OSError, match="not https"):
        handler.redirect_request(request, None, 302, "Found", {}, "http://b.org/w")
    assert handler.redirect_request(request, None, 302, "Found", {}, "https://b.org/w") is not None


def test_an_unwritable_cache_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match="set RDBENCH_CACHE"):
        fetch(published(), cache_dir=tmp_path / "file" / "cache", opener=no_network)


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RDBENCH_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "weights"
    monkeypatch.delenv("RDBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "rdbench" / "weights"


def test_a_path_may_be_a_file_or_a_folder_and_must_exist(tmp_path: Path, checkpoint: Path) -> None:
    file = published()
    assert locate(checkpoint, file) == checkpoint
    with pytest.raises(WeightsError, match=r"model-w.th does not exist; give the path"):
        locate(tmp_path, file)
    (tmp_path / "model-w.th").write_bytes(b"PK")
    assert locate(str(tmp_path), file) == tmp_path / "model-w.th"
