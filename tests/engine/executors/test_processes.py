"""Equal results for any number of workers and any batches, and nothing lost with a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from rdbench.engine.run import RunOptions, RunSummary, run_benchmark
from rdbench.spec.model import BenchmarkSpec
from rdbench.store.reader import read_notes, read_rows
from rdbench.store.traces import read_traces
from rdbench.types import SpecError

RATE = 16000
METRICS = ("pesq_wb", "stoi", "si_sdr", "mel_dac_16k", "lsd")
SYSTEMS: tuple[dict[str, Any], ...] = (
    {"codec": "opus", "points": [8, 24]},
    {"codec": "mp3", "points": [16]},
    {"codec": "vae", "options": {"weights": "vae_6k"}},
    {"codec": "identity"},
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spread_clips")
    for index in range(5):
        generator = np.random.default_rng(index)
        time = np.arange(round((1.0 + 0.1 * (index % 2)) * RATE)) / RATE
        pitch = generator.uniform(100, 200)
        wave = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 12))
        wave = 0.1 * wave * (1.1 + np.sin(2 * np.pi * 3 * time))
        wave += 0.005 * generator.standard_normal(len(time))
        soundfile.write(folder / f"{index}.wav", wave, RATE)
    return folder


def run(
    clips: Path,
    folder: Path,
    *,
    systems: tuple[dict[str, Any], ...] = SYSTEMS,
    metrics: tuple[str, ...] = METRICS,
    **options: Any,
) -> tuple[RunSummary, pd.DataFrame]:
    spec = BenchmarkSpec.model_validate(
        {
            "name": "spread",
            "corpus": {"kind": "folder", "path": str(clips), "domain": "speech"},
            "protocol": {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": None},
            "metrics": {"speech": list(metrics)},
            "systems": list(systems),
            "costs": {"enabled": False},
        }
    )
    how = RunOptions(allow_code=True, **({"device": "cpu"} | options))
    summary = run_benchmark(spec, folder, how)
    return summary, read_rows(folder)


@pytest.fixture(scope="module")
def one_worker(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    summary, rows = run(clips, tmp_path_factory.mktemp("one") / "run", workers=1)
    assert summary.failed == 0
    return rows


@pytest.mark.parametrize("workers", [2, 3])
def test_results_are_equal_bit_for_bit_for_any_number_of_workers(
    one_worker: pd.DataFrame, clips: Path, tmp_path: Path, workers: int
) -> None:
    _, rows = run(clips, tmp_path / "run", workers=workers)
    pd.testing.assert_frame_equal(one_worker, rows, check_exact=True)


@pytest.mark.parametrize("batch_seconds", [1.0, 2.5, 60.0])
def test_batches_of_any_size_measure_what_a_clip_alone_does(
    one_worker: pd.DataFrame, clips: Path, tmp_path: Path, batch_seconds: float
) -> None:
    options = {"device": "cpu:0", "workers": 1, "batch_seconds": batch_seconds}
    _, rows = run(clips, tmp_path / "run", **options)
    pd.testing.assert_frame_equal(one_worker.drop(columns="value"), rows.drop(columns="value"))
    # PESQ, whose alignment looks for maxima, turns the last bits of a model's output into more.
    atol = np.where(rows["key"] == "pesq_wb", 2e-3, 2e-4)
    assert (np.abs(one_worker["value"] - rows["value"]) <= atol * (1 + rows["value"].abs())).all()


@pytest.mark.parametrize("times", [1, 2])
def test_a_worker_that_is_killed_loses_nothing(clips: Path, tmp_path: Path, times: int) -> None:
    mark = tmp_path / "killed"
    options = {"mark": str(mark), "times": times}
    system = {"codec": "fakes:DiesAtFirst", "name": "same", "options": options}
    plain = {"codec": "fakes:InPool", "name": "same"}
    metrics = ("si_sdr", "lsd")
    summary, rows = run(clips, tmp_path / "run", systems=(system,), metrics=metrics, workers=1)
    assert mark.read_text() == times * "x"
    assert summary.failed == 0
    _, undisturbed = run(clips, tmp_path / "plain", systems=(plain,), metrics=metrics)
    columns = ["point", "clip", "key", "value", "status"]
    pd.testing.assert_frame_equal(rows[columns], undisturbed[columns])


def test_two_devices_share_the_clips_and_measure_what_one_does(clips: Path, tmp_path: Path) -> None:
    options = {"workers": 2, "batch_seconds": 1.3}
    _, one = run(clips, tmp_path / "one", device="cpu:0", **options)
    summary, two = run(clips, tmp_path / "two", device="cpu:0,cpu:1", **options)
    assert summary.failed == 0
    traced = read_traces(tmp_path / "two").groupby(["system", "point", "clip", "axis"])
    assert summary.written == len(two) + traced.ngroups + len(read_notes(tmp_path / "two"))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert run(clips, tmp_path / "two", device="cpu:0,cpu:1", **options)[0].written == 0


@pytest.mark.parametrize(
    ("times", "lost"), [(1, False), pytest.param(99, True, marks=pytest.mark.slow)]
)
def test_a_device_process_that_dies_is_replaced_and_its_clips_are_tried_again(
    clips: Path, tmp_path: Path, times: int, lost: bool
) -> None:
    options = {"mark": str(tmp_path / "mark"), "times": times}
    dying = {"codec": "fakes:DiesOnDevice", "name": "dying", "options": options}
    few = tmp_path / "clips"
    few.mkdir()
    for path in clips_of(clips)[:1]:
        (few / path.name).write_bytes(path.read_bytes())
    summary, rows = run(
        few, tmp_path / "run", systems=({"codec": "identity"}, dying), metrics=("lsd",),
        device="cpu:0,cpu:1", workers=2, batch_seconds=100.0,
    )  # fmt: skip
    assert (summary.failed > 0) == lost
    failed = rows[rows["status"] == "failed"]
    assert set(failed["system"]) <= {"dying"}
    assert failed["reason"].str.contains("its worker process died").all()
    assert len(rows) == 2 + 2 * 3


def clips_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wav"))


@pytest.mark.parametrize("device", ["cpu:0,cpu:0", "cpu,meta"])
def test_devices_that_do_not_go_together_are_refused(
    clips: Path, tmp_path: Path, device: str
) -> None:
    with pytest.raises(SpecError, match="devices"):
        run(clips, tmp_path / "run", device=device)


def test_a_finished_run_does_not_start_a_worker(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = ({"codec": "identity"},)
    run(clips, tmp_path / "run", systems=systems, metrics=("lsd",))

    def refuse(*_: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("rdbench.engine.executors.host.Host.give", refuse)
    summary, _ = run(clips, tmp_path / "run", systems=systems, metrics=("lsd",))
    assert summary.written == 0
