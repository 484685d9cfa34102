"""`rdbench corpora`: public corpora by name: what there is, what is here, how it gets here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rdbench.cli.options import terminal_width
from rdbench.types import DownloadError, SpecError

if TYPE_CHECKING:
    from rdbench.corpora.entries import Entry

WRONG = 1
_STEP = 0.1  # of a file, between two lines that say how far it is

app = typer.Typer(
    help="Public corpora by name (docs/corpora.md).",
    context_settings={"help_option_names": ["-h", "--help"]},
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A corpus that is listed.")]
At = Annotated[
    Path | None, typer.Option("--data", help="The folder of the corpus, where it is another one.")
]


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """Lists public corpora, which a spec names as `corpus: {kind: named, name: NAME}`.

    It says which of them are here, which `rdbench corpora fetch` brings, and which one must ask
    their publishers for.
    """
    if context.invoked_subcommand is None:
        _list()


def _list() -> None:
    from rdbench.cli.listing import print_table, print_wrapped
    from rdbench.corpora.entries import entries

    titles = ("corpus", "domain", "size", "licence", "to be had")
    found = list(entries())
    rows = [(one.name, one.all_domains, one.size, one.licence, _where(one)) for one in found]
    width = terminal_width()
    if width is None:
        print_table(titles, rows)
    else:  # which has no room for licences
        shown = [0, 1, 2, 4]
        print_wrapped([titles[n] for n in shown], [tuple(row[n] for n in shown) for row in rows],
                      width)  # fmt: skip
    typer.echo()
    for one in found:
        if one.by_hand:
            typer.echo(f"{one.name}: {one.homepage}")
    typer.echo("`rdbench corpora show NAME` says all of one, with its licence.")
    if any(one.fetched is None for one in found):
        typer.echo("* not fetched for real yet: its layout was tried on a small imitation")


def _where(known: Entry) -> str:
    from rdbench.corpora.places import is_fetched, place_of

    mark = "" if known.fetched else " *"
    try:
        if is_fetched(place_of(known.name)):
            return "here"
    except DownloadError:  # without a home nothing is here
        pass
    return f"{'by hand' if known.by_hand else 'fetch'}{mark}"


@app.command("show")
def show(name: NameArgument) -> None:
    """Says all that is known of a corpus: files, checksums and where they were found, licence."""
    from rdbench.cli.listing import print_facts
    from rdbench.corpora.entries import entry
    from rdbench.corpora.places import place_of

    known = entry(name)
    said = {
        "title": known.title,
        "domain": known.all_domains,
        "clips": f"{known.clips.count} ({known.clips.found})" if known.clips.count else "",
        "licence": known.licence,
        "cite": known.citation,
        "homepage": known.homepage,
        "to be had": _where(known),
        "by hand": known.by_hand,
        "its place": str(place_of(name)),
        "note": known.note,
        "fetched for real": known.fetched or "by nobody yet, with rdbench",
    }
    for archive in known.archives:
        for part in archive.parts:
            size = f"{part.bytes} bytes" if part.bytes else "size not known"
            said[part.name] = f"{part.url}; {size}; {part.checksum}; {part.found}"
    print_facts(name, said)


@app.command("fetch")
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Corpora that are listed.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The folder that the corpus gets, in place of the cache's."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Take the archives from this folder, without a network."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep-archives", help="Keep the archives, in .NAME.part beside it.")
    ] = False,
) -> None:
    """Brings corpora into the cache: over https, checked, unpacked, whole or not at all.

    What is here is not fetched again, and what broke off is taken up. No run does that by itself.
    """
    from rdbench.corpora.entries import entry
    from rdbench.corpora.fetch import fetch as bring

    if data is not None and len(names) > 1:
        raise SpecError("--data is the folder of one corpus; fetch one at a time with it")
    failed = False
    for known in [entry(name) for name in dict.fromkeys(names)]:
        try:
            place = bring(
                known, folder=data, source=source, say=typer.echo, progress=_progress,
                keep_archives=keep,
            )  # fmt: skip
            typer.echo(f"{known.name}: {place}; its licence: {known.licence}")
        except DownloadError as error:  # the others may be had
            typer.echo(f"rdbench: {error}", err=True)
            failed = True
    if failed:
        raise typer.Exit(WRONG)


def _progress(name: str) -> Callable[[int, int], None]:
    """Tells each tenth of a file."""
    from rdbench.corpora.entries import size_text

    told = 0.0

    def tell(have: int, whole: int) -> None:
        nonlocal told
        if whole and have < whole and have / whole >= told + _STEP:
            told = have / whole
            typer.echo(f"  {name}: {size_text(have)} of {size_text(whole)}", err=True)

    return tell


@app.command("check")
def check(
    what: Annotated[
        str, typer.Argument(metavar="NAME|FOLDER", help="A corpus, or a folder that was fetched.")
    ],
    data: At = None,
) -> None:
    """Looks at every file of a corpus: layout, contents, whether it is audio.

    Exit code 1: findings. The identity that it prints is equal where the clips are, with their
    groups, domains and texts.
    """
    from rdbench.corpora.check import check as look

    known, folder = _found(what, data)
    checked = look(known, folder, _counted)
    typer.echo(f"{known.title}, in {folder}")
    if checked.corpus is not None:
        clips = checked.corpus.clips
        groups = len({(clip.domain, clip.group) for clip in clips})
        typer.echo(f"  {len(clips)} clips in {groups} groups: {', '.join(checked.corpus.domains)}")
        typer.echo(f"  identity {checked.identity}")
    typer.echo(
        "  every file was held against what the fetch recorded"
        if checked.recorded
        else "  no record of a fetch lies there: layout and audio were looked at, no checksums"
    )
    for finding in checked.findings:
        typer.echo(f"  {finding}")
    if checked.findings:
        raise typer.Exit(WRONG)


def _found(what: str, data: Path | None) -> tuple[Entry, Path]:
    """The entry and the folder that are meant."""
    from rdbench.corpora.clips import how_to_get
    from rdbench.corpora.entries import entry, names
    from rdbench.corpora.places import place_of, read_record

    if what not in names() and data is None and Path(what).is_dir():
        record = read_record(Path(what))
        if record is None:
            raise SpecError(
                f"no fetch has made {what}; say which corpus it is: `rdbench corpora check NAME "
                f"--data {what}`"
            )
        return entry(record.corpus), Path(what)
    known = entry(what)
    folder = data if data is not None else place_of(what)
    if not folder.is_dir():
        raise SpecError(f"corpus {what!r} is not in {folder}; {how_to_get(known)}")
    return known, folder


def _counted(done: int, total: int) -> None:
    if sys.stderr.isatty() and (done % 100 == 0 or done == total):
        typer.echo(f"\r{done} of {total}", nl=done == total, err=True)


@app.command("listening")
def listening(
    name: NameArgument,
    data: At = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A new folder for the spec, scores and audio.")
    ] = Path("listening"),
) -> None:
    """Makes a spec and a table of listeners' scores of a test that came with a corpus (odaq)."""
    from rdbench.corpora.listening import SCALE, prepare

    known, folder = _found(name, data)
    made = prepare(known, folder, out)
    typer.echo(
        f"{made.conditions} conditions, {made.trials} trials, {made.listeners} listeners in {out}:"
    )
    typer.echo(f"  rdbench run {made.spec} --out results/{known.name}")
    typer.echo(f"  rdbench import-scores {made.scores} --run results/{known.name} --scale {SCALE}")
    typer.echo(f"  rdbench metrics --against results/{known.name}")
