"""The time of day may jump while a run goes on: no limit goes by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_runs import make_clips, rows, run


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize("hours", [2.0, -2.0])
def test_a_jump_of_the_time_of_day_costs_no_unit(tmp_path: Path, device: str, hours: float) -> None:
    """In every process of the run, while its jobs are under way."""
    clips = make_clips(tmp_path / "clips", ["a"])
    jumping = {"codec": "faulty_codecs:Jumps", "options": {"hours": hours}}
    summary = run(clips, tmp_path / "run", jumping, device=device, unit_seconds=600.0)
    assert summary.failed == 0
    assert len(rows(tmp_path / "run"))
