"""Two clusters of two processes each, one of them killed midway: the tables of one machine.

There are two ways to have two: two machines at one scheduler, and two schedulers with half of the
clips each, whose runs `rdbench merge` joins.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from commands import rdbench
from engine_runs import everything, fake, make_clips, run, write_manifest

from rdbench.types import RdbenchError

pytest.importorskip("distributed")

from machines import Network
from test_cluster_runs import Once

from rdbench.engine.executors.cluster.local import LocalCluster

pytestmark = pytest.mark.slow

NAMES = [f"clip {number}" for number in range(12)]
SYSTEMS = (fake("Quantizer"), {"codec": "identity"})
METRICS = ("snr", "frechet_logmel")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return make_clips(tmp_path / "clips", NAMES)


def listed(clips: Path, names: list[str], file: str) -> Path:
    """A manifest of some of the clips."""
    path = write_manifest(clips, {name: name for name in names})
    return path.rename(path.with_name(file))


def tables(folder: Path) -> dict[str, bytes]:
    """What `rdbench report` makes of a run, but for figures."""
    done = rdbench("report", folder, "--out", folder / "report", "--quiet")
    assert done.returncode == 0, done.stderr
    found = {path.relative_to(folder / "report"): path for path in (folder / "report").rglob("*")}
    kinds = (".md", ".csv", ".tex")
    return {str(name): path.read_bytes() for name, path in found.items() if path.suffix in kinds}


def clip_rows(folder: Path) -> pd.DataFrame:
    """All but what a merge makes anew: what is of sets, and which run each row is of."""
    found = everything(folder).drop(columns="provenance")
    return found[found["clip"] != ""]


def check_equal(folder: Path, one_machine: Path) -> None:
    pd.testing.assert_frame_equal(everything(folder), everything(one_machine), check_exact=True)
    check_tables(folder, one_machine)


def check_tables(folder: Path, one_machine: Path) -> None:
    """Byte for byte, but for the name of the corpus in a merge."""
    made, expected = tables(folder), tables(one_machine)
    made = {name: text.replace(b"of 2 runs.", b"of all.csv.") for name, text in made.items()}
    assert "table.md" in made
    assert made == expected


@pytest.fixture
def network(own_cache: None, tmp_path: Path) -> Iterator[Network]:
    (tmp_path / "machines").mkdir()
    started = Network(tmp_path / "machines", 2)
    yield started
    started.close()


def test_two_machines_finish_a_run_of_which_one_is_killed(
    network: Network, clips: Path, tmp_path: Path
) -> None:
    corpus = listed(clips, NAMES, "all.csv")
    progress = Once(network.machines[0].kill)
    run(
        corpus, tmp_path / "two", *SYSTEMS, metrics=METRICS, progress=progress,
        cluster=network.address, workers=None,
    )  # fmt: skip
    assert [line for line in progress.said if "gone" in line], progress.said
    run(corpus, tmp_path / "one", *SYSTEMS, metrics=METRICS)
    check_equal(tmp_path / "two", tmp_path / "one")


def test_two_clusters_share_the_clips_and_one_takes_up_what_the_other_left(
    clips: Path, tmp_path: Path
) -> None:
    halves = {"a": NAMES[:6], "b": NAMES[6:]}
    corpora = {part: listed(clips, names, f"{part}.csv") for part, names in halves.items()}
    clusters = {part: LocalCluster(2) for part in halves}
    failed: dict[str, RdbenchError] = {}

    def measure(part: str, cluster: LocalCluster, progress: Once | None = None) -> None:
        try:
            run(
                corpora[part], tmp_path / part, *SYSTEMS, metrics=METRICS, progress=progress,
                cluster=cluster.address, workers=None,
            )  # fmt: skip
        except RdbenchError as error:
            failed[part] = error

    try:
        killed = Once(clusters["b"].end_scheduler)
        beside = threading.Thread(target=measure, args=("b", clusters["b"], killed))
        beside.start()
        measure("a", clusters["a"])
        beside.join()
        assert set(failed) == {"b"}, failed
        measure("b", clusters["a"])
    finally:
        for one in clusters.values():
            one.close()
    done = rdbench("merge", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "joined")
    assert done.returncode == 0, done.stderr
    run(listed(clips, NAMES, "all.csv"), tmp_path / "one", *SYSTEMS, metrics=METRICS)
    joined, one = (clip_rows(tmp_path / name) for name in ("joined", "one"))
    pd.testing.assert_frame_equal(joined, one, check_exact=True)
    check_tables(tmp_path / "joined", tmp_path / "one")
