"""The specs that come with rdbench, by name; a file of the same name in the way wins.

Relative paths of a spec that comes with rdbench start in the current folder, since nothing of a
user's lies beside it; tables that it names and that are not there are those that come with it.
"""

from __future__ import annotations

import os
from pathlib import Path

from rdbench.files import is_file
from rdbench.suggest import nearest
from rdbench.types import SpecError

FOLDER = Path(__file__).parent / "benchmarks"
_SUFFIX = ".yaml"

TIMES = {
    "equal_rate_16k": "three minutes, after some five core-hours of training",
    "generation_16k": "half an hour, after two hours of probes",
    "latent_16k": "eight minutes",
}
"""How long a run takes with its own clips on two cores, where that was measured."""


def names() -> list[str]:
    """Names of the specs that come with rdbench, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{_SUFFIX}"))


def is_name(spec: str | os.PathLike[str]) -> bool:
    """Whether `spec` means one that comes with rdbench: its name, and no file that is there."""
    return os.fspath(spec) in names() and not is_file(Path(spec))


def find(spec: str | os.PathLike[str]) -> Path:
    """The file that `spec` means: a path, or the name of a spec that comes with rdbench.

    Raises SpecError for what is neither and looks like a name.
    """
    text, path = os.fspath(spec), Path(spec)
    if is_name(spec):
        return FOLDER / f"{text}{_SUFFIX}"
    if os.path.lexists(path):
        return path
    if not path.suffix and path.name == text:
        raise SpecError(
            f"there is neither a file {text!r} nor a spec of that name that comes with rdbench; "
            f"{nearest(text, names(), many='those are')}"
        )
    if path.stem in names():
        raise SpecError(
            f"there is no file {text!r}; the spec that comes with rdbench is named {path.stem}"
        )
    return path


def tables(path: Path) -> Path:
    """The file of entropy tables at `path`, or the one of that name that comes with rdbench."""
    own = FOLDER / path.name
    return own if is_file(own) and not os.path.lexists(path) else path
