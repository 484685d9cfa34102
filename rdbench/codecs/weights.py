"""Model weights as data: finding, downloading and reading them, without running what is in them.

A checkpoint is a table of tensors with a few plain values beside it. `read_checkpoint` reads the
two formats in which such tables are published, PyTorch's (`torch.load` with `weights_only=True`,
so no code in the file runs) and safetensors; everything else is refused with one sentence.
`fetch` downloads a published file through a temporary name and checks its hash where its authors
publish one. `load_strict` fills a model that was built on the `meta` device, so that nothing is
allocated before names and shapes are known to fit, and no weight stays random.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import secrets
import struct
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rdbench.codecs.pickles import check_legacy_pickle, check_zip_pickle
from rdbench.types import WeightsError

if TYPE_CHECKING:
    import torch

MAX_BYTES = 2 * 1024**3
"""Largest checkpoint that is read or downloaded; the largest published one here is 0.3 GB."""

MAX_ENTRIES = 100_000
"""Most tensors and side files in one checkpoint."""

MAX_HEADER_BYTES = 16 * 2**20
"""Longest header of a safetensors file."""

PRETRAINED = "pretrained"
"""The value of `weights` that means the published file."""

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0

Opener = Callable[[str], Any]
"""Opens a URL and returns a readable context manager with `headers`, as `urlopen` does."""


@dataclass(frozen=True)
class WeightsFile:
    """A published weights file.

    url: https address. filename: its name in the cache. sha256: the published hash or the
    published beginning of it, None where the authors publish none. licence: as the authors state
    it.
    """

    url: str
    filename: str
    sha256: str | None
    licence: str

    @property
    def hash_note(self) -> str:
        """What is known of the hash, for messages."""
        if self.sha256 is None:
            return "its authors publish no hash"
        return f"its SHA-256 begins with {self.sha256}"


@dataclass(frozen=True)
class Checkpoint:
    """What was read: tensors by name, plain metadata, and the SHA-256 of the file."""

    state: Mapping[str, torch.Tensor]
    sha256: str
    filename: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


def cache_folder() -> Path:
    """Where downloads are kept: RDBENCH_CACHE, else the user's cache folder (XDG)."""
    if own := os.environ.get("RDBENCH_CACHE"):
        return Path(own).expanduser() / "weights"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rdbench" / "weights"


def locate(weights: str | os.PathLike[str], file: WeightsFile) -> Path:
    """The file that `weights` means: "pretrained" (fetched where absent), or an existing path.

    A folder means the published name within it. Raises WeightsError where there is no such file.
    """
    if weights == PRETRAINED:
        return fetch(file)
    path = Path(weights).expanduser()
    if path.is_dir():
        path = path / file.filename
    if not path.is_file():
        raise WeightsError(
            f"weights file {path} does not exist; "
            f"give the path of a checkpoint, or {PRETRAINED!r} for {file.url}"
        )
    return path


def fetch(
    file: WeightsFile, *, cache_dir: Path | None = None, opener: Opener | None = None
) -> Path:
    """The published file in the cache, downloaded where it is absent.

    The download is written beside its final name, flushed, checked and renamed, so that an
    interrupted one leaves nothing at the final name.

    Raises:
        WeightsError: without a network, for a file that is too large, cut short, not a
            checkpoint, or of another hash than the published one.
    """
    target = (cache_dir or cache_folder()) / file.filename
    if target.is_file():
        _check_hash(target, target, file)
        return target
    if urllib.parse.urlsplit(file.url).scheme != "https":
        raise WeightsError(f"{file.url} is not an https address; weights are fetched by https only")
    # Not a `tempfile`: the result keeps the permissions that the user's umask gives.
    temporary = target.with_name(f".{file.filename}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        out = temporary.open("xb")
    except OSError as error:
        raise WeightsError(
            f"the cache folder {target.parent} cannot be written ({error.strerror}); "
            f"set RDBENCH_CACHE to a folder that can"
        ) from error
    try:
        with out:
            _download(file, target, out, opener or _open_https)
            out.flush()
            os.fsync(out.fileno())
        _check_format(temporary, file.url)
        _check_hash(temporary, target, file)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _download(file: WeightsFile, target: Path, out: IO[bytes], opener: Opener) -> None:
    received = 0
    try:
        with opener(file.url) as response:
            expected = int(response.headers.get("Content-Length") or -1)
            while chunk := response.read(_CHUNK):
                received += len(chunk)
                if max(received, expected) > MAX_BYTES:
                    raise WeightsError(
                        f"{file.url} is larger than {MAX_BYTES} bytes and was not downloaded; "
                        f"it cannot be the published file"
                    )
                out.write(chunk)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise WeightsError(_unreachable(file, target, _reason(error))) from error
    if received < expected:
        reason = f"the connection ended after {received} of {expected} bytes"
        raise WeightsError(_unreachable(file, target, reason))


def _unreachable(file: WeightsFile, target: Path, reason: str) -> str:
    return (
        f"weights file {file.filename} could not be downloaded ({reason}): fetch {file.url} "
        f"elsewhere and put it at {target} ({file.hash_note})"
    )


def _reason(error: BaseException) -> str:
    cause = getattr(error, "reason", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open_https(url: str) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": "rdbench"})
    return urllib.request.build_opener(_HttpsOnly).open(request, timeout=_TIMEOUT_S)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_hash(path: Path, target: Path, file: WeightsFile) -> None:
    if file.sha256 is None:
        return
    actual = sha256_of(path)
    if not actual.startswith(file.sha256):
        raise WeightsError(
            f"weights file {file.filename} has SHA-256 {actual}, which does not begin with the "
            f"published {file.sha256}: fetch {file.url} again and put it at {target}"
        )


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint as data: `torch.save`'s formats and safetensors.

    A PyTorch file holds either a table of tensors, or {"state_dict": …, "metadata": {…}}. In a
    safetensors file, metadata values are JSON where they parse as JSON.

    Raises:
        WeightsError: for a file that is absent, too large, cut short, a web page, a package with
            code, or holds anything but finite tensors.
    """
    source = Path(path)
    try:
        kind = _check_format(source, str(source))
        if kind != "safetensors":
            (check_zip_pickle if kind == "zip" else check_legacy_pickle)(source, str(source))
        digest = sha256_of(source)
        raw, metadata = (_read_safetensors if kind == "safetensors" else _read_torch)(source)
    except OSError as error:
        raise WeightsError(f"weights file {source} cannot be read: {_reason(error)}") from error
    return Checkpoint(_tensors(raw, source), digest, source.name, metadata)


def _check_format(path: Path, name: str) -> str:
    """The format by content: "zip", "legacy" or "safetensors"; raises for everything else."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise WeightsError(f"{name} has {size} bytes, more than the {MAX_BYTES} that are read")
    with path.open("rb") as stream:
        head = stream.read(512)
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path, name)
        return "zip"
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < MAX_BYTES:
        _check_safetensors(struct.unpack("<Q", head[:8])[0], name)
        return "safetensors"
    if head.startswith(b"\x80"):
        return "legacy"
    if head.lstrip().startswith(b"<"):
        raise WeightsError(f"{name} is a web page, not weights; download the file itself")
    what = "is empty" if size == 0 else "is neither a PyTorch nor a safetensors checkpoint"
    raise WeightsError(f"{name} {what}; fetch the weights file again")


def _check_safetensors(header_bytes: int, name: str) -> None:
    if header_bytes > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{name} has a header of {header_bytes} bytes, more than the {MAX_HEADER_BYTES} that "
            f"are read; fetch the weights file again"
        )


def _check_zip(path: Path, name: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except OSError:
        raise
    except Exception as error:  # zipfile raises many kinds for what is damaged
        raise WeightsError(
            f"{name} is cut short or damaged ({_reason(error)}); fetch the weights file again"
        ) from error
    if any(e.filename.endswith((".py", "/extern_modules")) for e in entries):
        raise WeightsError(
            f"{name} is a package with code in it, which is never run; "
            f"use the checkpoint that holds weights alone"
        )
    too_much = sum(e.file_size for e in entries) > MAX_BYTES or len(entries) > MAX_ENTRIES
    if too_much or any(e.compress_type != zipfile.ZIP_STORED for e in entries):
        raise WeightsError(
            f"{name} is not laid out as PyTorch writes checkpoints (compressed, or too many "
            f"entries); save it again with torch.save"
        )


def _read_torch(path: Path) -> tuple[Any, Mapping[str, Any]]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for damaged and for hostile files
        found = re.search(r"GLOBAL\s+`?([\w.]+)", str(error))
        if found:
            raise WeightsError(
                f"weights file {path} holds code or objects ({found[1]}) beside tensors, which "
                f"are never loaded; use a checkpoint of plain tensors"
            ) from error
        raise WeightsError(
            f"weights file {path} is damaged or not a checkpoint ({_first_line(error)}); "
            f"fetch it again"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        metadata = content.get("metadata", {})
        return content["state_dict"], metadata if isinstance(metadata, Mapping) else {}
    return content, {}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160].rstrip(" .") if lines else type(error).__name__


def _read_safetensors(path: Path) -> tuple[Any, Mapping[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as archive:
            keys = list(archive.keys())
            if len(keys) > MAX_ENTRIES:
                raise WeightsError(f"weights file {path} holds more than {MAX_ENTRIES} tensors")
            state = {key: archive.get_tensor(key) for key in keys}
            return state, {k: _plain(v) for k, v in (archive.metadata() or {}).items()}
    except SafetensorError as error:
        raise WeightsError(
            f"weights file {path} is damaged ({_first_line(error)}); fetch it again"
        ) from error


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _tensors(raw: Any, path: Path) -> dict[str, torch.Tensor]:
    import torch

    if not isinstance(raw, Mapping) or not raw:
        raise WeightsError(
            f"weights file {path} holds a {type(raw).__name__}, not a table of tensors; "
            f"use a checkpoint that holds a state dict"
        )
    for key, value in raw.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(
                f"weights file {path} holds {key!r} ({type(value).__name__}) where tensors were "
                f"expected; use a checkpoint that holds a state dict alone"
            )
        if value.layout is not torch.strided or value.dtype not in _dtypes():
            raise WeightsError(
                f"weights file {path} holds {key!r} of type {value.dtype}, which no codec here "
                f"uses; use a checkpoint in float32 or float16"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(
                f"weights file {path} has values in {key!r} that are not finite; "
                f"fetch it again, or use a checkpoint of a run that did not diverge"
            )
    return dict(raw)


def _dtypes() -> tuple[torch.dtype, ...]:
    import torch

    floats = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    return (*floats, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


@contextmanager
def without_memory() -> Iterator[None]:
    """Models built in here have shapes and no values (`meta` device), for `load_strict`."""
    import torch

    from rdbench.models.packages import older_weight_norm

    with older_weight_norm(), torch.device("meta"):
        yield


def load_strict(model: torch.nn.Module, checkpoint: Checkpoint, *, codec: str) -> None:
    """Fills `model`, built under `without_memory`, with every tensor of `checkpoint`, in float32.

    Names and shapes must be the same on both sides. The model ends in evaluation mode on the CPU,
    without gradients.

    Raises:
        WeightsError: says how many names are missing, unexpected or of another shape, and the
            first of each.
    """
    expected = model.state_dict()
    state = checkpoint.state
    both = [key for key in expected if key in state]
    faults = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [key for key in both if expected[key].shape != state[key].shape],
    }
    if any(faults.values()):
        said = ", ".join(f"{len(v)} {k} (first {v[0]!r})" for k, v in faults.items() if v)
        raise WeightsError(
            f"weights file {checkpoint.filename} does not fit {codec}: of {len(expected)} tensors "
            f"{said}; give the checkpoint of this model"
        )
    fitted = {key: state[key].to(expected[key].dtype).contiguous() for key in expected}
    model.load_state_dict(fitted, strict=True, assign=True)
    model.requires_grad_(False).eval()
