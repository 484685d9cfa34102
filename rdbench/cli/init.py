"""`rdbench init CLIPS`: a first spec, with what can be found out filled in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rdbench.text import printable
from rdbench.types import SpecError

if TYPE_CHECKING:
    from rdbench.engine.draft import Survey


def command(
    clips: Annotated[
        Path | None,
        typer.Argument(
            help="A folder of audio, a manifest, or the name of a corpus (`rdbench corpora`).  "
            "[default: the clips that come with rdbench]",
            show_default=False,
        ),
    ] = None,
    codec: Annotated[
        list[str] | None,
        typer.Option(help="Yours: module:Class, a name or a checkpoint; repeatable."),
    ] = None,
    domain: Annotated[str | None, typer.Option(help="What the clips are: speech, music, …")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The spec to write.")] = Path(
        "mine.yaml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace a spec that is there.")] = False,
) -> None:
    """Writes a spec for CLIPS and your codec, with a comment on every line; nothing is measured.

    Rate, channels, lengths, groups and domains are taken from the files and their manifest. What
    files of a folder are (speech, music) is asked on a terminal, unless --domain says it.
    """
    from rdbench.engine.draft import UNKNOWN, draft, survey
    from rdbench.store.atomic import check_writable, write_atomic

    shown = printable(str(out))
    if out.exists() and not force:
        raise SpecError(f"{shown} is there already; choose another name with -o, or add --force")
    check_writable(out)
    found = survey(clips, domain)
    if list(found.domains) == [UNKNOWN] and found.kind == "folder" and domain is None and _asks():
        domain = typer.prompt("What are these clips? speech, music, …", default=UNKNOWN)
        found = survey(clips, domain)
    write_atomic(out, draft(found, codec or [], out).encode())
    typer.echo(_said(found))
    more = " --allow-code" * any(":" in one for one in codec or [])
    typer.echo(f"{shown} is a spec of it: rdbench run {shown}{more}")


def _asks() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _said(found: Survey) -> str:
    parts = [f"{len(found.seconds)} clips of {sum(found.seconds) / 60:.1f} minutes"]
    for name, headers in found.domains.items():
        parts.append(f"{printable(name)} at {headers.sample_rate} Hz, {headers.layout}")
    if found.unreadable:
        parts.append(f"{found.unreadable} that cannot be read, and will be failed rows")
    return "; ".join(parts)
