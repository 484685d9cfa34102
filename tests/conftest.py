"""What every test may ask for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Importing torch inside the first example would look like a slow test.
settings.register_profile("rdbench", deadline=None)
settings.load_profile("rdbench")

# A script for another interpreter, whose packages are not here.
collect_ignore = ["codecs/remote/seeded_dualcodec.py"]
# Doctests are looked for in every file, and all of these have one name as modules.
collect_ignore_glob = ["*/conftest.py"]

REPOSITORY = Path(__file__).resolve().parent.parent


def find_shared() -> Path | None:
    """The shared data folder: RDBENCH_SHARED, or shared/data beside the checkout."""
    candidates = [Path(p) for p in (os.environ.get("RDBENCH_SHARED"),) if p]
    candidates.append(REPOSITORY.parent / "shared" / "data")
    for candidate in candidates:
        if (candidate / "clips" / "manifest.csv").is_file():
            return candidate
    return None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real clips and the Lyra models; skips where it is missing."""
    folder = find_shared()
    if folder is None:
        pytest.skip(
            "no shared data: set RDBENCH_SHARED to the folder that holds clips/manifest.csv"
        )
    return folder


def pytest_configure() -> None:
    """Ctrl-C reaches the children of tests where the suite runs in the background of a script."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The switch that writes golden files anew instead of comparing with them."""
    parser.addoption("--regenerate", action="store_true", help="write the golden files anew")


@pytest.fixture(scope="session")
def regenerate(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--regenerate"))
