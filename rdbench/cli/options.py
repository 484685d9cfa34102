"""What several subcommands take: options that are declared once, and how their values are read."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rdbench.types import SpecError

if TYPE_CHECKING:
    from rdbench.spec.model import BenchmarkSpec

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A results folder.")]
DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Folder that replaces the corpus folder of the spec.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most this many clips.")]
CodecOptions = Annotated[
    list[str] | None,
    typer.Option("--option", help="SYSTEM.KEY=VALUE: replaces a codec option, as lyra.models=DIR."),
]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Let `module:Class` codecs and commands of the spec run."),
]
AllowDownload = Annotated[
    bool,
    typer.Option(
        "--allow-download",
        help="Fetch published weights that are not on this machine (docs/weights.md).",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only errors.")]


def read_spec(
    path: Path,
    *,
    data: Path | None = None,
    limit: int | None = None,
    options: Sequence[str] = (),
    quiet: bool = True,
) -> BenchmarkSpec:
    """The spec at `path`, or of that name, with what the command line replaces; raises SpecError.

    Says where it was found, unless quiet, where a name could mean two.
    """
    from rdbench.engine.specs import read_spec as read
    from rdbench.spec import shipped

    spec = read(path, data=data, limit=limit, options=parse_options(options))
    if not quiet and str(path) in shipped.names():
        which = "the one that comes with rdbench" if shipped.is_name(path) else "the file here"
        typer.echo(f"the spec {path}: {which}", err=True)
    return spec


def parse_options(items: Sequence[str]) -> dict[tuple[str, str], str]:
    """SYSTEM.KEY=VALUE, as values by system and key; raises SpecError."""
    replaced = {}
    for item in items:
        name, equals, value = item.partition("=")
        system, dot, key = name.partition(".")
        if not (equals and dot and system and key):
            raise SpecError(f"--option {item!r} is not of the form SYSTEM.KEY=VALUE")
        replaced[system, key] = value
    return replaced


def find_code(spec: Path) -> None:
    """Lets `module:Class` be found beside the spec, as a script finds what lies beside it, or in
    the current folder.
    """
    sys.path[:0] = [str(spec.parent.absolute()), str(Path.cwd())]


def is_spec(name: str) -> bool:
    """Whether an argument that may name other things means a spec."""
    from rdbench.spec import shipped

    return name.endswith((".yaml", ".yml")) or shipped.is_name(name)


def terminal_width() -> int | None:
    """Columns of the terminal that standard output leads to; None where it leads elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def parse_pairs(items: Sequence[str]) -> list[tuple[str, str]]:
    """SYSTEM/POINT=SYSTEM/POINT, as pairs; raises SpecError."""
    found = []
    for item in items:
        test, equals, other = item.partition("=")
        if not (equals and test and other):
            raise SpecError(f"--pair {item!r} is not of the form SYSTEM/POINT=SYSTEM/POINT")
        found.append((test.strip(), other.strip()))
    return found


def parse_targets(items: Sequence[str]) -> dict[str, list[float]]:
    """METRIC=VALUE, as qualities by metric; raises SpecError."""
    found: dict[str, list[float]] = {}
    for item in items:
        key, _, text = item.partition("=")
        try:
            value = float(text)
        except ValueError:
            raise SpecError(f"--reach {item!r} is not of the form METRIC=VALUE") from None
        found.setdefault(key.strip(), []).append(value)
    return found


def parse_names(items: Sequence[str]) -> dict[str, str]:
    """NAME=MEANING, where the meaning may be empty; raises SpecError."""
    found = {}
    for item in items:
        name, equals, meaning = item.rpartition("=")
        if not (equals and name.strip()):
            raise SpecError(f"--condition {item!r} is not of the form NAME=SYSTEM/POINT")
        found[name.strip()] = meaning.strip()
    return found
