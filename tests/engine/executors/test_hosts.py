"""What becomes of work whose process is slow, hangs, dies, or never comes to life."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting_jobs import SIZE, SizePass, descriptors
from engine_runs import RATE, fake, make_clips, rows, run

from rdbench.engine.executors.base import Loss
from rdbench.engine.executors.host import HostPlace
from rdbench.engine.executors.pool import worker_pool
from rdbench.engine.executors.processes import Processes
from rdbench.engine.measure.shard import Setup, Shard, SystemSetup
from rdbench.engine.measure.work import Result, SetWork
from rdbench.engine.plan.systems import build_systems
from rdbench.spec.model import BenchmarkSpec

SET = "frechet_logmel"
LARGE = np.zeros(2**18, np.float32)
"""A megabyte: no pipe holds it."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("hosted"), ["a", "b", "c"])


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("hosted_one"), ["a"])


def test_building_a_codec_is_not_charged_to_a_clip(one: Path, tmp_path: Path) -> None:
    slow = fake("SlowToBuild", options={"seconds": 4.0})
    summary = run(one, tmp_path, slow, unit_seconds=3.0)
    assert summary.failed == 0


def test_a_device_that_hangs_is_ended_at_its_time_limit_and_the_rest_goes_on(
    one: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    run(one, tmp_path, fake("HangsOnDevice"), fake("Quantizer"), unit_seconds=3.0, device="cpu:0")
    assert time.monotonic() - began < 60
    found = rows(tmp_path)
    lost = (found["system"] == "HangsOnDevice") & (found["point"] == "2bit")
    assert set(found[lost]["status"]) == {"failed"}
    assert found[lost]["reason"].str.contains("no answer within 3 s").all()
    assert set(found[~lost]["status"]) == {"ok"}
    assert set(found["system"]) == {"HangsOnDevice", "Quantizer"}


def test_what_one_device_loses_another_measures(clips: Path, tmp_path: Path) -> None:
    dying = fake("DiesOn", options={"device": "cpu:0"})
    summary = run(clips, tmp_path, dying, device="cpu:0,cpu:1", workers=2)
    assert summary.failed == 0
    assert len(rows(tmp_path)) == 3 * 2 * 3


def test_a_codec_that_a_device_cannot_hold_costs_its_own_rows(clips: Path, tmp_path: Path) -> None:
    refused = fake("RefusedBy", options={"device": "cpu:0"})
    systems, metrics = (refused, fake("Quantizer"), {"codec": "identity"}), ("snr", SET)
    run(clips, tmp_path, *systems, metrics=metrics, device="cpu:0")
    found = rows(tmp_path)
    lost = found["system"] == "RefusedBy"
    assert set(found[lost]["status"]) == {"failed"}
    of_clips = found[lost & (found["clip"] != "")]
    assert of_clips["reason"].str.contains("RuntimeError: no room on the device").all()
    assert set(found[~lost]["status"]) == {"ok"}

    again = run(clips, tmp_path, *systems, metrics=metrics, device="cpu:0,cpu:1", workers=2)
    assert again.failed == 0  # another device had room


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_codec_that_ends_its_process_while_it_is_built_costs_its_own_rows(
    clips: Path, tmp_path: Path, device: str
) -> None:
    dying = fake("DiesWhenMovedTo", options={"device": device})
    run(clips, tmp_path, fake("Quantizer"), dying, {"codec": "identity"}, device=device)
    found = rows(tmp_path)
    lost = found["system"] == "DiesWhenMovedTo"
    assert set(found[lost]["status"]) == {"failed"}
    said = f"cannot be built on {device}: its process died (signal SIGSEGV)"
    assert found[lost]["reason"].str.contains(said, regex=False).all()
    assert set(found["system"]) == {"Quantizer", "DiesWhenMovedTo", "identity"}
    assert set(found[~lost]["status"]) == {"ok"}


class Taken:
    """An intake that keeps what comes."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.given_up: list[str] = []
        self.said: list[str] = []

    def take(self, results: Sequence[Result]) -> None:
        self.results += results

    def rest(self, shard: Shard) -> Shard | None:
        return shard

    def give_up(self, shard: Shard, loss: Loss) -> None:
        self.given_up.append(loss.reason)

    def at(self, system: str, point: str) -> None:
        pass

    def say(self, message: str) -> None:
        self.said.append(message)

    def flush(self) -> None:
        pass


def shards(count: int) -> Iterator[Shard]:
    for number in range(count):
        step = ("SlowOn", "2bit", "codes")
        yield Shard(sets=(SetWork(number, "sizes", step, "audio", (), (SIZE,), {"a": LARGE}),))


def measured(devices: Sequence[str], count: int) -> Taken:
    """What comes of large sets on some devices, of which cpu:0 takes seconds to be ready."""
    spec: dict[str, Any] = {
        "name": "sizes",
        "corpus": {"kind": "embedded"},
        "protocol": {"sample_rate": RATE},
        "metrics": {"default": ["snr"]},
        "systems": [fake("SlowOn", options={"device": "cpu:0"})],
    }
    systems = build_systems(BenchmarkSpec.model_validate(spec), allow_code=True)
    made = tuple(SystemSetup.of(system) for system in systems)
    setup = Setup(made, (SizePass(),), {}, 1, 60.0, 0.0)
    places = [HostPlace(device, 1) for device in devices]
    taken = Taken()
    with closing(Processes(setup, places, time_limit=60.0)) as executor:
        executor.run(shards(count), taken)
    return taken


def test_a_long_message_to_a_process_that_is_not_ready_holds_up_no_other() -> None:
    taken = measured(["cpu:0", "cpu:1"], 2)
    assert [result.score.reason for result in taken.results] == ["cpu:1", "cpu:0"]
    assert {result.score.value for result in taken.results} == {LARGE.nbytes}


def test_a_device_that_does_not_work_is_left_out_and_said() -> None:
    taken = measured(["nowhere:0", "cpu:1"], 3)
    assert taken.given_up == []
    assert [result.score.reason for result in taken.results] == 3 * ["cpu:1"]
    (said,) = taken.said
    assert said.startswith("the process for nowhere:0 could not be set up")


def test_without_any_device_that_works_everything_is_given_up() -> None:
    taken = measured(["nowhere:0"], 2)
    assert taken.results == []
    assert len(taken.given_up) == 2


def test_jobs_of_a_worker_leave_no_descriptor_open() -> None:
    found: list[tuple[int, int]] = []

    def done(answer: tuple[int, int, Any]) -> None:
        assert answer[2].sum() == LARGE.size
        found.append(answer[:2])

    with worker_pool(1) as jobs:
        for _ in range(40):
            jobs.submit(descriptors, LARGE, timeout=60.0, done=done, lost=pytest.fail)
        jobs.wait()
    assert len({process for process, _ in found}) == 1
    assert len(found) == 40
    assert found[-1][1] == found[1][1]
