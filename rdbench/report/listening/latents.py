"""Writes a page to listen to what was made of latents: a folder that opens from `file://`.

    index.html      the page; its players are those of the HTML report
    listen.csv      every sound with its numbers and its file
    audio/SYSTEM/   the sounds, 16-bit FLAC
    data/, assets/  what the page reads

The numbers are of the sounds before they were rounded, and clipped, for the files. The same groups
give the same bytes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from rdbench.latent.listening.heard import NUMBERS, PARTS, Group, Heard, Sound
from rdbench.report.html.files import ASSETS, PAGE, ReportFolder
from rdbench.report.html.sound import REFERENCE, flac
from rdbench.report.names import clean, slug
from rdbench.report.spreadsheet import spreadsheet
from rdbench.types import RdbenchError

MARK = ".rdbench-listening"
AUDIO, TABLE = "audio", "listen.csv"
TEMPLATE, STYLE = "latents.html.j2", "report.css"
# In the order in which they are run; all but the last are the HTML report's.
SCRIPTS = (
    "data.js", "format.js", "tables.js", "fourier.js", "spectrogram.js", "pictures.js",
    "player.js", "clips.js", "latents.js",
)  # fmt: skip
LONGEST = 400
"""Signs of a name or a sentence on the page."""
_NONE = "–"


def write_listening(heard: Heard, out: Path) -> list[Path]:
    """Takes the groups of `heard` and writes the page into `out`; returns page and table.

    What an earlier page left in `out` is removed; no link is followed below it. Raises StoreError
    for an `out` that holds something else or cannot be written, RdbenchError where there is
    nothing to hear.
    """
    folder = ReportFolder(out, out, mark=MARK, more=(AUDIO, TABLE))
    folder.open()
    shown: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for number, group in enumerate(heard.groups):
        paths = _write_group(folder, number, group)
        rows += _rows(group, paths)
        shown.append(_shown(number, group, paths))
    if not shown:
        raise RdbenchError(
            f"there is nothing to hear: {(heard.failures or heard.lacking or ['no clip'])[0]}"
        )
    folder.write(TABLE, _table(rows).encode("utf-8", errors="replace"))
    folder.data("overview", {"numbers": _numbers(), "groups": [_played(one) for one in shown]})
    own = files("rdbench.report.html") / "assets"
    for name in (*SCRIPTS, STYLE):
        folder.write(f"{ASSETS}/{name}", (own / name).read_bytes())
    # The page comes last: where it is, all that it needs is there.
    folder.write(PAGE, _page(heard, shown).encode("utf-8", errors="replace"))
    return [out / PAGE, out / TABLE]


def _write_group(folder: ReportFolder, number: int, group: Group) -> list[str]:
    """Writes the sounds of a group, for the page too; returns the files, the reference first."""
    place = f"{AUDIO}/{slug(group.system)}/{number + 1:03d}_{group.part}"
    named = [(REFERENCE, group.reference), *((one.name, one.samples) for one in group.sounds)]
    paths = []
    for index, (name, samples) in enumerate(named):
        content = flac(samples, group.sample_rate)
        paths.append(f"{place}/{index:02d}_{slug(name)}.flac")
        folder.write(paths[-1], content)
        heard_as = index - 1 if index else REFERENCE
        folder.data(f"audio/{number}/{heard_as}", base64.b64encode(content).decode("ascii"))
    folder.data(f"clips/{number}", _scores(group.sounds))
    return paths


def _scores(sounds: Sequence[Sound]) -> dict[str, Any]:
    """What the player's table has of a group: numbers by sound and by their place in `NUMBERS`."""
    scores = {
        index: {
            place: one.numbers[key]
            for place, key in enumerate(NUMBERS)
            if math.isfinite(one.numbers.get(key, math.nan))
        }
        for index, one in enumerate(sounds)
    }
    return {
        "reference": True, "audio": list(range(len(sounds))), "scores": scores, "kbps": {},
        "reasons": {}, "traces": {},
    }  # fmt: skip


def _rows(group: Group, paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    for one, path in zip(group.sounds, paths[1:], strict=True):
        yield {
            "system": group.system, "part": group.part, "group": group.title, "sound": one.name,
            "file": path, **one.numbers,
        }  # fmt: skip


def _table(rows: Sequence[dict[str, Any]]) -> str:
    import pandas as pd

    columns = ["system", "part", "group", "sound", "file", *NUMBERS]
    return spreadsheet(pd.DataFrame(rows).reindex(columns=columns))


def _numbers() -> list[dict[str, Any]]:
    return [
        {"name": one.title, "arrow": "", "decimals": one.decimals, "set": False}
        for one in NUMBERS.values()
    ]


def _shown(number: int, group: Group, paths: Sequence[str]) -> dict[str, Any]:
    """A group as the page has it; it keeps no sounds."""
    keys = [key for key in NUMBERS if any(key in one.numbers for one in group.sounds)]
    return {
        "number": number,
        "system": clean(group.system),
        "part": group.part,
        "title": clean(f"{group.system}: {group.title}", longest=LONGEST),
        "note": clean(group.note, longest=LONGEST),
        "columns": [NUMBERS[key].title for key in keys],
        "places": [list(NUMBERS).index(key) for key in keys],
        "rows": [
            {
                "name": clean(one.name),
                "path": path,
                "cells": [_cell(key, one.numbers.get(key, math.nan)) for key in keys],
            }
            for one, path in zip(group.sounds, paths[1:], strict=True)
        ],
    }


def _played(shown: dict[str, Any]) -> dict[str, Any]:
    names = [row["name"] for row in shown["rows"]]
    return {key: shown[key] for key in ("title", "note", "places")} | {"names": names}


def _cell(key: str, value: float) -> str:
    if not math.isfinite(value):
        return _NONE
    # Adding zero takes the sign off a rounded −0.
    return f"{round(value, NUMBERS[key].decimals) + 0.0:.{NUMBERS[key].decimals}f}".replace(
        "-", "−"
    )


def _page(heard: Heard, shown: Sequence[dict[str, Any]]) -> str:
    import jinja2

    from rdbench.version import __version__

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rdbench.report.html"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    by_part = {
        title: [one for one in shown if one["part"] == part] for part, title in PARTS.items()
    }
    return environment.get_template(TEMPLATE).render(
        title=clean(heard.title, longest=LONGEST),
        about=[clean(text, longest=LONGEST) for text in heard.about],
        failures=[clean(text, longest=LONGEST) for text in heard.failures],
        lacking=[clean(text, longest=LONGEST) for text in heard.lacking],
        parts={title: groups for title, groups in by_part.items() if groups},
        table=TABLE,
        scripts=SCRIPTS,
        version=__version__,
    )
