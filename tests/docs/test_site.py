"""`mkdocs build --strict` makes the site, and nothing of it comes from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_sandbox import ROOT

from rdbench.codecs.registry import BUILT_IN
from rdbench.metrics.registry import FAMILIES

FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(https?:)?//"
    r"|<link\b[^>]*\brel=\"?(?:stylesheet|preconnect|icon|preload)\"?[^>]*\bhref=\"?(https?:)?//"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "https_proxy": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_of_docs_is_built_and_reached_from_the_menu(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f'href="{page.stem}.html"' in home or page.stem == "index", page.name
        assert (site / f"{page.stem}.html").is_file()


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = FETCHED.search(page.read_text(encoding="utf-8"))
        assert found is None, f"{page}: {found and found[0]}"


def test_what_is_built_into_pages_is_complete(site: Path) -> None:
    def text(page: str) -> str:
        return (site / page).read_text(encoding="utf-8")

    assert all(f"<code>{name}</code>" in text("codecs.html") for name in BUILT_IN)
    for key in (key for family in FAMILIES.values() for key in family):
        assert f"<code>{key}</code>" in text("metrics.html")
    for command in ("run", "report", "check", "doctor"):
        assert f'id="rdbench-{command}"' in text("commands.html")
    for run in (ROOT / "results").glob("*/manifest.json"):
        if run.parent.name != "quick":
            assert f"results/{run.parent.name}/figures/overview_" in text("results.html")


def test_pages_hold_what_is_built_into_them_as_it_is_now() -> None:
    """They are read as Markdown, too, on a repository's pages."""
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    built = 0
    for page in (ROOT / "docs").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        built += text.count("<!-- built: ")
        assert text.count("<!-- built: ") == len(hooks.BUILT.findall(text)), page.name
        assert hooks.committed(text) == text, f"{page.name}: run `make pages`"
    assert built >= 6
