"""Runs of small benchmarks: what is measured, what fails and why, and what a second run does."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from rdbench.engine.executors.pool import WorkerPool
from rdbench.engine.progress import Progress
from rdbench.engine.run import RunOptions, RunSummary, run_benchmark
from rdbench.spec.model import BenchmarkSpec
from rdbench.store.reader import read_manifest, read_rows
from rdbench.types import CodecError

RATE = 16000
BATCHES = "cpu:0"
"""The CPU as a device: batches here and packet codecs in workers, as on a GPU."""
Run = Callable[..., tuple[RunSummary, pd.DataFrame]]


def tone(seconds: float, seed: int, channels: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = generator.uniform(100, 200)
    harmonics = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 12))
    noise = generator.standard_normal((len(time), channels))
    return 0.15 * harmonics[:, None] * (1 + np.sin(2 * np.pi * 4 * time))[:, None] + 0.01 * noise


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for index in range(4):
        soundfile.write(folder / f"good_{index}.wav", tone(1.2, index), RATE)
    soundfile.write(folder / "short.wav", tone(0.1, 9), RATE)
    return folder


@pytest.fixture(scope="module")
def one_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one_clip")
    soundfile.write(folder / "good.wav", tone(1.0, 1), RATE)
    return folder


@pytest.fixture
def run(clips: Path, tmp_path: Path) -> Run:
    """Runs systems on the clips; keyword `folder` names the results folder, `corpus` the clips."""

    def go(
        *systems: dict[str, Any],
        folder: str = "run",
        corpus: Path = clips,
        channels: str = "mono",
        metrics: tuple[str, ...] = ("si_sdr", "stft_dac_16k"),
        unit_seconds: float = 120.0,
        progress: Progress | None = None,
        workers: int = 1,
        device: str = "cpu",
        batch_seconds: float = 60.0,
        domain: str = "audio",
        costs: dict[str, Any] | None = None,
    ) -> tuple[RunSummary, pd.DataFrame]:
        spec = BenchmarkSpec.model_validate(
            {
                "name": "test",
                "corpus": {"kind": "folder", "path": str(corpus), "domain": domain},
                "protocol": {"sample_rate": RATE, "channels": channels, "excerpt_seconds": 1.0},
                "metrics": {domain: list(metrics)},
                "systems": list(systems),
                "costs": costs or {"enabled": False},
                "timeouts": {"unit_seconds": unit_seconds},
            }
        )
        options = RunOptions(
            device=device, workers=workers, batch_seconds=batch_seconds, allow_code=True
        )
        summary = run_benchmark(spec, tmp_path / folder, options, progress)
        return summary, read_rows(tmp_path / folder)

    return go


def metric(rows: pd.DataFrame, system: str, key: str) -> pd.DataFrame:
    return rows[(rows["system"] == system) & (rows["key"] == key)]


def fake(codec: str, **more: Any) -> dict[str, Any]:
    return {"codec": f"fakes:{codec}", "name": codec, **more}


def test_scores_rates_and_delays_of_every_clip_and_point(run: Run) -> None:
    summary, rows = run({"codec": "identity"}, fake("Quantizer"))
    assert summary.failed == 0
    rates = metric(rows, "Quantizer", "nominal")
    good = rates[rates["clip"].str.startswith("good")]
    assert sorted(set(good["value"] / good["seconds"])) == [2.0 * RATE, 8.0 * RATE]
    assert set(rows[rows["system"] == "identity"]["kind"]) == {"metric"}
    assert (metric(rows, "identity", "si_sdr")["value"].dropna() >= 60).all()
    assert metric(rows, "Quantizer", "residual_delay")["value"].abs().max() <= 0.01  # samples
    coarse, fine = (
        metric(rows, "Quantizer", "si_sdr").query("point == @p and clip == 'good_0.wav'")["value"]
        for p in ("2bit", "8bit")
    )
    assert float(fine.iloc[0]) > float(coarse.iloc[0]) + 20


def test_a_clip_too_short_for_one_metric_keeps_the_others(run: Run) -> None:
    summary, rows = run({"codec": "identity"}, metrics=("si_sdr", "stoi", "pesq_wb", "lsd"))
    short = rows[rows["clip"] == "short.wav"].set_index("key")
    assert short.loc["si_sdr", "status"] == "ok"
    undefined = [key for key in short.index if short.loc[key, "status"] == "undefined"]
    for key in undefined:
        assert short.loc[key, "reason"]
        assert math.isnan(short.loc[key, "value"])
    assert summary.failed == 0


def test_a_finished_run_is_not_done_again(run: Run) -> None:
    first, before = run(fake("Quantizer"))
    second, after = run(fake("Quantizer"))
    assert first.written > 0
    assert second.written == 0
    pd.testing.assert_frame_equal(before, after)


def test_a_new_system_is_added_and_a_dropped_one_leaves_the_tables(run: Run) -> None:
    run({"codec": "identity"})
    _, rows = run({"codec": "identity"}, fake("Quantizer"))
    assert set(rows["system"]) == {"identity", "Quantizer"}
    _, rows = run(fake("Quantizer"))
    assert set(rows["system"]) == {"Quantizer"}
    again, rows = run({"codec": "identity"}, fake("Quantizer"))
    assert set(rows["system"]) == {"identity", "Quantizer"}
    assert again.written == 0  # it came back from the folder of retired rows


class StopAfter(Progress):
    """Presses Ctrl-C when the engine comes to some step."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def at(self, system: str, point: str) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_to_the_same_rows(run: Run) -> None:
    systems = ({"codec": "identity"}, fake("Quantizer"), fake("InPool"))
    _, undisturbed = run(*systems, folder="undisturbed")
    with pytest.raises(KeyboardInterrupt):
        run(*systems, folder="stopped", progress=StopAfter(3))
    summary, resumed = run(*systems, folder="stopped")
    assert 0 < summary.written < len(undisturbed)
    pd.testing.assert_frame_equal(undisturbed, resumed)


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        ("Raises", "raised RuntimeError while decoding at 2bit: out of luck"),
        ("WrongLength", "decoded to lengths"),
    ],
)
def test_a_failing_decoder_gives_failed_rows_and_keeps_the_rates(
    run: Run, codec: str, reason: str
) -> None:
    summary, rows = run({"codec": "identity"}, fake(codec))
    failed = rows[(rows["system"] == codec) & (rows["kind"] == "metric")]
    assert set(failed["status"]) == {"failed"}
    assert failed["value"].isna().all()
    assert failed["reason"].str.contains(reason, regex=False).any()
    assert summary.failed == len(failed)
    assert set(metric(rows, codec, "nominal")["status"]) == {"ok"}
    assert set(rows[rows["system"] == "identity"]["status"]) == {"ok"}


def test_samples_that_are_not_finite_fail_their_clip_alone(run: Run) -> None:
    _, rows = run(fake("NotFinite"), device=BATCHES)
    scores = metric(rows, "NotFinite", "si_sdr").query("clip != 'short.wav' and point == '8bit'")
    assert sorted(scores["status"]) == ["failed", "ok", "ok", "ok"]
    failed = scores[scores["status"] == "failed"]
    assert "not finite" in failed["reason"].iloc[0]


def test_a_codec_that_changes_its_input_is_not_scored_against_itself(run: Run) -> None:
    _, rows = run(fake("Quantizer"), fake("Mutates"))
    honest, changed = (
        metric(rows, name, "si_sdr")["value"].to_numpy() for name in ("Quantizer", "Mutates")
    )
    np.testing.assert_array_equal(honest, changed)


def test_out_of_device_memory_halves_the_batch_and_loses_nothing(run: Run) -> None:
    said: list[str] = []

    class Listener(Progress):
        def say(self, message: str) -> None:
            said.append(message)

    _, plain = run(fake("Quantizer", name="same"), folder="plain", device=BATCHES)
    summary, rows = run(
        fake("SmallMemory", name="same"), folder="small", device=BATCHES, progress=Listener()
    )
    assert summary.failed == 0
    assert sum("out of device memory" in line for line in said) == 1
    np.testing.assert_array_equal(plain["value"].to_numpy(), rows["value"].to_numpy())


def test_worker_processes_measure_what_the_device_does(run: Run) -> None:
    _, rows = run(fake("Quantizer"), fake("InPool"), workers=2, device=BATCHES)
    columns = ["point", "clip", "key", "backend", "value", "status"]
    here, there = (
        rows[rows["system"] == name][columns].sort_values(columns[:4]).reset_index(drop=True)
        for name in ("Quantizer", "InPool")
    )
    pd.testing.assert_frame_equal(here, there, check_exact=False, atol=1e-4)


def test_a_dead_worker_costs_its_point_alone(run: Run, one_clip: Path) -> None:
    summary, rows = run(fake("Dies"), corpus=one_clip)
    lost, kept = (rows[rows["point"] == point] for point in ("2bit", "8bit"))
    assert set(lost["status"]) == {"failed"}
    assert lost["reason"].str.contains("worker process died").all()
    assert set(kept["status"]) == {"ok"}
    assert summary.failed == len(lost)


def test_a_codec_that_hangs_is_ended_at_its_time_limit(run: Run, one_clip: Path) -> None:
    _, rows = run(fake("Hangs"), corpus=one_clip, unit_seconds=8.0)
    lost, kept = (rows[rows["point"] == point] for point in ("2bit", "8bit"))
    assert lost["reason"].str.contains("no answer within 8 s").all()
    assert set(kept["status"]) == {"ok"}


def test_a_mono_codec_on_stereo_runs_per_channel_and_its_bits_add_up(
    run: Run, tmp_path: Path
) -> None:
    stereo = tmp_path / "stereo"
    stereo.mkdir()
    soundfile.write(stereo / "clip.wav", tone(1.0, 3, channels=2), RATE)
    _, rows = run(fake("Quantizer"), corpus=stereo, channels="stereo")
    rates = metric(rows, "Quantizer", "nominal").set_index("point")
    assert rates.loc["8bit", "value"] == 2 * 8 * RATE
    manifest = read_manifest(tmp_path / "run")
    assert manifest["systems"]["Quantizer"]["channels"] == {"2": "per-channel"}


def test_files_that_cannot_be_used_become_failed_rows(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    soundfile.write(folder / "good.wav", tone(1.0, 1), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "broken.flac").write_bytes(b"fLaC" + bytes(100))
    soundfile.write(folder / "one.wav", np.zeros(1), RATE)
    samples = tone(1.0, 2)
    samples[100] = np.nan
    soundfile.write(folder / "nan.wav", samples, RATE, subtype="FLOAT")
    summary, rows = run(fake("Quantizer"), corpus=folder)
    assert summary.failed > 0
    by_clip = rows.groupby("clip")["status"].agg(set)
    assert by_clip["good.wav"] == {"ok"}
    for name in ("empty.wav", "broken.flac", "one.wav", "nan.wav"):
        assert by_clip[name] == {"failed"}, name
        assert rows[rows["clip"] == name]["reason"].str.contains(name).all()
    assert (
        metric(rows, "Quantizer", "si_sdr")
        .set_index("clip")
        .loc["silent.wav", "status"]
        .eq("undefined")
        .all()
    )


def test_weights_that_fail_their_own_check_are_not_measured(run: Run) -> None:
    summary, rows = run({"codec": "identity"}, fake("Implausible"))
    failed = rows[rows["system"] == "Implausible"]
    assert set(failed["status"]) == {"failed"}
    assert failed["reason"].str.contains("PESQ of a speech clip is 1.1").all()
    assert set(rows[rows["system"] == "identity"]["status"]) == {"ok"}
    assert summary.failed == len(failed)


def test_one_bad_clip_does_not_cost_its_batch(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "levels"
    folder.mkdir()
    for index, level in enumerate((0.1, 0.95, 0.2)):
        samples = tone(1.0, index)
        soundfile.write(folder / f"{index}.wav", level * samples / np.abs(samples).max(), RATE)
    _, rows = run(fake("Picky"), corpus=folder, device=BATCHES)
    by_clip = rows.groupby("clip")["status"].agg(set)
    assert by_clip.to_dict() == {"0.wav": {"ok"}, "1.wav": {"failed"}, "2.wav": {"ok"}}


def test_a_point_that_fails_in_a_batch_does_not_repeat_the_others(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their scores may still be outstanding in the pool when the failed point is tried again."""
    drain = WorkerPool.drain

    def late(self: WorkerPool, *, block: bool = False) -> None:
        if block:
            drain(self, block=True)

    monkeypatch.setattr(WorkerPool, "drain", late)
    folder = tmp_path / "equal"
    folder.mkdir()
    for index in range(2):
        soundfile.write(folder / f"{index}.wav", tone(1.0, index), RATE)
    mark = tmp_path / "decoded"
    summary, rows = run(
        fake("AloneAtFirst", options={"mark": str(mark)}),
        corpus=folder,
        device=BATCHES,
        workers=2,
        domain="speech",
        metrics=("si_sdr", "pesq_wb"),
    )
    assert mark.read_text().split() == ["2"]
    assert summary.failed == 0
    assert rows.groupby(["point", "key"]).size().to_list() == 8 * [2]


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        ("Boastful", "states lengths in samples"),
        ("FewerEntries", "is outside its"),
        ("FewerFrames", "frames or its frame rate are wrong"),
        ("WrongHeadline", "names payload as its headline"),
    ],
)
def test_an_adapter_that_misstates_what_it_encoded_gets_no_rate(
    run: Run, codec: str, reason: str
) -> None:
    _, rows = run(fake(codec))
    assert set(rows["status"]) == {"failed"}
    assert rows["reason"].str.contains(reason).all()
    second, _ = run(fake(codec))
    assert second.failed == len(rows)


def test_an_exit_in_a_worker_is_a_failure_and_not_the_end(run: Run, one_clip: Path) -> None:
    summary, rows = run({"codec": "identity"}, fake("Exits"), corpus=one_clip)
    assert set(rows[rows["system"] == "Exits"]["status"]) == {"failed"}
    assert set(rows[rows["system"] == "identity"]["status"]) == {"ok"}
    assert summary.failed > 0


def test_a_delay_that_cannot_be_found_is_undefined_and_not_zero(run: Run) -> None:
    _, rows = run(fake("Silent"))
    delays = metric(rows, "Silent", "residual_delay")
    assert set(delays["status"]) == {"undefined"}


def test_new_code_of_a_codec_makes_new_units(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "own_codec.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "from fakes import Quantizer\n\n\nclass Own(Quantizer):\n    pass\n"
    module.write_text(source)
    system = {"codec": "own_codec:Own", "name": "own"}
    _, rows = run(system)
    assert run(system)[0].written == 0
    module.write_text(source + "# another version\n")
    again, _ = run(system)
    assert again.written == len(rows)


def test_costs_of_a_codec_that_dies_are_failed_rows(run: Run, one_clip: Path) -> None:
    costs = {"clips": 1, "repeats": 1}
    _, rows = run(fake("InPool"), fake("Dies"), corpus=one_clip, costs=costs)
    found = rows[rows["key"] == "encode_rtf"].set_index(["system", "point"])["status"]
    assert found["InPool", "2bit"] == "ok"
    assert found["Dies", "8bit"] == "ok"
    assert found["Dies", "2bit"] == "failed"


def test_code_in_a_spec_needs_permission(clips: Path, tmp_path: Path) -> None:
    spec = BenchmarkSpec.model_validate(
        {
            "name": "code",
            "corpus": {"kind": "folder", "path": str(clips)},
            "protocol": {"sample_rate": RATE},
            "metrics": {"default": ["snr"]},
            "systems": [{"codec": "fakes:Quantizer"}],
        }
    )
    with pytest.raises(CodecError, match="--allow-code"):
        run_benchmark(spec, tmp_path / "run", RunOptions(device="cpu"))
