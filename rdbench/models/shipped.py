"""The checkpoints that come with rdbench, by name."""

from __future__ import annotations

from pathlib import Path

from rdbench.files import is_file
from rdbench.suggest import nearest
from rdbench.types import WeightsError

FOLDER = Path(__file__).parent / "weights"
_SUFFIX = ".safetensors"


def names() -> list[str]:
    """Names of the shipped checkpoints, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{_SUFFIX}"))


def find(weights: str | Path) -> Path:
    """The file that `weights` means: a shipped name, else a path.

    Raises WeightsError for what is neither.
    """
    text = str(weights)
    if text in names():
        return FOLDER / f"{text}{_SUFFIX}"
    path = Path(text)
    if is_file(path):
        return path
    raise WeightsError(
        f"weights {text!r} are neither a file nor a checkpoint that comes with rdbench; "
        f"{nearest(text, names(), many='it has')}"
    )
