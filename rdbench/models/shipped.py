"""The checkpoints that come with rdbench, by name."""

from __future__ import annotations

from pathlib import Path

from rdbench.types import WeightsError

FOLDER = Path(__file__).parent / "weights"
_SUFFIX = ".safetensors"


def names() -> list[str]:
    """Names of the shipped checkpoints, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{_SUFFIX}"))


def find(weights: str | Path) -> Path:
    """The file that `weights` means: a shipped name, else a path; raises WeightsError."""
    text = str(weights)
    if text in names():
        return FOLDER / f"{text}{_SUFFIX}"
    path = Path(text)
    if path.is_file():
        return path
    known = ", ".join(names()) or "none"
    raise WeightsError(
        f"weights {text!r} are neither a file nor a checkpoint that comes with rdbench ({known}); "
        "check the name or path"
    )
