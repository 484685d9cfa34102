"""Options that no machine can follow are bounded, or refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_runs import Listener, make_clips, run

from rdbench.engine.devices import most_workers
from rdbench.engine.run import RunOptions
from rdbench.store.manifest import read_manifest
from rdbench.types import SpecError


def test_more_processes_than_the_cores_can_feed_are_not_started(tmp_path: Path) -> None:
    listener = Listener()
    clips, folder = make_clips(tmp_path / "clips", ["a"]), tmp_path / "run"
    run(clips, folder, {"codec": "identity"}, workers=100_000, progress=listener)
    (said,) = [line for line in listener.said if "100000 worker processes" in line]
    assert f"{most_workers()} are used" in said
    assert read_manifest(folder)["execution"]["workers"] == most_workers()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_batches_that_are_none_are_refused(seconds: float) -> None:
    with pytest.raises(SpecError, match="are no batches; take more than 0 and at most 86400"):
        RunOptions(batch_seconds=seconds)
