"""Scores that people gave, as a metric beside the others.

A listening test is a table: condition, clip, listener, score. Imported into a run it becomes the
metric `mos` (1 … 5, ITU-T P.800) or `mushra` (0 … 100, ITU-R BS.1534-3), one row per clip with the
mean over its listeners, so that BD-rate and paired differences can be taken on people's answers.

People differ as clips do, so intervals draw both: groups of clips and, independently, listeners
(the pigeonhole bootstrap: Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007,
which errs on the wide side). The answers themselves are kept in the run's folder as
`subjective/METRIC.csv`; nothing measured is changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.listeners.answers import Lines, read_table
from rdbench.analysis.listeners.webmushra import FOUND, NOT_IN_RUN, UNANSWERED, read_answers
from rdbench.store.atomic import make_folder, write_atomic
from rdbench.store.reader import read_manifest, read_rows
from rdbench.store.schema import COLUMNS, LISTENERS
from rdbench.store.variants import VariantCard, variants_of
from rdbench.suggest import nearest
from rdbench.text import printable
from rdbench.types import RdbenchError, StoreError

if TYPE_CHECKING:
    import pandas as pd

FOLDER = LISTENERS
BACKEND = "listeners"
RATING_COLUMNS = [
    "metric", "system", "curve", "point", "variant", "clip", "listener", "score",
]  # fmt: skip
NEEDED = ("condition", "clip", "listener", "score")
POINT = ["system", "curve", "point", "variant"]


@dataclass(frozen=True)
class Scale:
    """What scores of a kind of test may be."""

    key: str
    name: str
    unit: str
    lower: float
    upper: float
    source: str
    direction: str = "higher"
    definition: str = "mean of the listeners' scores"

    def card(self) -> dict[str, Any]:
        """As a manifest describes a metric."""
        return {
            "key": self.key, "version": 1, "name": self.name, "unit": self.unit,
            "direction": self.direction, "lower": self.lower, "upper": self.upper,
            "identity": "nan", "domains": [], "definition": f"{self.definition}, {self.source}",
            "citation": self.source, "backend": BACKEND, "backend_version": "1",
        }  # fmt: skip


SCALES = {
    "mos": Scale("mos", "MOS", "MOS", 1.0, 5.0, "ITU-T P.800 (1996)"),
    "mushra": Scale("mushra", "MUSHRA", "", 0.0, 100.0, "ITU-R BS.1534-3 (2015)"),
    "ab": Scale(
        "ab",
        "AB, reference found",
        "",
        0.0,
        1.0,
        "two-alternative forced choice",
        direction="lower",
        definition="share of answers that found the reference; 0.5 is guessing",
    ),
}


def import_scores(
    folder: Path,
    answers: Path,
    *,
    scale: str,
    conditions: Mapping[str, str] | None = None,
    key: Path | None = None,
) -> pd.DataFrame:
    """Adds the answers of a listening test to the run in `folder`; returns `RATING_COLUMNS`.

    answers: CSV with the columns condition, clip, listener, score. A condition is a point of the
    run (SYSTEM/POINT or SYSTEM/POINT/VARIANT; SYSTEM where it has one point), or a name that
    `conditions` gives one for ("" leaves it out). A clip is a name of the run, or its file name.
    With `key`, the answers are what webMUSHRA wrote for a test of `rdbench listen`
    (`rdbench.analysis.listeners.webmushra`); its hidden reference and anchors are left out unless
    `conditions` names them. Scores imported before under the same scale are replaced.

    Raises RdbenchError, naming the line, for what is not in the run, scores beyond the scale and
    lines that say the same twice.
    """
    import pandas as pd

    if scale not in SCALES:
        raise RdbenchError(f"the scale {scale!r} is not known; it is one of {', '.join(SCALES)}")
    variants = variants_of(read_manifest(folder))
    rows = read_rows(folder)
    # What was drawn with other seeds stands for no point.
    rows = rows[~rows["variant"].isin([name for name, card in variants.items() if card.of])]
    points = _by_condition(rows, variants)
    clips = _clip_names(rows)
    found: list[dict[str, Any]] = []
    lines: dict[tuple[str, ...], int] = {}
    names = dict.fromkeys(NOT_IN_RUN if key else (), "") | dict(conditions or {})
    for line, row in _read(answers) if key is None else _decoded(answers, key, scale):
        where = f"line {line} of {answers.name}"
        condition = names.get(row["condition"], row["condition"])
        if not condition:
            continue
        point = _known(condition, points, f"{where} names the condition")
        clip = _known(row["clip"], clips, f"{where} names the clip")
        score = _score(row["score"], SCALES[scale], where)
        answer = (*point, clip, row["listener"])
        if answer in lines:
            raise RdbenchError(
                f"{where} repeats line {lines[answer]} (listener {row['listener']!r}, condition "
                f"{row['condition']!r}, clip {row['clip']!r}); keep one of them"
            )
        lines[answer] = line
        found.append(dict(zip(RATING_COLUMNS, (scale, *answer, score), strict=True)))
    if not found:
        raise RdbenchError(f"{answers.name} holds no scores for this run; check its conditions")
    table = pd.DataFrame(found, columns=RATING_COLUMNS)
    make_folder(folder / FOLDER, within=folder)
    text = table.to_csv(index=False, lineterminator="\n")
    write_atomic(folder / FOLDER / f"{scale}.csv", text.encode(), within=folder)
    return table


def read_ratings(folder: Path) -> pd.DataFrame | None:
    """All answers that were imported into a run; None where there are none.

    Raises StoreError for a file that is damaged.
    """
    import pandas as pd

    tables = []
    for path in sorted((folder / FOLDER).glob("*.csv")):
        try:
            columns, rows = read_table(path, strip=False)
            table = pd.DataFrame([cells for _, cells in rows], columns=columns, dtype=str)
            table = table[RATING_COLUMNS].astype({"score": float})
            if (
                not table["metric"].isin(list(SCALES)).all()
                or not np.isfinite(table["score"]).all()
            ):
                raise ValueError("a score on no scale")
            tables.append(table)
        except (ValueError, KeyError, RdbenchError) as error:
            raise StoreError(
                f"{path} is damaged; import the scores again with `rdbench import-scores`"
            ) from error
    return pd.concat(tables, ignore_index=True) if tables else None


def rating_rows(ratings: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """One row per rated point and clip, the mean over its listeners; `rows` are the run's own."""
    mean = ratings.groupby([*POINT, "clip", "metric"], as_index=False, sort=False)["score"].mean()
    known = rows[rows["clip"] != ""]
    # Rows of what failed before anything was read say 0 seconds: the longest counts.
    known = known.sort_values("seconds", ascending=False, kind="stable", na_position="last")
    sides = known.drop_duplicates([*POINT, "clip"])[[*POINT, "clip", "domain", "group", "seconds"]]
    found = mean.merge(sides, on=[*POINT, "clip"], how="inner")
    found = found.rename(columns={"metric": "key", "score": "value"}).assign(
        unit_key="", kind="metric", backend=BACKEND, status="ok", reason="", provenance=""
    )
    found["unit"] = found["key"].map({key: scale.unit for key, scale in SCALES.items()})
    result: pd.DataFrame = found[list(COLUMNS)]
    return result


def rating_cards(ratings: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The cards of the metrics that listeners gave, as in a manifest."""
    return {key: SCALES[key].card() for key in dict.fromkeys(ratings["metric"]) if key in SCALES}


def _read(path: Path) -> Lines:
    columns, rows = read_table(path)
    absent = [name for name in NEEDED if name not in columns]
    if absent:
        raise RdbenchError(
            f"{path.name} lacks the columns {', '.join(absent)}; its first line must name "
            f"{', '.join(NEEDED)}"
        )
    for line, cells in rows:
        empty = [name for name in NEEDED if not cells[name]]
        if empty:
            raise RdbenchError(
                f"line {line} of {path.name} has no {empty[0]}; fill it in or remove the line"
            )
    return rows


def _decoded(answers: Path, key: Path, scale: str) -> Lines:
    """Answers of webMUSHRA as lines of a plain table."""
    kind, given = read_answers(answers, key)
    if kind != scale:
        raise RdbenchError(f"{answers.name} is of a test of the kind {kind}, and not {scale}")
    return [
        (a.line, {"condition": a.condition, "clip": a.clip, "listener": a.listener,
                  "score": str(FOUND.get(a.score, a.score)) if kind == "ab" else a.score})
        for a in given if a.score != UNANSWERED
    ]  # fmt: skip


def _by_condition(
    rows: pd.DataFrame, variants: Mapping[str, VariantCard]
) -> dict[str, tuple[str, ...]]:
    """Points by every name that a condition may have."""
    found: dict[str, tuple[str, ...]] = {}
    points = rows.loc[rows["clip"] != "", POINT].drop_duplicates().astype(str)
    count = points.groupby("system")["point"].nunique()
    for key in points.itertuples(index=False, name=None):
        system, _, point, variant = key
        found[f"{system}/{point}/{variant}"] = key
        if variant in variants and variants[variant].headline:
            found[f"{system}/{point}"] = key
            if count[system] == 1:
                found[system] = key
    return {printable(name): key for name, key in found.items()} | found


def _clip_names(rows: pd.DataFrame) -> dict[str, str]:
    """Clips by name, and by file name and stem where only one clip has it."""
    names = [str(name) for name in rows["clip"].drop_duplicates() if name]
    found: dict[str, str] = {}
    for part in ("stem", "name"):
        short: dict[str, list[str]] = {}
        for name in names:
            short.setdefault(str(getattr(PurePosixPath(name), part)), []).append(name)
        found |= {key: full[0] for key, full in short.items() if len(full) == 1}
    found |= {name: name for name in names}
    return {printable(name): full for name, full in found.items()} | found


def _known(name: str, known: Mapping[str, Any], what: str) -> Any:
    if name in known:
        return known[name]
    raise RdbenchError(
        f"{what} {name!r}, which the run does not have; {nearest(name, list(known))}"
    )


def _score(text: str, scale: Scale, where: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not scale.lower <= score <= scale.upper:
        raise RdbenchError(
            f"{where} has the score {text!r}; {scale.name} goes from {scale.lower:g} to "
            f"{scale.upper:g}"
        )
    return score
