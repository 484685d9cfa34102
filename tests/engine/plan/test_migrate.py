"""A run of version 1 is taken up: what it measured is renamed, and nothing is measured again but
costs and what is aligned, both of which were measured otherwise then.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from engine_runs import PLACE, Listener, clip_features, everything, retired

from rdbench.cli.options import read_spec
from rdbench.engine.passes.costs import UNITS
from rdbench.engine.run import RunOptions, RunSummary, run_benchmark
from rdbench.store.audio import kept_audio
from rdbench.store.reader import read_manifest
from rdbench.store.schema import SCHEMA_VERSION
from rdbench.store.traces import read_traces
from rdbench.store.validate import validate_run

STORED = Path(__file__).parent / "stored_v1"
"""A spec, and the run that the last rdbench of version 1 (commit 5faa602) made of it."""
POINTS = 5
STEPS = 7
CLIPS = 2
ALIGNED = ("si_sdr", "residual_delay")
"""Metrics that are of a hundredth of a sample since."""
ANEW = STEPS * CLIPS * len(ALIGNED)
COSTS = 4
"""Of each point, in version 1."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, where its codecs are of the versions that they were."""
    monkeypatch.syspath_prepend(str(STORED / "codec"))
    card = json.loads((STORED / "run" / "manifest.json").read_text())["systems"]["opus"]
    monkeypatch.setattr(
        "rdbench.codecs.packets.ffmpeg.version_of", lambda *_, **__: card["version"]
    )
    return Path(shutil.copytree(STORED / "run", tmp_path / "run"))


def again(folder: Path, listener: Listener | None = None, **options: str) -> RunSummary:
    spec = read_spec(STORED / "spec.yaml", data=None, limit=None, options=[])
    how = RunOptions(device="cpu", workers=1, allow_code=True, **options)
    return run_benchmark(spec, folder, how, listener)


def taken_up(folder: Path) -> pd.DataFrame:
    """The rows whose values are what they were."""
    return everything(folder).query("kind != 'cost' and key not in @ALIGNED")


def measured(folder: Path) -> pd.DataFrame:
    """Their values, by what was measured."""
    found = taken_up(folder).sort_values(PLACE).set_index(PLACE)
    return found[["value", "seconds", "status", "reason", "curve", "domain", "group", "unit"]]


def test_nothing_of_a_run_of_version_1_is_measured_again(folder: Path) -> None:
    before, traces = measured(folder), read_traces(folder)
    keys = taken_up(folder).index
    listener = Listener()
    assert again(folder, listener, costs="none").written == ANEW
    pd.testing.assert_frame_equal(before, measured(folder), check_exact=True)
    assert not keys.isin(everything(folder).index).any()
    (said,) = listener.said
    assert f"made by an earlier rdbench: {len(keys)} rows got new keys" in said
    pd.testing.assert_frame_equal(traces, read_traces(folder))
    assert len(kept_audio(folder)) == len(list((STORED / "run" / "audio").iterdir()))
    assert read_manifest(folder)["schema_version"] == SCHEMA_VERSION
    assert validate_run(folder).problems == ()
    assert retired(folder) == COSTS * POINTS + ANEW

    listener.said.clear()
    assert again(folder, listener, costs="none").written == 0
    assert listener.said == []


def test_costs_are_measured_anew(folder: Path) -> None:
    before = everything(folder).query("kind == 'cost'")
    assert len(before) == COSTS * POINTS
    written = again(folder).written
    now = everything(folder).query("kind == 'cost'")
    streams = now[now["variant"] == "coded"]
    assert len(streams) == len(UNITS)  # whose costs are not those of the sample
    assert len(now) == written - ANEW == len(UNITS) * (POINTS + 1)
    assert not before.index.isin(now.index).any()
    assert retired(folder) == len(before) + ANEW


def test_a_start_that_was_interrupted_while_it_renamed_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows have their new keys, and the manifest still says version 1."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = measured(folder)
    with monkeypatch.context() as patch:
        patch.setattr("rdbench.engine.run._Run._write_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            again(folder, costs="none")
    assert again(folder, costs="none").written == ANEW
    pd.testing.assert_frame_equal(before, measured(folder), check_exact=True)
    assert len(kept_audio(folder)) == len(list((STORED / "run" / "audio").iterdir()))


def test_what_several_metrics_made_of_a_clip_in_version_3_is_one_feature(tmp_path: Path) -> None:
    """A run of the last rdbench of version 3 (commit 6320141)."""
    stored, folder = Path(__file__).parent / "stored_v3", tmp_path / "run"
    shutil.copytree(stored / "run", folder)
    spec, listener = read_spec(stored / "spec.yaml"), Listener()
    before = everything(folder)
    how = RunOptions(device="cpu", workers=1)
    assert run_benchmark(spec, folder, how, listener).written == 0
    (said,) = listener.said
    assert "4 rows got new keys" in said  # of two clips and their references
    assert len(clip_features(folder, "frechet_logmel")) == 4
    kept = before[before["kind"] != "feature"].index
    assert set(kept) <= set(everything(folder).index)
    assert validate_run(folder).problems == ()
    listener.said.clear()
    assert run_benchmark(spec, folder, how, listener).written == 0
    assert listener.said == []


def test_features_that_the_first_plan_left_out_are_taken_up_by_a_later_one(tmp_path: Path) -> None:
    stored, folder, other = Path(__file__).parent / "stored_v3", tmp_path / "run", tmp_path / "o"
    shutil.copytree(stored / "run", folder)
    text = (stored / "spec.yaml").read_text()
    other.write_text(text.replace("frechet_logmel, kernel_logmel", "snr"))
    listener, how = Listener(), RunOptions(device="cpu", workers=1)
    run_benchmark(read_spec(other), folder, how)
    assert read_manifest(folder)["schema_version"] == SCHEMA_VERSION
    spec = read_spec(stored / "spec.yaml")
    assert run_benchmark(spec, folder, how, listener).written == 0
    assert "4 rows got new keys" in listener.said[0]
    listener.said.clear()
    run_benchmark(spec, folder, how, listener)
    assert listener.said == []
