"""What the README says can be done can be done."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rdbench.codecs.registry import names
from rdbench.metrics.registry import keys
from rdbench.spec.load import load_spec

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.yaml"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_spec_of_the_readme_is_valid(tmp_path: Path) -> None:
    for text in blocks("yaml"):
        spec = tmp_path / "spec.yaml"
        spec.write_text(text, encoding="utf-8")
        load_spec(spec, metric_keys=keys(), codec_names=names())


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_benchmark_is_a_valid_spec_under_its_own_name(path: Path) -> None:
    spec = load_spec(path, metric_keys=keys(), codec_names=names())
    assert spec.name == path.stem


def test_every_command_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = [line for block in blocks("sh") for line in block.splitlines() if line]
    assert commands
    for command in commands:
        words = shlex.split(command)
        if words[0] == "make":
            assert f"\n{words[1]}:" in makefile, command
            continue
        assert words[0] == ".venv/bin/rdbench", command
        help_of = [sys.executable, "-m", "rdbench", words[1], "--help"]
        shown = subprocess.run(help_of, capture_output=True, text=True, check=True).stdout
        for option in (word for word in words if word.startswith("--")):
            assert option in shown, command
        for path in (word for word in words if word.startswith("benchmarks/")):
            assert (ROOT / path).is_file(), command


def test_the_readmes_codec_keeps_the_interface() -> None:
    from rdbench.codecs.testing import check_codec

    (source,) = blocks("python")
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    check_codec(namespace["Pcm"]())
    assert [p.name for p in namespace["Pcm"](points=[8, "2bit"]).points] == ["2bit", "8bit"]


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_into_the_repository_leads_somewhere(target: str) -> None:
    if "://" not in target:
        assert (ROOT / target).exists(), target


def test_the_gallery_of_specs_names_only_what_exists() -> None:
    for path in BENCHMARKS:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {system["codec"] for system in content["systems"]} <= set(names())
