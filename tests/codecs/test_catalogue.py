"""`rdbench codecs` says what is so, and loads nothing for it."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from rdbench.codecs.catalogue import CARDS, PUBLISHED, Package, catalogue, lacking, licences
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.published import published_files
from rdbench.codecs.registry import BUILT_IN, ELSEWHERE, create, names
from rdbench.types import REPOSITORIES, MissingExtraError

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def factory(name: str) -> object:
    module, _, attribute = {**BUILT_IN, **ELSEWHERE}[name].partition(":")
    return getattr(import_module(module), attribute)


def test_every_codec_has_a_line() -> None:
    assert list(catalogue()) == names()
    assert set(CARDS) == {*BUILT_IN, *ELSEWHERE}


@pytest.mark.parametrize("name", sorted(CARDS))
def test_every_codec_has_a_label_licences_and_somebody_to_cite(name: str) -> None:
    owed = CREDITS.get(name)
    assert owed is not None, f"say in rdbench/codecs/credits.py to whom {name} is owed"
    assert owed.label, f"CREDITS[{name!r}] needs the label that papers give it"
    if CARDS[name].family in ("anchor", "files", "command"):  # nobody's, or anybody's
        return
    assert owed.citation, f"CREDITS[{name!r}] needs a citation"
    code, weights = licences(name, CARDS[name])
    assert code, f"CARDS[{name!r}] needs the licence of its package, or CREDITS[{name!r}] a code"
    assert weights or CARDS[name].family == "traditional", f"CARDS[{name!r}] needs a licence"


def test_nobody_is_credited_for_what_is_not_there() -> None:
    assert set(CREDITS) == set(CARDS)


@pytest.mark.parametrize("name", sorted(CARDS))
def test_the_options_are_those_that_the_codec_takes(name: str) -> None:
    taken = inspect.signature(factory(name)).parameters  # type: ignore[arg-type]
    assert set(CARDS[name].options) == set(taken) - {"points"}


@pytest.mark.parametrize(
    "name",
    [
        "identity",
        "lowpass",
        "opus",
        "mp3",
        "aac",
        "vorbis",
        "flac",
        "ac3",
        "eac3",
        "amr_nb",
        "g722",
    ],
)
def test_family_and_licence_are_those_of_the_codec(name: str) -> None:
    info = create(name).info
    assert (CARDS[name].family, CARDS[name].licence) == (info.family, info.licence)
    assert CREDITS[name].citation == info.citation or CARDS[name].family == "anchor"


@pytest.mark.parametrize("weights", ["vae_6k", "rvq_6k"])
def test_checkpoints_are_of_a_family_that_is_listed(weights: str) -> None:
    info = create("vae", options={"weights": weights}).info
    assert info.family in CARDS["vae"].family.split(" or ")
    assert info.citation == CREDITS["vae"].citation


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_points_of_neural_codecs_are_those_of_their_models(name: str) -> None:
    assert factory(name).citation == CREDITS[name].citation  # type: ignore[attr-defined]
    first, *_, last = factory(name).all_points()  # type: ignore[attr-defined]
    said = CARDS[name].points
    if name.startswith("encodec"):
        every = factory(name).all_points()  # type: ignore[attr-defined]
        assert said == ", ".join(point.name for point in every)
    else:
        low, high = round(first.target_kbps, 2), round(last.target_kbps, 2)
        assert said == f"{first.name} to {last.name} ({low:g} to {high:g})"
        assert CARDS[name].licence == factory(name).file.licence  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [n for n in BUILT_IN if "audio_tokenizers" in BUILT_IN[n]])
def test_family_and_citation_of_tokenizers_are_theirs(name: str) -> None:
    assert factory(name).citation == CREDITS[name].citation  # type: ignore[attr-defined]
    assert CARDS[name].family == getattr(factory(name), "family", "vae")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_family_and_licence_are_those_of_the_class_elsewhere(name: str) -> None:
    adapter = factory(name)
    assert CARDS[name].family == adapter.family  # type: ignore[attr-defined]
    assert CARDS[name].licence == adapter.licence  # type: ignore[attr-defined]


def test_what_is_published_is_what_can_be_fetched_by_name() -> None:
    assert set(published_files()) == PUBLISHED


def test_what_is_lacking_is_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RDBENCH_CACHE", str(tmp_path))
    assert lacking("opus", CARDS["opus"]) == ""
    assert lacking("dac_16khz", CARDS["dac_16khz"]) == "rdbench weights fetch dac_16khz"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / published_files()["dac_16khz"].filename).touch()
    assert lacking("dac_16khz", CARDS["dac_16khz"]) == ""
    absent = replace(CARDS["snac"], package=Package("no_such_module", "snac", "MIT"))
    assert lacking("snac", absent) == "pip install 'rdbench[snac]'"
    absent = replace(CARDS["dacvae"], package=Package("no_such_module", "dacvae", "Apache-2.0"))
    assert lacking("dacvae", absent).startswith("pip install 'git+https://")


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.package])
def test_extras_are_those_of_the_installation(name: str) -> None:
    package = CARDS[name].package
    assert package is not None
    assert (package.extra in EXTRAS) != (package.extra in REPOSITORIES)


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_extra_has_an_address_that_an_index_refuses(extra: str) -> None:
    assert not [one for one in EXTRAS[extra] if "@" in one]


def test_a_package_on_no_index_is_missing_with_the_command_that_brings_it() -> None:
    said = str(MissingExtraError("codec 'focalcodec'", "focalcodec"))
    assert f"run `pip install '{REPOSITORIES['focalcodec']}'`" in said


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.named])
def test_what_a_spec_must_name_is_an_option(name: str) -> None:
    elsewhere = {"python"} if name in ELSEWHERE else set()
    assert set(CARDS[name].named.split(", ")) <= elsewhere | set(CARDS[name].options)


def test_listing_imports_no_heavy_package() -> None:
    program = """
import sys
from rdbench.codecs.catalogue import catalogue
catalogue()
print(sorted({"torch", "numpy", "av", "encodec", "dac", "transformers"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
