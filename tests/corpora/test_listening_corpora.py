"""The listening test of ODAQ becomes a run whose metrics are held against its listeners."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from imitations import ODAQ, answers, archives_of, imitated

import rdbench
from rdbench.analysis.listeners.agreement import agreement
from rdbench.analysis.listeners.ratings import import_scores
from rdbench.analysis.runs import read_run
from rdbench.api import run
from rdbench.corpora.entries import Entry, entry
from rdbench.corpora.fetch import fetch
from rdbench.corpora.listening import Prepared, prepare
from rdbench.engine.plan.clips import load_corpus
from rdbench.types import SpecError


@pytest.fixture(scope="module")
def odaq(tmp_path_factory: pytest.TempPathFactory) -> tuple[Entry, Path]:
    folder = tmp_path_factory.mktemp("odaq")
    archives = archives_of("odaq")
    known = imitated("odaq", archives)
    (folder / "ODAQ.zip").write_bytes(next(iter(archives.values())))
    return known, fetch(known, folder=folder / "odaq", source=folder, say=lambda text: None)


@pytest.fixture(scope="module")
def made(odaq: tuple[Entry, Path], tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(*odaq, tmp_path_factory.mktemp("listening") / "out")


def test_what_was_heard_becomes_systems_and_scores(
    odaq: tuple[Entry, Path], made: Prepared
) -> None:
    assert (made.trials, made.conditions, made.listeners) == (4, 6, 3)
    spec = rdbench.read_spec(made.spec)
    assert spec.protocol.for_domain("LP").sample_rate == 44100
    clips = {
        domain: {clip.name for clip in load_corpus(spec).clips if clip.domain == domain}
        for domain in ("LP", "TM")
    }
    assert clips["TM"] == {"TM_bells.wav", "TM_talk.wav"}
    for system in spec.systems:
        assert system.domains == (system.name,)
        folders = spec.options_for(system)["folders"]
        assert set(folders) == {"LP35", f"{system.name}_16", f"{system.name}_64"}
        for folder in folders.values():
            held = {path.name for path in (made.spec.parent / folder).iterdir()}
            assert held == clips[system.name]
    heard = made.spec.parent / "TM" / "TM_16" / "TM_bells.wav"
    source = odaq[1] / "ODAQ" / "ODAQ_listening_test" / "TM_bells" / "TM_16.wav"
    assert heard.read_bytes() == source.read_bytes()
    rows = made.scores.read_text().splitlines()
    assert len(rows) == 1 + 3 * 4 * 3
    assert "LP/LP35,LP_bells.wav,listener1,20.1" in rows


@pytest.mark.slow
def test_scores_of_listeners_are_held_against_a_run_of_what_they_heard(
    made: Prepared, tmp_path: Path
) -> None:
    content = yaml.safe_load(made.spec.read_text()) | {"metrics": {"default": ["lsd"]}}
    spec = made.spec.with_name("quick.yaml")
    spec.write_text(yaml.safe_dump(content))
    run(spec, out=tmp_path / "run", workers=1)
    table = import_scores(tmp_path / "run", made.scores, scale="mushra")
    mean = table[table["clip"] == "LP_bells.wav"].groupby("point")["score"].mean()
    assert mean.to_dict() == pytest.approx({"LP35": 20.1, "LP_16": 50.1, "LP_64": 80.1})
    found = agreement(read_run(tmp_path / "run"), resamples=100)
    assert set(found["domain"]) == {"LP", "TM"}
    assert set(found[found["level"] == "clip"]["n"]) == {6}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (answers("x", {"LP_bells": {"lost.wav": 5}}), "has scores of LP_bells/lost.wav, which is"),
        (answers("x", {"../x": {"a.wav": 5}}), "the score 5"),
        (answers("x", {"LP_bells": {"LP35.wav": 500}}), "the score 500"),
        (answers("listener0", ODAQ), "has the scores of listener0 for LP_bells again"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "it defines entities"),
        (b"<MUSHRA>", "is no answer of a listener"),
    ],
)
def test_answers_that_cannot_be_used_are_named(
    content: bytes, said: str, odaq: tuple[Entry, Path], tmp_path: Path
) -> None:
    known, place = odaq
    added = place / "ODAQ" / "ODAQ_listening_test" / "more.xml"
    added.write_bytes(content)
    try:
        with pytest.raises(SpecError, match=said):
            prepare(known, place, tmp_path / "out")
    finally:
        added.unlink()
    with pytest.raises(SpecError, match="no listening test comes with vctk"):
        prepare(entry("vctk"), place, tmp_path / "out")
