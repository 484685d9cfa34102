"""A real browser, and reports for it to open.

The browser is Debian's Chromium through Playwright. Where it is missing its tests skip and say so,
unless RDBENCH_REQUIRE_BROWSER is set, as CI does: there they fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report_browser import PATIENCE, Tab, browser_program
from report_runs import EMBEDDED_SPEC
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.report.html.write import write_html

# The browser's own requests (updates, sync) would look like ours.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
READY = "html[data-ready]"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium with a new profile."""
    program = browser_program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=program, headless=True, args=FLAGS, timeout=PATIENCE
        )
        yield launched
        launched.close()


@pytest.fixture
def open_report(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens the report in a folder; every page is checked when the test ends."""
    opened: list[tuple[Any, Tab]] = []

    def open_it(folder: Path, *, width: int = 1280, height: int = 900, **more: Any) -> Tab:
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        context.set_default_timeout(PATIENCE)
        tab = Tab(context.new_page(), folder)
        tab.watch()
        opened.append((context, tab))
        tab.page.goto((folder / "index.html").resolve().as_uri())
        tab.page.wait_for_selector(READY)
        return tab

    yield open_it
    for context, _ in opened:
        context.close()
    for _, tab in opened:
        tab.check()


@pytest.fixture(scope="session")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small run over the embedded clips, with its audio."""
    folder = tmp_path_factory.mktemp("heard")
    spec = folder / "spec.yaml"
    spec.write_text(EMBEDDED_SPEC)
    asked = ["run", str(spec), "--out", str(folder / "run"), "--keep-audio", "--traces", "--quiet"]
    result = CliRunner().invoke(app, [*asked, "--workers", "1"])
    assert result.exit_code == 0, result.output
    write_html(folder / "run")
    return folder / "run" / "report"
