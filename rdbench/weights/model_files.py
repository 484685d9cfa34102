"""What the option `weights` of a metric means: a file, a folder, or a model of the hub.

A folder, or ID@REVISION of the Hugging Face hub (of which its cache alone is looked at), is in the
layout of `transformers`: of it count the configuration, the weights, and what stands beside them
under the names of `rdbench.weights.hub.SIDE_FILES`. Nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rdbench.files import is_file, is_folder, user_path
from rdbench.identity import file_sha256
from rdbench.types import SpecError, WeightsError
from rdbench.weights.hub import CONFIG, SIDE_FILES, TRANSFORMERS_FILES, folder_of, is_id
from rdbench.weights.transformers_models import weights_file

MAIN = "main"
FILE_SUFFIXES = (".pt", ".pth", ".tar", ".bin", ".ckpt", ".safetensors", ".onnx", ".txt")
"""Of what is meant as a file, and not as OWNER/NAME."""


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies: path is a file or a folder, files those of it that are read."""

    path: Path
    files: tuple[Path, ...]

    def hashes(self) -> dict[Path, str]:
        """The SHA-256 (hex) of each file; raises OSError."""
        return {path: file_sha256(path) for path in self.files}


def sha256_of(hashes: Mapping[Path, str]) -> str:
    """One hash of all: of a file its own, of several that of their lines in `sha256sum`'s form."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{value}  {path.name}\n" for path, value in hashes.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def find_model(weights: str, *, named: str) -> ModelFiles:
    """The files of FILE, FOLDER or ID@REVISION (without a revision: of the branch main).

    named: as sentences call what wants it, such as "metric 'wer_basic'".

    Raises:
        SpecError: where there is none of the three.
        WeightsError: for a folder without configuration or weights.
        NotFetchedError: for a model of the hub that is not on this machine.
    """
    path = user_path(weights)
    if is_file(path):
        return ModelFiles(path, (path,))
    if not is_folder(path):
        name, _, revision = weights.partition("@")
        if not is_id(name) or Path(name).suffix in FILE_SUFFIXES:
            raise SpecError(
                f"{named}: there is no model file {path}; give its path in the option 'weights' "
                "(./ is the spec's folder)"
            )
        revision = revision or MAIN
        package = "transformers"
        path = folder_of(
            name,
            "",
            revision,
            codec=named,
            package=package,
            names=TRANSFORMERS_FILES,
            wanted="a file, a folder or an id",
        )
    files = [path / CONFIG, weights_file(path)]
    for file in files:
        if not is_file(file):
            raise WeightsError(
                f"{named}: the folder {path} has no {file.name}; give a folder in transformers' "
                "layout, as `save_pretrained` writes it"
            )
    files += [path / name for name in SIDE_FILES if is_file(path / name)]
    return ModelFiles(path, tuple(files))
