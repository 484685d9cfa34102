"""What a codec that is not rdbench's own consists of, for the keys of its units.

Its version says too little: its code is changed, another checkpoint is put at the same path. So
keys have the hash of a model's weights, of its class's module and of all modules beside it, and of
every file that an option names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.engine.keys import file_sha256

if TYPE_CHECKING:
    import torch

    from rdbench.codecs.base import Codec

_INSTALLED = ("site-packages", "dist-packages")


def source_of(codec: Codec, options: str) -> tuple[str, ...]:
    """Hashes of code and files; none for a codec of rdbench's, which knows its own.

    options: as JSON.
    """
    module = type(codec).__module__
    if module.partition(".")[0] == "rdbench":
        return ()
    return (*_code(module), *_files(json.loads(options))) or (module,)


def name_weights(codec: Codec) -> None:
    """Gives a VAE that says nothing of its weights the hash of its tensors.

    So that they are in its units' keys and in the manifest, and tables that were fitted to other
    weights are not taken for its own.
    """
    if isinstance(codec, PosteriorCodec) and not codec.info.weights_sha256:
        codec.info = replace(codec.info, weights_sha256=weights_sha256(codec.modules))


def weights_sha256(model: torch.nn.Module) -> str:
    """SHA-256 of a model's tensors with their names, types and shapes."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy())
    return digest.hexdigest()


def _code(module: str) -> Iterator[str]:
    """Of the module's own file, and of what is imported from its package, or from its folder."""
    own = getattr(sys.modules.get(module), "__file__", None)
    if own is None:
        return
    package = sys.modules[module.partition(".")[0]]
    root = Path(getattr(package, "__file__", None) or own).resolve().parent
    alone = "." not in module and not hasattr(package, "__path__")
    installed = any(part in _INSTALLED for part in root.parts)
    files = {Path(own).resolve()}
    if not (alone and installed):  # a lone module of site-packages has strangers beside it
        for other in list(sys.modules.values()):
            path = Path(getattr(other, "__file__", None) or "/").resolve()
            if path.is_relative_to(root) and not any(
                part in _INSTALLED for part in path.relative_to(root).parts
            ):
                files.add(path)
    for file in sorted(files):
        if file.is_file():
            yield file_sha256(file)


def _files(option: object) -> Iterator[str]:
    """Of every file that a text in an option names; of a folder, what lies in it and when."""
    if isinstance(option, dict | list):
        for value in option.values() if isinstance(option, dict) else option:
            yield from _files(value)
    elif isinstance(option, str) and option:
        with contextlib.suppress(OSError, ValueError):  # most texts are no paths
            path = Path(option).expanduser()
            if path.is_file():
                yield file_sha256(path)
            elif path.is_dir():
                for file in sorted(path.rglob("*")):
                    stat = file.stat()
                    yield f"{file.relative_to(path)} {stat.st_size} {stat.st_mtime_ns}"
