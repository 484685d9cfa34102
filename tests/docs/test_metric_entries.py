"""docs/metrics.md tells of every metric what it means, its licence and a known value."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile
from doc_sandbox import ROOT

import rdbench
from rdbench.audio.corpus import embedded_corpus
from rdbench.metrics.registry import FAMILIES, definition

PAGE = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
KEYS = [key for family in FAMILIES.values() for key in family]


def tables() -> list[tuple[list[str], list[list[str]]]]:
    """Header and rows of each table of the page."""
    found = []
    for text in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
        found.append((lines[0], lines[2:]))
    return found


def keys_in(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


@pytest.mark.parametrize("key", KEYS)
def test_every_metric_has_its_meaning_a_known_value_and_a_licence(key: str) -> None:
    entries = [
        row
        for header, rows in tables()
        if header[:2] == ["key", "what it means"] and header[-1] == "a value to hold it against"
        for row in rows
        if key in keys_in(row[0])
    ]
    assert len(entries) == 1
    assert all(entries[0])
    # Of a model that a user names there may be nothing but the system `identity`.
    assert definition(key).needs_model or re.search(r"\d", entries[0][-1])
    licences = [
        row
        for header, rows in tables()
        if header == ["of", "licence", "keys"]
        for row in rows
        if key in keys_in(row[-1])
    ]
    assert len(licences) == 1


@pytest.mark.parametrize("key", KEYS)
def test_every_metric_has_its_unit_range_direction_and_backends(key: str) -> None:
    (row,) = (
        dict(zip(header, row, strict=True))
        for header, rows in tables()
        if header[:4] == ["key", "unit", "range", "better"]
        for row in rows
        if row[0] == f"`{key}`"
    )
    assert all(row.values())
    assert row["better"] == definition(key).direction


def test_every_section_of_metrics_says_what_has_no_score() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    told = [one for one in sections if "| a value to hold it against |" in one]
    assert len(told) == 5
    for section in told:
        assert re.search(r"^\| clips? \| which \| row \|$", section, re.MULTILINE), section[:40]


@pytest.mark.parametrize("key", KEYS)
def test_every_definition_cites_and_every_module_shows_its_mathematics(key: str) -> None:
    import importlib

    assert definition(key).citation
    module = next(module for module, family in FAMILIES.items() if key in family)
    text = importlib.import_module(module).__doc__ or ""
    assert re.search(r"^ {4}\S", text, re.MULTILINE)  # an equation stands by itself


def test_known_values_of_the_classics_are_true() -> None:
    generator = np.random.default_rng(0)
    noise, error = 0.1 * generator.standard_normal((2, 48000))
    loud = 10**0.5 * noise
    for made, expected in (
        (noise + 0.1 * error, {"snr": 20, "si_sdr": 20, "snr_unaligned": 20}),
        (loud, {"mel_dac_16k": 3.5, "lsd": 10}),
        (noise, {"si_sdr": 100}),
    ):
        table = rdbench.score(
            reference=noise, reconstruction=made, sample_rate=16000, metrics=[*expected]
        )
        found = dict(zip(table["key"], table["value"], strict=True))
        assert {key: found[key] for key in expected} == pytest.approx(expected, abs=0.05)


def test_noise_as_loud_as_the_speech_leaves_what_the_page_says() -> None:
    clip = next(one for one in embedded_corpus().clips if one.name.startswith("speech_english_us"))
    speech, rate = soundfile.read(clip.path)
    noise = np.random.default_rng(0).standard_normal(len(speech))
    made = speech + noise * np.sqrt(np.square(speech).mean())
    table = rdbench.score(
        reference=speech, reconstruction=made, sample_rate=rate, metrics=["stoi", "estoi"]
    )
    assert list(table["value"][:2]) == pytest.approx([0.81, 0.58], abs=0.005)
