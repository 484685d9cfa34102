"""Every command and code block of the README and of docs/ does what it says, or says why not.

Commands run as they stand, in the sandbox of `doc_sandbox`; Python is executed; YAML is loaded as
the spec or the configuration that it is. Comments in the pages (`doc_blocks`) say what is adapted.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from doc_blocks import Block, read_blocks
from doc_sandbox import ROOT, bash, make_sandbox, restore, socket_of
from warm_commands import warm_commands

from rdbench.spec import shipped

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [block for path in PAGES for block in read_blocks(path, str(path.relative_to(ROOT)))]
MOST_SKIPPED = 7
KINDS = ("spec", "gate", "report", "recipe", "submission", "leaderboard", "cluster")


def check_yaml(block: Block, path: Path) -> None:
    from rdbench.analysis.gate.config import read_config
    from rdbench.codecs.registry import names
    from rdbench.engine.executors.cluster.settings import read_settings
    from rdbench.leaderboard.boards import read_config as read_boards
    from rdbench.leaderboard.form import read_form
    from rdbench.metrics.registry import keys
    from rdbench.report.config import read_report_config
    from rdbench.spec.load import load_spec
    from rdbench.training.recipe import load

    path.write_text(block.adapted, encoding="utf-8")
    if block.kind == "spec":
        # A spec may name what its page adds.
        known = [*keys(), *re.findall(r'key="(\w+)"', (ROOT / block.page).read_text())]
        load_spec(path, metric_keys=known, codec_names=names())
    elif block.kind == "gate":
        read_config(path)
    elif block.kind == "submission":
        read_form(path)
    elif block.kind == "leaderboard":
        read_boards(path)
    elif block.kind == "cluster":
        read_settings(path)
    elif block.kind == "recipe":
        load(path)
    else:
        assert block.kind == "report", f"{block.place}: {block.kind} is none of {KINDS}"
        read_report_config(path)


def run_block(block: Block, folder: Path, namespace: dict[str, Any]) -> None:
    """Runs one block; raises for what fails."""
    if block.file:
        (folder / block.file).write_text(block.text, encoding="utf-8")
    if block.language == "sh":
        done = bash(folder, block.adapted)
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    elif block.language == "python":
        exec(compile(block.adapted, block.place, "exec"), namespace)
    elif block.language == "yaml":
        check_yaml(block, folder / (block.file or "block.yaml"))


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sandbox(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with warm_commands(socket_of(tmp_path)):
        failures = _failures(tmp_path)
    assert not failures, "\n\n".join(failures)


def _failures(folder: Path) -> list[str]:
    """Runs every block of every page; says which failed, and how."""
    failures = []
    page, namespace = "", {}
    for block in BLOCKS:
        if block.page != page:
            page, namespace = block.page, {"__name__": "page"}
            restore(folder)
        if block.skip:
            continue
        try:
            run_block(block, folder, namespace)
        except Exception as error:
            failures.append(f"{block.place}\n{block.adapted}{type(error).__name__}: {error}")
    return failures


@cache
def options_of(command: str) -> str:
    words = [sys.executable, "-m", "rdbench", command, "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=wide())
    return done.stdout


def wide() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "TERM": "dumb"}


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.skip], ids=lambda block: block.place)
def test_commands_that_are_not_run_exist(block: Block) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in block.text.splitlines() if block.language == "sh" else []:
        words = shlex.split(line, comments=True)
        if words and words[0] == "make":
            assert f"\n{words[1]}:" in makefile, line
        elif words and words[0].endswith("rdbench"):
            shown = options_of(words[1])
            for option in (word for word in words if word.startswith("--")):
                assert option in shown, line
            if words[1] == "run":
                assert words[2] in shipped.names(), line


def test_few_blocks_are_skipped_and_each_says_why() -> None:
    skipped = [block for block in BLOCKS if block.skip is not None]
    assert len(skipped) <= MOST_SKIPPED, [block.place for block in skipped]
    assert all(len(block.skip or "") > 10 for block in skipped)


def test_blocks_are_of_languages_that_are_checked() -> None:
    for block in BLOCKS:
        assert block.language in {"sh", "python", "yaml", "toml", "csv", "text"}, block.place


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_code_hides_in_indented_blocks(path: Path) -> None:
    """Those would be run by nobody; prose and diagrams use fences, too."""
    inside, before = False, ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        inside ^= line.startswith("```")
        indented = line.startswith("    ") and not before.strip()
        assert inside or not indented or line.strip().startswith("options:"), f"{path}:{number}"
        before = line


def test_the_example_workflow_runs_commands_that_exist() -> None:
    content = yaml.safe_load((ROOT / "docs/examples/gate-workflow.yml").read_text())
    steps = [step.get("run", "") for step in content["jobs"]["gate"]["steps"]]
    commands = [text for text in steps if text.startswith("rdbench")]
    assert len(commands) == 2
    for text in commands:
        words = shlex.split(text.split("||")[0])
        for option in (word for word in words if word.startswith("--")):
            assert option in options_of(words[1]), text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_into_the_repository_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target
