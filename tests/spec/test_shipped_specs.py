"""Specs by name: those that come with rdbench, unless a file of that name is there."""

from __future__ import annotations

from pathlib import Path

import pytest

import rdbench
from rdbench.spec import shipped
from rdbench.spec.load import load_spec
from rdbench.types import SpecError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_name_means_the_spec_that_comes_with_rdbench() -> None:
    spec = rdbench.read_spec("quick")
    assert spec.name == "quick"
    assert load_spec("quick") == spec  # without the names that registries know


def test_a_file_of_that_name_wins(tmp_path: Path) -> None:
    text = (shipped.FOLDER / "quick.yaml").read_text()
    (tmp_path / "quick").write_text(text.replace("name: quick", "name: mine"))
    assert rdbench.read_spec("quick").name == "mine"
    (tmp_path / "quick").unlink()
    (tmp_path / "quick").mkdir()  # a folder is no spec
    assert rdbench.read_spec("quick").name == "quick"


def test_paths_of_a_named_spec_start_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    spec = rdbench.read_spec("speech_16k", data="clips", options={("lyra", "models"): "./lyra"})
    assert spec.corpus.path == "clips"  # what a manifest says names no folder of the installation
    assert spec.corpus_path == tmp_path / "clips"
    (lyra,) = [system for system in spec.systems if system.name == "lyra"]
    assert spec.options_for(lyra) == {"models": str(tmp_path / "lyra")}


def test_tables_are_those_beside_the_clips_or_those_that_come_with_the_spec(tmp_path: Path) -> None:
    spec = rdbench.read_spec("speech_16k")
    assert spec.tables_path == shipped.FOLDER / "speech_16k.tables.json"
    (tmp_path / "speech_16k.tables.json").write_text("{}")
    assert spec.tables_path == tmp_path / "speech_16k.tables.json"
    made_by_a_user = rdbench.read_spec("latent_16k").tables_path
    assert made_by_a_user == tmp_path / "latent_16k.tables.json"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("speach_16k", "neither a file 'speach_16k' nor a spec .* did you mean 'speech_16k'"),
        ("zzzzz", "those are: encodec_dac, "),
        ("benchmarks/speech_16k.yaml", "no file .*; the spec that comes with rdbench is named spe"),
        ("mine.yaml", "spec mine.yaml cannot be read"),
    ],
)
def test_what_means_no_spec_is_answered(given: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        rdbench.read_spec(given)


def test_missing_clips_are_asked_for_by_the_option_that_names_them() -> None:
    from rdbench.engine.plan.clips import load_corpus

    with pytest.raises(SpecError, match=r"clips of speech_16k are not there .* --data FOLDER"):
        load_corpus(rdbench.read_spec("speech_16k"))


def test_a_mapping_is_a_spec_and_its_mistakes_are_told_alike(tmp_path: Path) -> None:
    content = {
        "name": "mine",
        "corpus": {"kind": "folder", "path": "clips"},
        "protocol": {"sample_rate": 16000},
        "metrics": ["si_sdr"],
        "systems": [{"codec": "opus"}],
    }
    assert rdbench.read_spec(content).corpus_path == tmp_path / "clips"
    with pytest.raises(SpecError, match=r"^spec: .*no codec 'opsu'; did you mean 'opus'"):
        rdbench.read_spec({**content, "systems": [{"codec": "opsu"}]})
    with pytest.raises(SpecError, match="a path, a name or a mapping, and not list"):
        rdbench.read_spec([content])  # type: ignore[arg-type]


def test_times_are_of_specs_that_there_are() -> None:
    assert set(shipped.TIMES) <= set(shipped.names())
