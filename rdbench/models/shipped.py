"""The checkpoints that come with rdbench, by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from rdbench.types import CodecError, WeightsError

FOLDER = Path(__file__).parent / "weights"
_SUFFIX = ".safetensors"


def names() -> list[str]:
    """Names of the shipped checkpoints, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{_SUFFIX}"))


def find(weights: str | Path) -> Path:
    """The file that `weights` means: a shipped name, else a path.

    Raises CodecError for a name that is nearly one, WeightsError for what is not there.
    """
    text = str(weights)
    if text in names():
        return FOLDER / f"{text}{_SUFFIX}"
    path = Path(text)
    if path.is_file():
        return path
    near = difflib.get_close_matches(text, names(), n=1, cutoff=0.5)
    if near and not path.suffix and len(path.parts) == 1:
        raise CodecError(f"there is no checkpoint {text!r} in rdbench; did you mean {near[0]!r}?")
    known = ", ".join(names()) or "none"
    raise WeightsError(
        f"weights {text!r} are neither a file nor a checkpoint that comes with rdbench ({known}); "
        "check the name or path"
    )
