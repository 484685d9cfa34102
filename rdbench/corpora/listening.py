"""A listening test that came with a corpus, as the input of a run and of `import-scores`.

ODAQ's layout: a folder for each trial, METHOD_ITEM, with `reference.wav` and a file for each
condition; and for each listener an XML file of the Netflix listening test app,

    <… ><info subjectName="…"/> … <trial trialName="METHOD_ITEM">
        <testFile fileName="CONDITION.wav" score="0 … 100"/> …

A method has conditions of its own, so that each is a system on its own trials, its domain: methods
are not compared with each other there either (`benchmark/` of Fraunhofer-IIS/ODAQ).
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rdbench.corpora.clips import corpus_of
from rdbench.corpora.entries import Entry
from rdbench.files import is_file, read_file
from rdbench.text import first_line
from rdbench.types import SpecError

REFERENCE = "reference"
SCALE = "mushra"
_MOST_BYTES = 2**24  # of the answers of one listener
_METRICS = "[visqol_audio, si_sdr, mel_dac_44k, stft_dac_44k, lsd]"


@dataclass(frozen=True)
class Answer:
    """What a listener gave a condition of a trial."""

    listener: str
    trial: str
    condition: str
    score: str
    file: str


@dataclass(frozen=True)
class Prepared:
    """What was written: the spec and the table of scores, of so many."""

    spec: Path
    scores: Path
    trials: int
    conditions: int
    listeners: int


def prepare(known: Entry, folder: Path, out: Path) -> Prepared:
    """Writes what `rdbench run` and `rdbench import-scores` take into `out`, a new folder.

    folder: that of the corpus. Audio is linked where it lies on the same disk, else copied.

    Raises SpecError for a corpus without a test, and for answers that cannot be read or are of
    files that are not there; OSError where it cannot be written.
    """
    if not known.listening:
        raise SpecError(f"no listening test comes with {known.name}; there is one with odaq")
    references = {clip.path.parent.name: clip for clip in corpus_of(known, folder).clips}
    root = next(iter(references.values())).path.parent.parent
    answers = list(_answers(root))
    for answer in answers:
        if answer.trial not in references or not is_file(root / answer.trial / answer.file):
            raise SpecError(
                f"{root} has scores of {answer.trial}/{answer.file}, which is not there; unpack "
                "the archive again"
            )
    trials = {answer.trial for answer in answers}
    if out.exists():
        raise SpecError(f"{out} is there already; name another folder with --out")
    (out / REFERENCE).mkdir(parents=True)
    rows = []
    for trial in sorted(trials):
        clip = references[trial]
        _link(clip.path, out / REFERENCE / f"{trial}.wav")
        rows.append((f"{trial}.wav", _method(trial), clip.group))
    _write(out / "manifest.csv", ("file", "domain", "group"), rows)
    by_method: dict[str, set[str]] = {}
    for answer in {(one.trial, one.condition): one for one in answers}.values():
        place = out / _method(answer.trial) / answer.condition
        place.mkdir(parents=True, exist_ok=True)
        _link(root / answer.trial / answer.file, place / f"{answer.trial}.wav")
        by_method.setdefault(_method(answer.trial), set()).add(answer.condition)
    _write(
        out / "scores.csv",
        ("condition", "clip", "listener", "score"),
        [
            (f"{_method(one.trial)}/{one.condition}", f"{one.trial}.wav", one.listener, one.score)
            for one in answers
        ],
    )
    spec = out / f"{known.name}.yaml"
    spec.write_text(_spec(known, _rate(references[trial].path for trial in trials), by_method))
    return Prepared(
        spec,
        out / "scores.csv",
        len(trials),
        sum(map(len, by_method.values())),
        len({one.listener for one in answers}),
    )


def _answers(root: Path) -> Iterator[Answer]:
    files = sorted(root.rglob("*.xml"))
    if not files:
        raise SpecError(f"{root} has no answers of listeners (.xml); unpack the archive again")
    seen: dict[tuple[str, str, str], str] = {}
    for path in files:
        for answer in _of_file(path):
            if answer.condition == REFERENCE:
                continue
            key = (answer.listener, answer.trial, answer.condition)
            if key in seen:
                raise SpecError(
                    f"{path.name} has the scores of {answer.listener} for {answer.trial} again, "
                    f"which {seen[key]} has; keep one of them"
                )
            seen[key] = path.name
            yield answer


def _of_file(path: Path) -> Iterator[Answer]:
    try:
        raw = read_file(path, _MOST_BYTES)
        if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:  # which could make much of little
            raise ValueError("it defines entities")
        content = ET.fromstring(raw)
        info = content.find("info")
        listener = path.stem if info is None else info.attrib["subjectName"]
        for trial in content.iter("trial"):
            name = trial.attrib["trialName"]
            for one in trial.iter("testFile"):
                file, score = one.attrib["fileName"], float(one.attrib["score"])
                if {"/", "\\"} & set(name + file) or file.startswith(".") or not 0 <= score <= 100:
                    raise ValueError(f"{name}/{file} has the score {score:g}")
                stem = PurePosixPath(file).stem
                condition = stem.removeprefix(name).strip("_.") or stem
                yield Answer(listener, name, condition, f"{score:g}", file)
    except (OSError, ValueError, KeyError, ET.ParseError) as error:
        raise SpecError(
            f"{path} is no answer of a listener ({first_line(error)}); unpack the archive again"
        ) from error


def _method(trial: str) -> str:
    return trial.partition("_")[0]


def _rate(paths: Iterator[Path]) -> int:
    """The sample rate of most references, in hertz."""
    import soundfile

    counted = Counter(int(soundfile.info(str(path)).samplerate) for path in paths)
    return max(counted, key=lambda rate: (counted[rate], rate))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _write(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    path.write_text(text.getvalue(), encoding="utf-8")


def _spec(known: Entry, rate: int, by_method: dict[str, set[str]]) -> str:
    lines = [
        f"# The conditions that were listened to in {known.title}; scores.csv has what was given.",
        f"name: {known.name}",
        f"corpus: {{kind: manifest, path: manifest.csv, root: {REFERENCE}}}",
        f"protocol: {{sample_rate: {rate}, channels: native, excerpt_seconds: null}}",
        f"metrics: {{default: {_METRICS}}}",
        "systems:",
    ]
    for method, conditions in sorted(by_method.items()):
        folders = {one: f"{method}/{one}" for one in sorted(conditions)}
        lines += [
            f"  - codec: files  # the method {method}, on its own trials",
            f"    name: {method}",
            f"    domains: [{method}]",
            f"    options: {{folders: {json.dumps(folders)}}}",
        ]
    return "\n".join([*lines, "costs: {enabled: false}", ""])
