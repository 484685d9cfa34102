"""`rdbench codecs` says what is so, and loads nothing for it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from rdbench.codecs.catalogue import CARDS, catalogue
from rdbench.codecs.registry import BUILT_IN, create, names


def factory(name: str) -> object:
    module, _, attribute = BUILT_IN[name].partition(":")
    return getattr(import_module(module), attribute)


def test_every_codec_has_a_line() -> None:
    assert list(catalogue()) == names()
    assert set(CARDS) == set(BUILT_IN)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
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


@pytest.mark.parametrize("weights", ["vae_6k", "rvq_6k"])
def test_checkpoints_are_of_a_family_that_is_listed(weights: str) -> None:
    family = create("vae", options={"weights": weights}).info.family
    assert family in CARDS["vae"].family.split(" or ")


@pytest.mark.parametrize("name", [n for n in BUILT_IN if n.startswith(("encodec", "dac"))])
def test_the_points_of_neural_codecs_are_those_of_their_models(name: str) -> None:
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
def test_the_families_of_tokenizers_are_listed(name: str) -> None:
    assert CARDS[name].family == getattr(factory(name), "family", "vae")


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
