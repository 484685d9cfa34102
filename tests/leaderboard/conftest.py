"""What the tests of leaderboards share: one small run of a packet codec, and its submission."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from engine_runs import make_clips

    return make_clips(tmp_path_factory.mktemp("clips"), [f"clip_{i}" for i in range(5)])


@pytest.fixture(scope="session")
def measured(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of Opus at four rates."""
    from engine_runs import run

    folder = tmp_path_factory.mktemp("measured") / "opus_run"
    opus = {"codec": "opus", "label": "Opus", "points": [8, 10, 12, 16]}
    run(clips, folder, opus, {"codec": "identity"}, metrics=["si_sdr", "lsd"])
    return folder


@pytest.fixture(scope="session")
def complete(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its submission, with nothing left to fill in."""
    from submissions import fill_in

    from rdbench.leaderboard.submission import write_submission

    folder = tmp_path_factory.mktemp("complete") / "opus_run"
    write_submission(measured, folder)
    fill_in(folder)
    return folder


@pytest.fixture
def submission(complete: Path, tmp_path: Path) -> Path:
    """A copy of it to be changed."""
    return Path(shutil.copytree(complete, tmp_path / "all" / "opus_run"))
