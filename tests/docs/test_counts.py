"""What the pages count is what the published runs hold."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from doc_sandbox import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_groups_are_not_called_speakers(path: Path) -> None:
    """Whose speaker is not known is a group of its own, and may share its speaker with another."""
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert not re.findall(r"\d+ (?:\w+ )?speakers", text)


def test_the_readme_counts_the_clips_and_groups_of_the_run() -> None:
    manifest = json.loads((ROOT / "results" / "speech_16k" / "manifest.json").read_text())
    clips = [clip for clip in manifest["corpus"]["clips"] if clip["domain"] == "speech"]
    groups = {clip["group"] or clip["name"] for clip in clips}
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"{len(clips)} real speech clips in {len(groups)} groups" in text


def script(name: str) -> ModuleType:
    """A script of `benchmarks`, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_rates_and_scores_of_the_models_page_are_of_the_same_clips() -> None:
    """1.41 kbps of whole clips stood beside scores of excerpts, whose rate is 1.52."""
    table = script("model_table")
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert "\n".join(table.lines(table.TABLE)) in page
