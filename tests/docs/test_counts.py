"""What the pages count is what the published runs hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

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
