"""`rdbench import-files REFERENCE DECODED…`: what lies in folders made elsewhere; a spec of it."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdbench.cli.options import terminal_width
from rdbench.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rdbench.codecs.elsewhere.survey import PointFound

FINDINGS = 1
MOST_SHOWN = 20
Many = list[str] | None


def command(
    reference: Annotated[Path, typer.Argument(help="The clips: a folder, or a manifest.")],
    decoded: Annotated[
        list[str],
        typer.Argument(metavar="DECODED…", help="FOLDER or POINT=FOLDER: a point of the codec."),
    ],
    name: Annotated[str, typer.Option(help="What the codec is called.")] = "mycodec",
    bitstreams: Annotated[Many, typer.Option(help="Folder of bitstreams, for each point.")] = None,
    byte_counts: Annotated[
        str | None, typer.Option(help="CSV: file, bytes, and point where there are several.")
    ] = None,
    container: Annotated[bool, typer.Option(help="Bytes are those of whole files.")] = False,
    tokens: Annotated[Many, typer.Option(help="Folder of token arrays, for each point.")] = None,
    codebook_size: Annotated[
        list[int] | None, typer.Option(help="Entries of every codebook, or of each in order.")
    ] = None,
    latents: Annotated[Many, typer.Option(help="Folder of mean and scale, for each.")] = None,
    decoded_from: Annotated[str | None, typer.Option(help="Of latents: sample or mean.")] = None,
    stated_kbps: Annotated[
        list[float] | None, typer.Option(help="A rate that is not measured, for each point.")
    ] = None,
    delay: Annotated[int, typer.Option(help="Samples that reconstructions are late by.")] = 0,
    tolerance: Annotated[float, typer.Option(help="Seconds that lengths may differ by.")] = 0.05,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The spec to write.  [default: NAME.yaml]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a spec that is there.")] = False,
) -> None:
    """Says what is found of the clips of REFERENCE in DECODED, and writes a spec that runs it.

    Files are matched by their names without the endings. Nothing is scored. A spec that is there
    is left as it is. Exit code 0: all is as it should be; 1: there are findings, which are printed;
    2: usage.
    """
    from rdbench.codecs.elsewhere.draft import by_point, check_name, draft, for_points
    from rdbench.codecs.elsewhere.survey import corpus_of, survey
    from rdbench.codecs.registry import create
    from rdbench.store.atomic import check_writable, write_atomic

    check_name(name)
    path = out or Path(f"{name}.yaml")
    keep = path.exists() and not force
    if not keep:
        check_writable(path)
    points = by_point(decoded)
    asked = {
        "bitstreams": bitstreams, "tokens": tokens, "latents": latents, "stated_kbps": stated_kbps,
    }  # fmt: skip
    options: dict[str, Any] = {"folders": points}
    for key, values in asked.items():
        if values:
            options[key] = for_points(f"--{key.replace('_', '-')}", values, list(points))
    if byte_counts:
        options["byte_counts"] = byte_counts
    if codebook_size:
        options["codebook_sizes"] = codebook_size if len(codebook_size) > 1 else codebook_size[0]
    if decoded_from:
        options["decoded_from"] = decoded_from
    options |= {"container": True} if container else {}
    options |= {"delay": delay, "tolerance_seconds": tolerance}
    codec: Any = create("files", options=options)
    found = survey(codec, corpus_of(reference).clips, Path())
    rates = Counter(clip.reference_rate for point in found for clip in point.good)
    _print(found, codec.rate_kinds)
    shown = printable(str(path))
    if rates and keep:
        typer.echo(f"\n{shown} was there already and is as it was; --force replaces it")
    elif rates:
        content = draft(name, reference, rates.most_common(1)[0][0], options, path)
        write_atomic(path, content.encode())
        typer.echo(f"\n{shown} is a spec of it: rdbench run {shown}")
    if not rates or any(point.findings for point in found):
        raise typer.Exit(FINDINGS)


def _print(found: Sequence[PointFound], kinds: Sequence[str]) -> None:
    """A row for each point, then what was found wrong."""
    from rdbench.report.text.columns import Column, aligned, fitted

    columns = [
        Column("point", [printable(point.point) for point in found]),
        Column("usable", [f"{len(p.good)}/{len(p.clips)}" for p in found], right=True),
        Column("not of a clip", [str(len(p.strangers)) for p in found], right=True),
        Column("rate (Hz)", [_listed({o.rate for o in p.good}) for p in found], right=True),
        Column("longer by", [_range([o.longer for o in p.good]) for p in found], right=True),
        Column("late by", [_number(p.delay, ".1f") for p in found], right=True),
        *(
            Column(f"kbps ({kind})", [_number(p.kbps(kind), ".2f") for p in found], right=True)
            for kind in kinds
        ),
    ]
    if not kinds:
        columns.append(Column("kbps (no rate)", ["–"] * len(found), right=True))
    width = terminal_width()
    typer.echo(aligned(columns) if width is None else fitted(columns, width=width))
    for point in found:
        for sentence in point.findings[:MOST_SHOWN]:
            typer.echo(printable(f"{point.point}: {sentence}"))
        if (more := len(point.findings) - MOST_SHOWN) > 0:
            typer.echo(f"{printable(point.point)}: and {more} more")


def _listed(values: set[int]) -> str:
    return ", ".join(map(str, sorted(values))) or "–"


def _range(values: list[int]) -> str:
    if not values:
        return "–"
    low, high = min(values), max(values)
    if low == high:
        return f"{low:+d}" if low else "0"
    return f"{low:+d} … {high:+d}"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else format(value, form)
