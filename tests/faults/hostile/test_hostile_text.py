"""Text of other people: YAML that means something else than it says, names that act when shown."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from foreign_folders import command
from hypothesis import given
from hypothesis import strategies as st
from sound_run import make_sound

from rdbench.analysis.gate.baseline import baseline_text, read_baseline, rounded, write_baseline
from rdbench.analysis.gate.config import read_config
from rdbench.analysis.runs import read_run
from rdbench.codecs import registry
from rdbench.metrics.registry import keys
from rdbench.report.config import read_report_config
from rdbench.report.spreadsheet import spreadsheet
from rdbench.spec.load import load_spec, yaml_data
from rdbench.text import cell, from_cell, printable
from rdbench.training.recipe import load
from rdbench.types import CodecError, RdbenchError, SpecError

# -- YAML

ODD = {
    "a: " + "9" * 5000: "a number of 5000 characters",
    "a: -" + "9" * 30: "a number of 31 characters",
    "a: 0." + "9" * 5000: "a number of 5002 characters",
    "a: 0x" + "f" * 5000: "a number of 5002 characters",
    "a: 1:30": "1:30 is read as minutes",
    "a: 190:20:30": "190:20:30 is read as minutes",
    "a: 1:30.5": "1:30.5 is read as minutes",
    "a: 010": "010 is read as octal",
    "a: 2024-05-01": "2024-05-01 is a date",
    "a: 2001-12-14t21:59:43.10-05:00": "is a date",
    "a: !!timestamp 2001-12-14": "is a date",
    "a: !!set {b, c}": "this is a set",
    "a: !!binary aGVsbG8=": "is binary data",
    "a: !!omap [b: 1]": "this is an ordered map",
    "a: !!pairs [b: 1]": "this is a list of pairs",
    "a: {1: x, b: y}": "the key 1 is a number; put it in quotes",
    "a: {on: x}": "the key True is yes/no; put it in quotes",
    "a: {~: x}": "the key None is nothing; put it in quotes",
    "a: {1.5: x}": "the key 1.5 is a number",
    "? [a, b]\n: c": "the key",
    "a: {2024-05-01: x}": "is a date",
    'a: "\\ud800"': "half of a surrogate pair",
    "a: !!python/object/apply:os.system [id]": "could not determine a constructor",
    "a: !!int x": "invalid literal",
    "a: !!float x": "could not convert",
    "a: !!int ''": "YAML",
}


@pytest.mark.parametrize(("text", "said"), ODD.items(), ids=range(len(ODD)))
def test_yaml_that_means_something_else_is_one_sentence(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    for read in (
        lambda: yaml_data(path, "spec"),
        lambda: load_spec(path, metric_keys=keys(), codec_names=registry.names()),
        lambda: load(path),
        lambda: read_config(path),
        lambda: read_report_config(path),
    ):
        with pytest.raises(SpecError, match=said.replace("?", r"\?")) as caught:
            read()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_yaml_that_means_what_it_says_is_read(tmp_path: Path) -> None:
    text = (
        'a: 0\nb: 0.5\nc: 0x1f\nd: 1_000\ne: -1.5e+3\nf: "1:30"\ng: 9223372036854775807\nh: .inf\n'
    )
    (tmp_path / "a.yaml").write_text(text + 'i: "2024-05-01"\nj: true\n"1": ~\n')
    assert yaml_data(tmp_path / "a.yaml", "spec") == {
        "a": 0, "b": 0.5, "c": 31, "d": 1000, "e": -1500.0, "f": "1:30", "g": 2**63 - 1,
        "h": float("inf"), "i": "2024-05-01", "j": True, "1": None,
    }  # fmt: skip


OPTIONS: tuple[tuple[str, str, Any], ...] = (
    ("vae", "weights", 5),
    ("vae", "weights", [1]),
    ("lyra", "models", 3.5),
    ("lyra", "models", {"a": 1}),
    ("encodec_24khz", "weights", 7),
    ("encodec_24khz", "check", "no"),
    ("oobleck", "subfolder", 1),
    ("mimi", "revision", 1),
    ("opus", "complexity", "high"),
    ("opus", "application", 1),
)


@pytest.mark.parametrize(("codec", "option", "value"), OPTIONS)
def test_an_option_of_another_type_is_one_sentence(codec: str, option: str, value: Any) -> None:
    with pytest.raises(CodecError, match=f"its option '{option}' is .*, which is no"):
        registry.create(codec, options={option: value})


@pytest.mark.parametrize("codec", ["vae", "lyra", "encodec_24khz", "dac_44khz", "oobleck", "mimi"])
@pytest.mark.parametrize("path", ["~nosuchuser", "~nosuchuser/x", "a\0b", "x" * 5000, "\udcff", ""])
def test_a_path_that_is_none_is_one_sentence(codec: str, path: str) -> None:
    option = "models" if codec == "lyra" else "weights"
    with pytest.raises(RdbenchError) as caught:
        registry.create(codec, options={option: path})
    assert "\n" not in str(caught.value)


SPEC = """
name: s
corpus: {{kind: folder, path: {path}}}
protocol: {{sample_rate: 16000, channels: mono}}
metrics: {{default: [si_sdr]}}
systems: [{{codec: vae, options: {{weights: {weights}}}}}]
"""


@pytest.mark.parametrize("path", ["5", "[a]", "{a: b}", "~", "1.5", "true", "~nosuchuser"])
def test_a_spec_with_odd_paths_is_one_sentence(tmp_path: Path, path: str) -> None:
    (tmp_path / "clips").mkdir()
    for number, given_ in enumerate(
        ({"path": path, "weights": "x"}, {"path": "clips", "weights": path})
    ):
        spec = tmp_path / f"{number}.yaml"
        spec.write_text(SPEC.format(**given_))
        command("run", str(spec), "--out", str(tmp_path / "out"))


# -- names


ACTING = "a\x1b[31m\x07\x9b2Jb\u202ec\u2066\x00\n\r\t\x7f"


def test_nothing_that_acts_is_left_of_a_name() -> None:
    shown = printable(ACTING)
    assert shown == r"a\x1b[31m\x07\x9b2Jb\u202ec\u2066\x00\n\r\t\x7f"
    assert printable(shown) == shown
    assert printable("Größe é 音 \U0001f3b5") == "Größe é 音 \U0001f3b5"


@given(st.text())
def test_no_cell_computes_and_each_is_found_again(text: str) -> None:
    made = cell(text)
    assert not made or made[0] not in "=@\t\r\n" or made == text
    assert made[:1] not in ("=", "@", "＝", "＋", "－", "＠", "\t", "\r")
    if made[:1] in ("+", "-"):
        float(made)
    if text == printable(text) and text[:1] != "'":
        assert from_cell(made) == text


@pytest.mark.parametrize("number", ["-1.5", "+3", "-0", "-.5", "-1e-7", "12", "-6."])
def test_numbers_stay_numbers(number: str) -> None:
    assert cell(number) == number


def test_tables_for_spreadsheets_compute_nothing() -> None:
    table = pd.DataFrame(
        {
            "=name": ["=1+1", "@x", "-y", "+z", "\tw", ACTING, "plain, text"],
            "value": [-1.5, 2.0, float("nan"), -3.0, 0.0, 1e-9, -1e300],
            "count": [-1, 2, 3, 4, 5, 6, 7],
            "mixed": ["-1.5", None, "-1.5 dB", "1", "'", "", "=x"],
        }
    )
    lines = list(csv.reader(io.StringIO(spreadsheet(table))))
    assert lines[0] == ["'=name", "value", "count", "mixed"]
    assert [line[0] for line in lines[1:6]] == ["'=1+1", "'@x", "'-y", "'+z", r"\tw"]
    assert [line[1] for line in lines[1:3]] == ["-1.5", "2.0"]
    assert [line[2] for line in lines[1:3]] == ["-1", "2"]
    assert [line[3] for line in lines[1:4]] == ["-1.5", "", "'-1.5 dB"]
    assert len(lines) == 8
    assert "\x1b" not in spreadsheet(table)


def test_baselines_and_tables_have_no_character_that_acts(tmp_path: Path) -> None:
    run = make_sound(tmp_path)
    found = read_run(run)
    names = {"opus": ACTING, "c0.wav": f"={ACTING}.wav"}
    frame = found.rows.replace({"system": names, "curve": names, "clip": names})
    manifest = dict(found.manifest)
    manifest["systems"] = {names.get(k, k): v for k, v in found.systems.items()}
    manifest["corpus"] = {
        "clips": [
            clip | {"name": names.get(clip["name"], clip["name"])}
            for clip in found.manifest["corpus"]["clips"]
        ]
    }
    acting = type(found)(found.name, frame, manifest)
    text = baseline_text(acting)
    assert not set(ACTING) & set(text) - set("abc[]31m2J\n")
    write_baseline(tmp_path / "acting.csv", acting)
    read = read_baseline(tmp_path / "acting.csv")
    again = rounded(acting)
    both = set(read.rows["system"]) & set(again.rows["system"])
    assert both == {printable(ACTING), "vae", "identity"}
    assert baseline_text(again) == text
