"""Bits per channel of a posterior, and per frame on request, that a run leaves."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import soundfile

from rdbench.engine.intake import RunIntake
from rdbench.engine.measure.work import Result
from rdbench.engine.run import RunOptions, RunSummary, run_benchmark
from rdbench.spec.model import BenchmarkSpec
from rdbench.store.reader import read_rows
from rdbench.store.schema import Kind
from rdbench.store.traces import COLUMNS, read_traces
from rdbench.store.validate import validate_run
from rdbench.store.writer import RunWriter
from rdbench.types import StoreError

RATE = 16000
SYSTEMS: tuple[dict[str, Any], ...] = (
    {"codec": "opus", "points": [12]},
    {"codec": "vae", "options": {"weights": "vae_6k"}},
    {"codec": "fakes:Quantizer"},
    {"codec": "identity"},
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traced_clips")
    generator = np.random.default_rng(0)
    for name in ("one.wav", "two.wav"):
        samples = 0.1 * generator.standard_normal((RATE, 2))
        soundfile.write(folder / name, samples, RATE)
    return folder


def run(
    clips: Path,
    folder: Path,
    *,
    traces: bool = True,
    asked: bool = False,
    channels: str = "mono",
    device: str = "cpu",
    systems: tuple[dict[str, Any], ...] = SYSTEMS,
) -> RunSummary:
    spec = BenchmarkSpec.model_validate(
        {
            "name": "traced",
            "corpus": {"kind": "folder", "path": str(clips)},
            "protocol": {"sample_rate": RATE, "channels": channels, "excerpt_seconds": 0.9},
            "metrics": {"default": ["si_sdr"]},
            "systems": list(systems),
            "costs": {"enabled": False},
            "traces": traces,
        }
    )
    return run_benchmark(
        spec, folder, RunOptions(device=device, workers=1, allow_code=True, traces=asked)
    )


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize("channels", ["mono", "stereo"])
def test_a_trace_sums_to_the_rate_of_its_clip(
    clips: Path, tmp_path: Path, channels: str, device: str
) -> None:
    assert run(clips, tmp_path, channels=channels, device=device).failed == 0
    traces = read_traces(tmp_path)
    assert tuple(traces.columns) == COLUMNS
    place = ["system", "point", "variant", "clip"]
    sums = traces.groupby([*place, "kind", "axis"])["bits"].sum()
    rows = read_rows(tmp_path)
    rates = rows[rows["kind"] == "rate"].set_index([*place, "key"])["value"]
    for (*where, kind, _), total in sums.items():
        assert total == pytest.approx(rates[(*where, kind)], rel=1e-12)
    axes = set(traces.groupby(["system", "kind", "axis"]).size().index)
    assert axes == {
        ("opus", "payload", "frame"),
        ("vae", "kl", "frame"),
        ("vae", "kl", "channel"),
        ("Quantizer", "nominal", "frame"),
    }
    vae = traces[traces["system"] == "vae"]
    assert set(vae["variant"]) == {"sample"}
    # The channels of the latent, of which two channels of audio make no more.
    assert vae.loc[vae["axis"] == "channel", "index"].max() == 95


def test_frames_are_in_the_order_and_place_in_which_they_lie(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path)
    opus = read_traces(tmp_path).query("system == 'opus' and clip == 'one.wav'")
    assert opus["index"].tolist() == list(range(len(opus)))
    np.testing.assert_allclose(opus["seconds"], 0.02 * opus["index"])
    assert (opus["bits"] % 8 == 0).all()


def test_frames_come_on_request_and_channels_always_and_a_finished_run_can_still_get_frames(
    clips: Path, tmp_path: Path
) -> None:
    run(clips, tmp_path, traces=False)
    before, channels = read_rows(tmp_path), read_traces(tmp_path)
    assert set(channels["axis"]) == {"channel"}
    assert set(channels["system"]) == {"vae"}
    assert run(clips, tmp_path, traces=False).written == 0
    run(clips, tmp_path, traces=False, asked=True)
    after = read_traces(tmp_path)
    assert set(after["axis"]) == {"frame", "channel"}
    assert after[after["axis"] == "channel"].reset_index(drop=True).equals(channels)
    assert before.equals(read_rows(tmp_path))
    assert run(clips, tmp_path, traces=True).written == 0


def test_a_run_without_a_posterior_has_no_folder_of_traces(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path, traces=False, systems=SYSTEMS[:1])
    assert not (tmp_path / "traces").exists()
    assert read_traces(tmp_path).empty


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_an_interrupted_run_keeps_the_traces_of_what_it_measured(
    clips: Path, tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = RunIntake.take

    def interrupted(self: RunIntake, results: Sequence[Result]) -> None:
        taken(self, results)
        if any(result.quantity.kind is Kind.TRACE for result in results):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunIntake, "take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(clips, tmp_path, traces=False, device=device, systems=SYSTEMS[1:2])
    assert read_traces(tmp_path)["clip"].nunique() == 1


def test_traces_whose_part_is_gone_are_made_again(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path, systems=SYSTEMS[:2])
    before = read_traces(tmp_path)
    shutil.rmtree(tmp_path / "traces")
    assert "6 traces are missing" in " ".join(validate_run(tmp_path).problems)
    assert run(clips, tmp_path, systems=SYSTEMS[:2]).written == 6
    assert read_traces(tmp_path).equals(before)
    assert not validate_run(tmp_path).problems


def test_a_clip_whose_neighbour_wants_no_trace_still_gets_its_own(
    clips: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(clips / "one.wav", half)
    run(half, tmp_path / "run", device="cpu:0", systems=SYSTEMS[:1])
    run(clips, tmp_path / "run", device="cpu:0", systems=SYSTEMS[:1])
    assert set(read_traces(tmp_path / "run")["clip"]) == {"one.wav", "two.wav"}


def test_many_small_parts_become_one(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunWriter.__init__, "__kwdefaults__", {"flush_rows": 1, "flush_seconds": 0})
    run(clips, tmp_path)
    assert len(list((tmp_path / "traces").glob("*.parquet"))) == 1
    assert len(read_traces(tmp_path).groupby(["system", "clip", "axis"])) == 8


def test_a_channel_says_over_how_many_frames_it_sums(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path, systems=SYSTEMS[1:2])
    traces = read_traces(tmp_path)
    frames = traces[traces["axis"] == "frame"].groupby("clip").size()
    channels = traces[traces["axis"] == "channel"].groupby("clip")["frames"]
    assert channels.nunique().tolist() == [1, 1]
    assert channels.first().equals(frames.rename("frames").astype("int32"))
    assert (traces.loc[traces["axis"] == "frame", "frames"] == 1).all()


def test_traces_of_a_dropped_system_are_not_read(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path)
    run(clips, tmp_path, systems=SYSTEMS[:1])
    assert set(read_traces(tmp_path)["system"]) == {"opus"}


def test_a_damaged_part_is_named(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path, systems=SYSTEMS[:1])
    (part,) = (tmp_path / "traces").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(StoreError, match="damaged"):
        read_traces(tmp_path)


def rewrite(part: Path, table: pa.Table) -> None:
    """Puts `table` in the place of a part, whose name tells the checksum."""
    part.unlink()
    pq.write_table(table, part)
    start, _, old = part.stem.rpartition("-")
    checksum = hashlib.sha256(part.read_bytes()).hexdigest()[: len(old)]
    part.rename(part.with_name(f"{start}-{checksum}.parquet"))


def test_traces_of_a_run_before_channels_were_always_kept_are_left_aside(
    clips: Path, tmp_path: Path
) -> None:
    """They had no number of frames, and one unit for both axes."""
    run(clips, tmp_path, traces=False)
    for part in (tmp_path / "traces").glob("*.parquet"):
        rewrite(part, pq.read_table(part).drop_columns(["frames"]))
    for part in (tmp_path / "measurements").glob("*.parquet"):
        table = pq.read_table(part)
        older = pc.if_else(pc.equal(table["kind"], "trace"), "bits", table["key"])
        index = table.schema.get_field_index("key")
        rewrite(part, table.set_column(index, table.schema.field("key"), older))
    assert read_traces(tmp_path).empty
