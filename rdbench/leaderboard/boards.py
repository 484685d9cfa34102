"""Which submissions stand side by side: one board for each protocol and its clips.

A board is founded by a submission, whose protocol, clips and metric versions all others must have:

    # leaderboard.yaml beside the submissions; without it, every submission that fits no board that
    # is there founds one, in the order of the folders
    title: Codecs of the workshop
    description: Who is welcome, and where to ask.
    boards:
      speech_16k: {like: speech_16k, title: "Speech, 16 kHz", anchor: opus}

`like` is the name of a folder or, where none has it, of a submission. A submission with findings,
or that fits no board, is left out with a sentence, and the others stand. Of one that fits, a metric
of another version is not compared and listed apart; curves that are measurement by measurement
those of an earlier submission, by their keys and their values, stand once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdbench.analysis.extent import check_extent
from rdbench.analysis.runs import Run, contents, differences, fingerprint, run_of
from rdbench.files import is_file, is_folder
from rdbench.leaderboard.check import check_submission
from rdbench.leaderboard.form import FORM, Name, SystemForm
from rdbench.leaderboard.record import (
    REPRODUCED,
    SECONDS,
    SELF_REPORTED,
    allowances,
    badges,
)
from rdbench.leaderboard.submission import Submission
from rdbench.spec.complaints import sentence
from rdbench.spec.load import read_yaml
from rdbench.store.merge.manifests import options_of
from rdbench.store.reader import read_rows
from rdbench.store.schema import Kind
from rdbench.store.variants import variants_of
from rdbench.suggest import nearest
from rdbench.types import RdbenchError, SpecError, Status, StoreError

if TYPE_CHECKING:
    import pandas as pd

CONFIG = "leaderboard.yaml"
SHOWN = 3
CARD = ("codec", "label", "headline", "points", "failure", "family", "parameters")
"""What a page takes of the card of a system."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BoardConfig(_Strict):
    """like: the submission that founds it. anchor: the curve that BD-rates begin with, by its name
    in that submission.
    """

    like: str
    title: str = Field(default="", max_length=200)
    anchor: str = ""


class Config(_Strict):
    """See the module."""

    title: str = Field(default="Leaderboard", max_length=200)
    description: str = Field(default="", max_length=2000)
    boards: dict[Name, BoardConfig] = Field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A curve of a board. badge: the least of its systems' badges. said: what the form says of the
    first of them.
    """

    submission: Submission
    label: str
    badge: str
    family: str
    said: SystemForm
    licence: str


@dataclass
class Board:
    """A board while submissions are put on it. entries: by curve. apart: sentences on metrics that
    are not compared, and on curves that stand elsewhere already.
    """

    name: str
    title: str
    anchor: str
    founder: Submission
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    apart: list[str] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)
    _rows: list[pd.DataFrame] = field(default_factory=list)
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    _seconds: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        """All that stands on it, as one run; raises StoreError where that is too much."""
        import pandas as pd

        rows = pd.concat(self._rows, ignore_index=True)
        check_extent(rows, self.name)
        return run_of(self.name, rows, self._manifest())

    def fits(self, submission: Submission) -> bool:
        """Whether it is of the board's protocol, and of some of its clips."""
        mine, theirs = self.founder.manifest, submission.manifest
        same = set(contents(mine).items()) & set(contents(theirs).items())
        return fingerprint(mine) == fingerprint(theirs) and bool(same)

    def add(self, submission: Submission) -> str:
        """Puts a submission that fits on the board; why that cannot be, or ""."""
        rows, why = self._compared(submission)
        if why or rows is None:
            return why
        run = Run(submission.name, rows, submission.manifest)
        metrics = self.cards.setdefault("metrics", {})
        for key, card in run.metrics.items():
            known = metrics.setdefault(key, dict(card))
            if _identity(known) != _identity(card):
                which = [f"version {one.get('version')}" for one in (card, known)]
                which = which if which[0] != which[1] else ["of other options", "of its own"]
                self.apart.append(
                    f"{submission.name}: {key} is {which[0]} there and {which[1]} on this board; "
                    "it is not compared"
                )
                rows = rows[(rows["kind"] != Kind.METRIC.value) | (rows["key"] != key)]
        self.cards.setdefault("variants", {}).update(
            {name: card.as_dict() for name, card in variants_of(submission.manifest).items()}
        )
        self._take_curves(submission, rows)
        self.submissions.append(submission)
        return ""

    def _compared(self, submission: Submission) -> tuple[pd.DataFrame | None, str]:
        """The rows that a board compares, of clips that it has; or why none are."""
        manifest = submission.manifest
        base = Run(self.name, _no_rows(), {**self.founder.manifest, **self.cards, "metrics": {}})
        found = differences(base, Run(submission.name, _no_rows(), manifest))
        if found:
            return None, found[0]
        there, here = contents(manifest), contents(self.founder.manifest)
        missing = sorted(set(here) - set(there))
        measured = {domain for domain, _ in there}
        if lacking := [name for domain, name in missing if domain in measured]:
            shown = ", ".join(lacking[:SHOWN]) + (", …" if len(lacking) > SHOWN else "")
            return None, f"{len(lacking)} of the board's {len(here)} clips are missing ({shown})"
        rows = read_rows(submission.folder)
        cards = variants_of(manifest)
        sent = [
            name
            for name, card in cards.items()
            if card.transmitted and not card.of and not card.digest
        ]
        chosen = rows["kind"].isin([Kind.RATE.value, Kind.METRIC.value])
        chosen &= rows["variant"].isin(sent)
        clips = zip(rows["domain"], rows["clip"], strict=True)
        # The value of a set is of exactly its clips.
        whole = {
            domain for domain in measured if _clips_of(there, domain) == _clips_of(here, domain)
        }
        inside = [(domain, clip) in here if clip else domain in whole for domain, clip in clips]
        chosen &= np.array(inside, dtype=bool)
        if not chosen.any():
            return None, "nothing in it was decoded from what can be transmitted"
        rows = rows[chosen].reset_index(drop=True)
        return rows, self._other_seconds(rows)

    def _other_seconds(self, rows: pd.DataFrame) -> str:
        """Why rows are of clips that are longer or shorter than the board's, or ""."""
        done = rows[(rows["clip"] != "") & (rows["status"] != Status.FAILED.value)]
        theirs = {
            (str(domain), str(clip)): float(seconds)
            for domain, clip, seconds in done[["domain", "clip", "seconds"]]
            .drop_duplicates(["domain", "clip"])
            .itertuples(index=False)
        }
        self._seconds = self._seconds or theirs
        for (domain, clip), seconds in theirs.items():
            known = self._seconds.get((domain, clip), seconds)
            if not abs(known - seconds) <= SECONDS:
                return (
                    f"clip {clip} has {seconds:g} seconds there and {known:g} on the board; submit "
                    "the seconds as they were measured"
                )
        return ""

    def _take_curves(self, submission: Submission, rows: pd.DataFrame) -> None:
        given, _ = badges(submission)
        twice: dict[str, dict[str, None]] = {}
        for curve, part in rows.groupby("curve", sort=False):
            keys = set(part["unit_key"])
            owners = {self._seen[key][0] for key in keys if key in self._seen}
            if keys <= self._seen.keys():
                if self._has(part):
                    twice.setdefault(min(owners), {})[str(curve)] = None
                    continue
                self.apart.append(
                    f"{submission.name}: {curve} has other values than {min(owners)} of the same "
                    "system and clips; both stand"
                )
            for key, value in zip(part["unit_key"], part["value"], strict=True):
                self._seen.setdefault(str(key), (submission.name, float(value)))
            self._rows.append(self._named(submission, str(curve), part, given))
        for owner, curves in twice.items():
            self.apart.append(
                f"{submission.name}: {', '.join(curves)} is measured as {owner} has it, and stands "
                "once"
            )

    def _has(self, part: pd.DataFrame) -> bool:
        """Whether each value of a curve, whose keys are known, is the one that is known."""
        known = np.array([self._seen[key][1] for key in part["unit_key"]], dtype=float)
        values = part["value"].to_numpy(float)
        allowed = allowances(part, self.cards.get("metrics", {}))
        near = np.abs(known - values) <= allowed
        return bool((near | (np.isnan(known) & np.isnan(values))).all())

    def _named(
        self, submission: Submission, curve: str, part: pd.DataFrame, given: Mapping[str, str]
    ) -> pd.DataFrame:
        """The rows of a curve under names that no other submission has."""
        prefix = f"{submission.name}/"
        names = [str(name) for name in part["system"].unique()]
        cards = [submission.manifest["systems"][name] for name in names]
        for name, card in zip(names, cards, strict=True):
            kept = {key: card[key] for key in CARD if card.get(key) is not None}
            self.cards.setdefault("systems", {})[prefix + name] = {
                **kept, "curve": prefix + curve,
            }  # fmt: skip
        said = submission.form.system(names[0])
        labels = {str(card.get("label") or curve) for card in cards}
        self.entries[prefix + curve] = Entry(
            submission, labels.pop() if len(labels) == 1 else curve,
            min((given[name] for name in names), key=(SELF_REPORTED, REPRODUCED).index),
            str(cards[0].get("family") or ""), said,
            said.licence or str(cards[0].get("licence") or ""),
        )  # fmt: skip
        return part.assign(system=prefix + part["system"], curve=prefix + part["curve"])

    def _manifest(self) -> dict[str, Any]:
        labels = Counter(entry.label for entry in self.entries.values())
        systems = self.cards.get("systems", {})
        for card in systems.values():
            entry = self.entries[card["curve"]]
            if labels[entry.label] > 1:
                card["label"] = f"{entry.label} ({entry.submission.name})"
        founder = self.founder.manifest
        return {
            "name": self.title,
            "protocol": founder.get("protocol"),
            "corpus": founder.get("corpus"),
            **self.cards,
            "systems": systems,
        }


@dataclass(frozen=True)
class Collection:
    """All boards. left_out: by the name of a folder, why its submission stands on none.

    said: further sentences, as on records that count for nothing.
    """

    config: Config
    boards: tuple[Board, ...]
    left_out: tuple[tuple[str, str], ...]
    said: tuple[str, ...]


def read_collection(folder: Path) -> Collection:
    """The submissions below `folder`, each in a folder of its own, on their boards.

    Raises StoreError where there are none, and SpecError for a CONFIG that cannot be used.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise StoreError(f"there is no folder {folder}; give the folder that holds submissions")
    if is_file(folder / FORM):
        raise StoreError(f"{folder} is itself a submission; give the folder that holds submissions")
    config = read_config(folder / CONFIG) if is_file(folder / CONFIG) else Config()
    left_out: list[tuple[str, str]] = []
    submissions: dict[str, Submission] = {}
    # Founders come first, so that no folder before theirs takes their names.
    likes = {board.like for board in config.boards.values()}
    paths = sorted(path for path in folder.iterdir() if _may_be_one(path))
    for path in sorted(paths, key=lambda path: path.name not in likes):
        checked = check_submission(path)
        if checked.problems or checked.submission is None:
            left_out.append((path.name, checked.problems[0]))
        elif (name := checked.submission.name) in submissions:
            other = submissions[name].folder.name
            left_out.append((path.name, f"{other} is called {name!r} too; give it another name"))
        else:
            submissions[name] = checked.submission
    if not submissions and not left_out:
        raise StoreError(f"{folder} holds no submissions; write one with `rdbench submit RUN`")
    boards = _boards(config, submissions, left_out)
    said = []
    for submission in sorted(submissions.values(), key=lambda one: one.folder.name):
        why = _place(submission, boards, founding=not config.boards)
        if why:
            left_out.append((submission.folder.name, why))
        said += [sentence for sentence in badges(submission)[1:] if sentence]
    if not any(board.entries for board in boards):
        named = "; ".join(f"{name}: {why}" for name, why in left_out[:SHOWN])
        raise RdbenchError(f"no submission in {folder} can be shown ({named}); mend them")
    return Collection(config, tuple(boards), tuple(left_out), tuple(said))


def read_config(path: Path) -> Config:
    """What `path` says; raises SpecError in one sentence."""
    try:
        return Config.model_validate(read_yaml(path, "leaderboard"))
    except ValidationError as error:
        raise SpecError(f"{path}: {sentence(error, Config)}") from None


def _may_be_one(path: Path) -> bool:
    return is_folder(path) and not path.name.startswith(".")


def _boards(
    config: Config, submissions: Mapping[str, Submission], left_out: list[tuple[str, str]]
) -> list[Board]:
    """The boards of a configuration with their founders; those that cannot be shown are left out.

    Raises SpecError for a founder or an anchor that is not there.
    """
    folders = {submission.folder.name: submission for submission in submissions.values()}
    findings = dict(left_out)
    boards = []
    for name, board in config.boards.items():
        founder = folders.get(board.like)
        if founder is None and board.like not in findings:
            founder = submissions.get(board.like)
        if founder is None:
            hint = nearest(board.like, [*submissions, *findings], many="there are")
            if board.like in findings:
                hint = f"that has findings: {findings[board.like]}"
            raise SpecError(f"{CONFIG}: the board {name} is like {board.like!r}; {hint}")
        boards.append(Board(name, board.title or name, board.anchor, founder))
        if why := boards[-1].add(founder):
            left_out.append((founder.folder.name, why))
        elif board.anchor and f"{founder.name}/{board.anchor}" not in boards[-1].entries:
            curves = [curve.removeprefix(f"{founder.name}/") for curve in boards[-1].entries]
            hint = nearest(board.anchor, curves, many="it has")
            raise SpecError(
                f"{CONFIG}: the board {name} has the anchor {board.anchor!r}, which "
                f"{founder.name} has not; {hint}"
            )
    return boards


def _place(submission: Submission, boards: list[Board], *, founding: bool) -> str:
    """Puts a submission on its board, or says why it has none."""
    if any(submission is board.founder for board in boards):
        return ""
    fitting = [board for board in boards if board.fits(submission)]
    if not fitting and founding:
        boards.append(Board(submission.name, submission.name, "", submission))
        fitting = boards[-1:]
    if not fitting:
        return "no board has its protocol and its clips; measure it with the spec of one of them"
    reasons = [board.add(submission) for board in fitting]
    return "" if "" in reasons else reasons[0]


def _identity(card: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes scores of one key comparable."""
    try:
        return card.get("version"), options_of(card)
    except (AttributeError, TypeError):  # of a card that is damaged
        return card.get("version"), card.get("options"), card.get("model_file")


def _clips_of(known: Mapping[tuple[str, str], str], domain: str) -> set[tuple[str, str]]:
    return {key for key in known if key[0] == domain}


def _no_rows() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame()
