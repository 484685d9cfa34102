"""A page of the report in the browser, watched for complaints and for what it asks for."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

PATIENCE = 60_000  # ms; machines that run tests are busy
REQUIRED = "RDBENCH_REQUIRE_BROWSER"


def browser_program() -> str:
    """Chromium's path; skips, or fails where CI requires a browser, if something is missing."""
    program = shutil.which("chromium")
    lacks = "" if program else "Debian's package chromium is not installed"
    if find_spec("playwright") is None:
        lacks = "the Python package playwright is not installed"
    if lacks and os.environ.get(REQUIRED):
        pytest.fail(f"{lacks}, and {REQUIRED} is set")
    if lacks:
        pytest.skip(lacks)
    return str(program)


@dataclass
class Tab:
    """A page from `file://` with what it asked for and complained about."""

    page: Any
    folder: Path
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", lambda r: self.problems.append(f"failed: {r.url}"))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def asks(self, script: str) -> Any:
        return self.page.evaluate(script)

    def player(self) -> dict[str, Any]:
        return dict(self.asks("rdbench.clips.playerState()"))

    def waits(self, condition: str) -> None:
        """Until a condition holds; Playwright's own waiting is refused by the page's policy."""
        end = time.monotonic() + PATIENCE / 1000
        while not self.asks(f"Boolean({condition})"):
            assert time.monotonic() < end, condition
            self.page.wait_for_timeout(20)

    def click_point(self, number: int = 0) -> None:
        """A real click on a marker of the figure, in the order in which they are drawn."""
        marker = self.page.locator("#figure .scatterlayer .points path").nth(number)
        marker.scroll_into_view_if_needed()
        box = marker.bounding_box()
        self.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def check(self) -> None:
        """No complaint, and nothing asked for outside of the report's folder."""
        assert self.problems == []
        inside = self.folder.resolve().as_posix()
        for url in self.requests:
            where = urlparse(url)
            if where.scheme == "data" and not url.startswith("data:text"):
                continue
            assert where.scheme == "file", url
            assert unquote(where.path).startswith(f"{inside}/"), url
