"""Processes that cannot be started or set up: others do their work, or each unit says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine_runs import Listener, fake, make_clips, rows, run

from rdbench.engine.executors.host import Host

NAMES = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("clips"), NAMES)


def test_the_others_do_the_work_of_a_process_that_cannot_be_started(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts: list[Host] = []
    start = Host._start

    def second_fails(self: Host) -> object:
        if self not in hosts:
            hosts.append(self)
        if self is hosts[0]:
            raise OSError("no more processes")
        return start(self)

    monkeypatch.setattr(Host, "_start", second_fails)
    progress = Listener()
    summary = run(clips, tmp_path, fake("Quantizer"), workers=2, progress=progress)
    assert summary.failed == 0
    assert set(rows(tmp_path)["clip"]) == {f"{name}.wav" for name in NAMES}
    said = [line for line in progress.said if "no more processes" in line]
    assert said == [
        "the process for cpu could not be started: OSError: no more processes; "
        "its work goes to the others"
    ]


def test_where_none_can_be_started_every_unit_says_so(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Host) -> object:
        raise OSError("no more processes")

    monkeypatch.setattr(Host, "_start", fails)
    run(clips, tmp_path, fake("Quantizer"), workers=2)
    found = rows(tmp_path)
    assert set(found["status"]) == {"failed"}
    assert found["reason"].str.endswith("could not be started: OSError: no more processes").all()


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        ("Raises", "it cannot be built on cpu: .*RuntimeError: the licence server is away"),
        ("Hangs", "it cannot be built on cpu: it was not done within 900 s"),
    ],
)
def test_every_unit_says_why_processes_could_not_be_set_up(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, reason: str
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    run(clips, tmp_path, {"codec": f"unbuildable:{codec}", "name": "it"}, workers=2)
    found = rows(tmp_path)
    assert set(found["clip"]) == {f"{name}.wav" for name in NAMES}
    assert found["reason"].str.contains(reason).all(), set(found["reason"])


def test_a_process_that_sends_what_cannot_be_read_is_ended(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through, spoiled = Host._through, []

    def once(self: Host, connection: Any, shard: Any) -> object:
        if not spoiled:
            spoiled.append(self._process)
            connection.send(shard)
            connection.recv()
            raise AttributeError("no such class here")
        return through(self, connection, shard)

    monkeypatch.setattr(Host, "_through", once)
    assert run(clips, tmp_path, fake("Quantizer"), workers=1).failed == 0
    assert not spoiled[0].is_alive()
