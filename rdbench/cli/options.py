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
    path: Path, *, data: Path | None = None, limit: int | None = None, options: Sequence[str] = ()
) -> BenchmarkSpec:
    """The spec at `path` with what the command line replaces; raises SpecError."""
    from rdbench.codecs.registry import names
    from rdbench.metrics.registry import keys
    from rdbench.spec.load import load_spec, with_limit, with_option

    spec = load_spec(path, metric_keys=keys(), codec_names=names(), data=data)
    if limit is not None:
        spec = with_limit(spec, limit)
    for item in options:
        name, equals, value = item.partition("=")
        system, dot, key = name.partition(".")
        if not (equals and dot and system and key):
            raise SpecError(f"--option {item!r} is not of the form SYSTEM.KEY=VALUE")
        spec = with_option(spec, system, key, value)
    return spec


def find_code(spec: Path) -> None:
    """Lets `module:Class` be found beside the spec, as a script finds what lies beside it, or in
    the current folder.
    """
    sys.path[:0] = [str(spec.parent.absolute()), str(Path.cwd())]


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
