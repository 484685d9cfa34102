"""`rdbench corpora`: what there is, what is here, and a spec that names it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from imitations import archives_of, imitated, serving
from terminals import in_a_terminal
from typer.testing import CliRunner

import rdbench
from rdbench.cli.main import app
from rdbench.corpora import entries
from rdbench.engine.plan.clips import load_corpus
from rdbench.types import SpecError

NAME = "librispeech-test-clean"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def call(*arguments: str) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    if isinstance(done.exception, SpecError):
        raise done.exception
    return done


def spec_of(corpus: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": "trial", "corpus": corpus, "protocol": {"sample_rate": 16000},
        "metrics": {"default": ["si_sdr"]}, "systems": [{"codec": "opus"}],
    }  # fmt: skip


def test_the_list_fits_80_columns_and_says_how_each_is_had() -> None:
    command = [sys.executable, "-m", "rdbench", "corpora"]
    code, shown = in_a_terminal(command, 80, os.environ)
    assert code == 0
    assert max(map(len, shown.splitlines())) <= 80
    lines = {line.split()[0]: line for line in shown.split("\n\n")[0].splitlines()}
    assert set(entries.names()) <= set(lines)
    assert lines[NAME].split()[1:] == ["speech", "347", "MB", "fetch", "*"]
    assert "moisesdb: https://github.com/moises-ai/moises-db" in shown
    assert "* not fetched for real yet" in shown


def test_a_corpus_is_fetched_checked_and_named_by_a_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = archives_of(NAME)
    known = imitated(NAME, archives)
    monkeypatch.setattr(entries, "_read", lambda name: known)
    named = spec_of({"kind": "named", "name": NAME, "sample": {"clips": 2}})
    with pytest.raises(SpecError, match=f"`rdbench corpora fetch {NAME}` brings it"):
        load_corpus(rdbench.read_spec(named))
    with serving(archives) as server:
        monkeypatch.setattr("rdbench.download.open_https", server.open)
        done = call("corpora", "fetch", NAME)
    assert done.exit_code == 0, done.output
    assert "as published (SHA-256 and MD5)" in done.output
    assert "its licence: CC BY 4.0" in done.output
    assert " here" in call("corpora").output
    clips = load_corpus(rdbench.read_spec(named)).clips
    assert len({clip.group for clip in clips}) == 2
    assert call("init", NAME).exit_code == 0
    drafted = rdbench.read_spec("mine.yaml")
    assert (drafted.corpus.kind, drafted.corpus.name) == ("named", NAME)
    assert drafted.corpus.domains == ("speech",)
    place = tmp_path / "cache" / "corpora" / NAME
    by_name, by_folder = call("corpora", "check", NAME), call("corpora", "check", str(place))
    assert by_name.exit_code == 0, by_name.output
    assert by_name.output == by_folder.output
    assert "3 clips in 2 groups: speech" in by_name.output
    moved = place.rename(tmp_path / "mine")
    again = load_corpus(rdbench.read_spec(named, data=moved)).clips
    assert [clip.name for clip in again] == [clip.name for clip in clips]
    (moved / "LibriSpeech" / "README.TXT").unlink()
    done = call("corpora", "check", NAME, "--data", str(moved))
    assert done.exit_code == 1
    assert "missing: LibriSpeech/README.TXT" in done.output


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no corpus 'vtck'; did you mean 'vctk'"):
        call("corpora", "fetch", "vtck")
    with pytest.raises(SpecError, match=r"no fetch has made .*; say which corpus it is"):
        call("corpora", "check", str(tmp_path))
    with pytest.raises(SpecError, match="--data is the folder of one corpus"):
        call("corpora", "fetch", "vctk", "daps", "--data", "x")
    done = call("corpora", "fetch", "common-voice")
    assert (done.exit_code, "had by hand alone" in done.output) == (1, True)
    shown = call("corpora", "show", "esc-50").output
    assert "none can be trusted" in " ".join(shown.split())
