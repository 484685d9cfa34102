"""What docs/codecs.md writes of codecs is what the registry has, and its rates are arithmetic."""

from __future__ import annotations

import itertools
import math
import re
from importlib import import_module

import pytest
from doc_sandbox import ROOT

from rdbench.codecs.catalogue import CARDS
from rdbench.codecs.registry import BUILT_IN
from rdbench.types import REPOSITORIES, install_command

PAGE = (ROOT / "docs" / "codecs.md").read_text(encoding="utf-8")
POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def test_the_page_says_how_packages_on_no_index_are_installed() -> None:
    for name in REPOSITORIES:
        assert f"\n{install_command(name)}\n" in PAGE


def table(title: str) -> list[list[str]]:
    """The rows of the first table whose heading begins so; a cell that is empty is that above."""
    lines = PAGE[PAGE.index(f"\n| {title}") :].strip().split("\n")
    rows: list[list[str]] = []
    for line in itertools.takewhile(lambda line: line.startswith("|"), lines[2:]):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows.append(
            [cell or (rows[-1][n] if rows and n < 2 else "") for n, cell in enumerate(cells)]
        )
    return rows


def numbers(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"\d+(?:\.\d+)?", text)]


def size_of(text: str) -> int:
    """1024, or 4⁸."""
    base, power = re.fullmatch(r"(\d+)([⁰¹²³⁴⁵⁶⁷⁸⁹]*)", text.strip()).groups()  # type: ignore[union-attr]
    return int(base) ** int(power.translate(POWERS) or 1)


TOKENIZERS = table("codec | model | kHz")


def test_every_tokenizer_of_transformers_has_a_row() -> None:
    named = {row[0].strip("`") for row in TOKENIZERS}
    assert named == {name for name, place in BUILT_IN.items() if "audio_tokenizers" in place}


@pytest.mark.parametrize("row", TOKENIZERS, ids=lambda row: f"{row[0]} {row[2]}")
def test_the_rates_of_a_row_are_those_of_its_codebooks(row: list[str]) -> None:
    name, _, _, codes, kbps = row
    rate_text, books = codes.split("; ", 1)
    rates = numbers(rate_text)
    if "no KL" in kbps:
        shape = f"({rate_text} Hz × {int(numbers(books)[0])}, no KL)"
        assert shape in CARDS[name.strip("`")].points
        return
    counted, _, size = books.partition(" × ")
    bits = math.log2(size_of((size or counted).split(",")[0]))
    counts = numbers(counted) if size else [1.0]
    pairs = list(zip(rates * (len(counts) if len(rates) == 1 else 1), counts, strict=False))
    # DAC at 44.1 kHz is published with two numbers of codebooks.
    pairs += [(rates[-1], count) for count in counts[len(pairs) :]]
    total = [rate * count * bits / 1000 for rate, count in pairs]
    if "a scale" in books:  # 32 bits for each second, of which the next has a hundredth again
        total = [(one + 0.032) / 0.99 for one in total]
    said = numbers(kbps)
    each = said.pop(0) if "each" in kbps else None
    assert said == pytest.approx(total, rel=0.005)
    if each is not None:
        assert each == pytest.approx(rates[0] * bits / 1000)


@pytest.mark.parametrize(
    "name", ["mimi", "xcodec", "xcodec2", "neucodec", "transformers_encodec", "vibevoice_acoustic",
             "pocket_tts"]
)  # fmt: skip
def test_a_row_is_what_the_package_has_by_default(name: str) -> None:
    """Where its defaults are the model that was published."""
    transformers = pytest.importorskip("transformers")
    module, _, attribute = BUILT_IN[name].partition(":")
    kind = getattr(import_module(module), attribute).kind
    built = kind.geometry(getattr(transformers, kind.model).config_class())
    row = next(row for row in TOKENIZERS if row[0] == f"`{name}`")
    assert numbers(row[3])[0] == built.frame_rate
    assert numbers(row[2])[0] * 1000 == built.sample_rate
    if built.codebooks:
        assert numbers(row[4])[-1] == pytest.approx(
            built.codebooks * built.kbps_per_codebook, rel=0.01
        )


def test_formats_and_classes_are_those_that_are_there() -> None:
    here = {name for row in table("format | encoder") for name in re.findall(r"`(\w+)`", row[3])}
    packets = {n for n, place in BUILT_IN.items() if ".packets." in place}
    assert here == packets | {"speexenc"}
    from rdbench.codecs.posterior.diffusers.classes import CLASSES

    assert {row[0].strip("`") for row in table("class | model")} == set(CLASSES)


def test_every_codec_says_at_which_points_it_runs() -> None:
    for name, card in CARDS.items():
        assert card.points, f"CARDS[{name!r}] needs the points that a spec may list"
