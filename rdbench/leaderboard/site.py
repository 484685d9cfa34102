"""Writes the site of a leaderboard: pages that open from `file://`, and from any web server.

What it leaves:

    index.html          boards, submissions, what was left out and why
    boards/NAME.html    a board: figure, ranking, filters, clips
    assets/             plotly, scripts and style, which the boards share
    data/NAME/…         a board's data, read when it is asked for
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.analysis.aggregate import run_points
from rdbench.analysis.ranking import rankings
from rdbench.analysis.runs import fingerprint
from rdbench.leaderboard.boards import Board, Collection, read_collection
from rdbench.leaderboard.page import board_overview, ranking_data
from rdbench.leaderboard.record import REPRODUCED, badges
from rdbench.report.cards import RATE_MEANING, describe, ordered
from rdbench.report.html.content import Content
from rdbench.report.html.files import ASSETS, DATA, PAGE, ReportFolder
from rdbench.report.html.numbering import number
from rdbench.report.html.sound import Sounds
from rdbench.report.html.write import SCRIPTS, environment, write_assets, write_data
from rdbench.report.names import clean, slug

if TYPE_CHECKING:
    import jinja2

BOARDS = "boards"
MARK = ".rdbench-leaderboard"
SCRIPT = "leaderboard.js"
LONGEST_SENTENCE = 400
LONGEST_TEXT = 2000


def _say_nothing(what: str) -> None:
    """Where nobody waits."""


def write_site(
    submissions: Path, out: Path, *, at: Callable[[str], None] = _say_nothing
) -> tuple[Path, Collection]:
    """Builds the site of the submissions below a folder; returns its first page, and what is in it.

    at: is told what is being done. Raises StoreError, SpecError and RdbenchError as
    `read_collection` does, and for an `out` that cannot be written or holds something else.
    """
    at("reading submissions")
    found = read_collection(submissions)
    folder = ReportFolder(out, out, mark=MARK, more=(BOARDS,))
    folder.open()
    templates = environment()
    _add_own(templates)
    pages = []
    for board in found.boards:
        if board.entries:
            at(f"the board {clean(board.title)}")
            pages.append(_write_board(board, folder, templates))
    write_assets(folder)
    own = files("rdbench.leaderboard") / "assets"
    folder.write(f"{ASSETS}/{SCRIPT}", (own / SCRIPT).read_bytes())
    page = templates.get_template("index.html.j2").render(_index(found, pages))
    folder.write(PAGE, page.encode())
    return out / PAGE, found


def _add_own(templates: jinja2.Environment) -> None:
    import jinja2

    assert templates.loader is not None
    own = jinja2.PackageLoader("rdbench.leaderboard")
    templates.loader = jinja2.ChoiceLoader([own, templates.loader])


def _write_board(
    board: Board, folder: ReportFolder, templates: jinja2.Environment
) -> dict[str, Any]:
    """Writes a board's page and data; returns what the first page says of it."""
    run = board.run
    points = run_points(run)
    card = describe(points, run.manifest)
    content = Content(Path(), run, points, card, number(run.rows, points, card))
    name = slug(board.name)
    take = partial(folder.data, of=name)
    sounds = Sounds(frozenset(), {})
    found = list(rankings(run))
    kinds = ordered([ranking.kind for ranking in found], list(RATE_MEANING))
    write_data(content, take, sounds, {}, board_overview(board, content, kinds))
    for place, told in ranking_data(board, content, found):
        take(place, told)
    context = {
        "title": clean(board.title, longest=200),
        "description": "",
        "corpus": card.corpus.rstrip("."),
        "protocol": card.protocol,
        "fingerprint": clean(fingerprint(run.manifest))[:12],
        "finished": "",
        "version": _version(),
        "missing": [],
        "kinds": [(kind, RATE_MEANING.get(kind, kind)) for kind in kinds],
        "scripts": ("plotly.min.js", *SCRIPTS, SCRIPT),
        "root": "../",
        "data": f"../{DATA}/{name}",
        "sections": [],
        "latents": [],
        "apart": [clean(text, longest=LONGEST_SENTENCE) for text in board.apart],
        "versions": _versions(board),
    }
    page = templates.get_template("board.html.j2").render(context)
    folder.write(f"{BOARDS}/{name}.html", page.encode())
    return {
        "path": f"{BOARDS}/{name}.html",
        "title": context["title"],
        "corpus": context["corpus"],
        "protocol": card.protocol_brief,
        "systems": len(card.curves),
        "submissions": len(board.submissions),
        "clips": len(content.numbers.clips),
        "kinds": ", ".join(kinds),
    }


def _versions(board: Board) -> list[tuple[str, str, str]]:
    """Metrics with their versions, and what each is."""
    return [
        (
            clean(str(card.get("name") or key)),
            clean(str(card.get("version") or "")),
            clean(str(card.get("definition") or ""), longest=LONGEST_SENTENCE),
        )
        for key, card in board.cards.get("metrics", {}).items()
    ]


def _index(found: Collection, pages: list[dict[str, Any]]) -> dict[str, Any]:
    rows = []
    for board in found.boards:
        for submission in board.submissions:
            given, _ = badges(submission)
            good = sum(badge == REPRODUCED for badge in given.values())
            form = submission.form
            rows.append(
                {
                    "name": clean(submission.name),
                    "by": clean(form.by, longest=120),
                    "board": clean(board.title, longest=200),
                    "path": f"{BOARDS}/{slug(board.name)}.html",
                    "description": clean(form.description, longest=LONGEST_SENTENCE),
                    "link": form.link,
                    "measured": clean(str(submission.manifest.get("finished") or ""))[:10],
                    "reproduced": f"{good} of {len(given)}",
                }
            )
    return {
        "title": clean(found.config.title, longest=200),
        "description": clean(found.config.description, longest=LONGEST_TEXT),
        "pages": pages,
        "rows": rows,
        "left_out": [
            (clean(name), clean(why, longest=LONGEST_SENTENCE)) for name, why in found.left_out
        ],
        "said": [clean(text, longest=LONGEST_SENTENCE) for text in found.said],
        "version": _version(),
    }


def _version() -> str:
    from rdbench.version import __version__

    return __version__
