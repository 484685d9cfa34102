"""A benchmark spec for reconstructions that were made elsewhere, with comments on every line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from rdbench.text import printable
from rdbench.types import SpecError

COMMENTS = {
    "folders": "named like the clips; endings are of no account",
    "bitstreams": "every byte is counted as payload",
    "byte_counts": "CSV with the columns file and bytes, and point where wanted",
    "container": "the bytes are those of whole files, headers and all",
    "tokens": "arrays (codebooks, frames)",
    "codebook_sizes": "entries of every codebook, or of each",
    "latents": ".npz with mean and scale, (channels, frames)",
    "decoded_from": "sample, or mean: the latter is no rate point",
    "stated_kbps": "not measured, and called stated wherever it is shown",
    "delay": "samples at the rate of the files",
    "tolerance_seconds": "longer ones are cut, shorter ones filled up with zeros",
}
PATHS = ("folders", "bitstreams", "byte_counts", "tokens", "latents")


def by_point(folders: Sequence[str]) -> dict[str, str]:
    """Folders by the names of their points: NAME=FOLDER, or the folder's own name.

    Raises SpecError where two have one name.
    """
    found: dict[str, str] = {}
    for text in folders:
        name, equals, folder = text.partition("=")
        path = folder if equals else text
        point = name if equals else Path(text).resolve().name
        if point in found:
            raise SpecError(
                f"two folders would be the point {point!r}; name their points, as in "
                f"first={found[point]} second={path}"
            )
        found[point] = path
    return found


def for_points(option: str, values: Sequence[Any], points: Sequence[str]) -> dict[str, Any]:
    """The values of an option in the order of the points.

    Raises SpecError for another number of them, and for a folder that is called like another point.
    """
    if len(values) != len(points):
        raise SpecError(
            f"{option} is given {len(values)} times, and there are {len(points)} folders of "
            f"reconstructions ({', '.join(points)}); give one for each, in their order"
        )
    for point, value in zip(points, values, strict=True):
        other = Path(value).name if isinstance(value, str) else point
        if other != point and other in points:
            raise SpecError(
                f"{option} {value} is given for the point {point!r}, and there is a point "
                f"{other!r}; give the folders in the order of those of the reconstructions"
            )
    return dict(zip(points, values, strict=True))


def draft(name: str, corpus: Path, sample_rate: int, options: Mapping[str, Any], out: Path) -> str:
    """The text of a spec that is written to `out`, whose paths are relative to its folder.

    name: of the system. sample_rate: at which is scored, in hertz. options: of the codec `files`.
    """
    kind = "manifest" if corpus.is_file() else "folder"
    lines = [
        f"name: {quoted(name)}",
        "corpus:",
        f"  kind: {kind}",
        f"  path: {quoted(path_from(out, corpus))}",
        "protocol:",
        f"  sample_rate: {sample_rate}  # reference and reconstruction are scored at this rate",
        "  channels: native",
        "  excerpt_seconds: null  # what was made elsewhere is of whole clips",
        "metrics:  # `rdbench metrics` lists them; PESQ, STOI and ViSQOL need the corpus's domain",
        f"  default: [si_sdr, {'mel_dac_16k' if sample_rate <= 16_000 else 'mel_dac_44k'}]",
        "systems:",
        "  - codec: files",
        f"    name: {quoted(name)}",
        "    options:",
    ]
    for key, value in options.items():
        shown = _moved(value, out) if key in PATHS else value
        lines.append(f"      {key}: {_yaml(shown)}  # {COMMENTS[key]}")
    lines += [
        "  - {codec: opus, points: [6, 12, 24, 48]}  # what to compare with, on the same clips",
        "costs: {enabled: false}  # nothing of it is run here, so that nothing can be timed",
    ]
    return "\n".join(lines) + "\n"


def _moved(value: Any, out: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: path_from(out, Path(one)) for key, one in value.items()}
    return path_from(out, Path(value))


def path_from(out: Path, path: Path) -> str:
    """A path as a spec in the folder of `out` names it."""
    return Path(os.path.relpath(path, out.parent)).as_posix()


def check_name(name: str) -> None:
    """Raises SpecError for what can be the name of no system."""
    if not name or not name.isprintable() or {"/", "\\"} & set(name) or name.endswith("."):
        raise SpecError(
            f"--name is {name[:80]!r}; use printable signs without slashes, and no dot at the end"
        )


def _yaml(value: Any) -> str:
    """Flow style, as in JSON, but for numbers: YAML takes 1e-05 for a text."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{quoted(str(key))}: {_yaml(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(value: str) -> str:
    """In quotes; raises SpecError for a name of bytes that are no UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SpecError(
            f"{printable(value)} is no UTF-8 and cannot stand in a spec; rename it"
        ) from None
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)
