"""A page in Debian's Chromium, from `file://`, with what it complained about."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "report" / "html"))


@contextmanager
def open_page(path: Path) -> Iterator[Any]:
    from report_browser import PATIENCE, Tab, browser_program

    program = browser_program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(PATIENCE)
        tab = Tab(page, path.parent)
        tab.watch()
        page.goto(path.as_uri())
        try:
            yield tab
        finally:
            browser.close()
