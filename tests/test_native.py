"""What native libraries print while they start."""

from __future__ import annotations

import os

import pytest

from rdbench.native import stderr_held


def test_chatter_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with stderr_held():
        os.write(2, b"INFO: delegate\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_it_is_shown_when_the_start_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def start() -> None:
        with stderr_held():
            os.write(2, b"INFO: what went before\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        start()
    assert "what went before" in capfd.readouterr().err
