"""Clusters in YAML: what a file may say, and what Dask is told for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rdbench.engine.executors.cluster.connect import Target
from rdbench.engine.executors.cluster.settings import JobSettings, read_settings
from rdbench.engine.run import RunOptions
from rdbench.types import RdbenchError, SpecError

SLURM: dict[str, Any] = {
    "kind": "slurm", "workers": 8, "cores": 16, "slots": 16, "memory": "32GB",
    "walltime": "04:00:00", "queue": "gpu", "account": "audio", "directives": ["--gres=gpu:1"],
    "prologue": ["source env/activate"], "environment": {"RDBENCH_DATA": "/scratch/my data"},
    "python": "python", "interface": "lo",
}  # fmt: skip


def settings(tmp_path: Path, content: Any) -> Any:
    path = tmp_path / "cluster.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return read_settings(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (SLURM | {"wall": 1}, "`wall` is not a known key; did you mean 'walltime'"),
        (SLURM | {"workers": 0}, "`workers` is 0, but it should be greater than or equal to 1"),
        (SLURM | {"walltime": "4h"}, "`walltime` is '4h', but it should match pattern"),
        ({"kind": "cloud"}, "`kind` is 'cloud'; choose from: slurm, pbs"),
        ("[1", "is not valid YAML"),
        ("[" * 1_000, "is not valid YAML"),
        ("3", "must be a mapping of keys"),
    ],
)
def test_a_file_that_says_nothing_of_use_is_a_sentence(
    tmp_path: Path, content: Any, why: str
) -> None:
    with pytest.raises(SpecError) as error:
        settings(tmp_path, content)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_workers_leave_before_their_time_is_over(tmp_path: Path) -> None:
    arguments = settings(tmp_path, SLURM).arguments()
    assert arguments["worker_extra_args"][:4] == [
        "--lifetime", "14100s", "--lifetime-stagger", "120s",
    ]  # fmt: skip
    short = settings(tmp_path, SLURM | {"walltime": "00:05:00"})
    assert short.arguments()["worker_extra_args"][1] == "150s"


SCRIPTS = {
    "slurm": (
        "#SBATCH -p gpu", "#SBATCH -A audio", "#SBATCH --cpus-per-task=16", "#SBATCH --mem=30G",
        "#SBATCH -t 04:00:00", "#SBATCH --gres=gpu:1",
    ),
    "pbs": ("#PBS -q gpu", "#PBS -A audio", "#PBS -l select=1:ncpus=16:mem=32GB"),
    "sge": ("#$ -q gpu", "#$ -P audio", "#$ -l h_rt=04:00:00"),
    "lsf": ("#BSUB -q gpu", '#BSUB -P "audio"', "#BSUB -n 16", "#BSUB -W 04:00:00"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SCRIPTS)
def test_the_script_of_a_job_says_what_was_asked_for(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("dask_jobqueue")
    found = settings(tmp_path, SLURM | {"kind": kind})
    assert isinstance(found, JobSettings)
    cluster = found.make()
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    prologue = ("source env/activate", "export RDBENCH_DATA='/scratch/my data'")
    for line in (*SCRIPTS[kind], *prologue):
        assert line in script.splitlines()
    assert "--nthreads 16" in script
    assert "--lifetime 14100s" in script


def test_what_ssh_and_kubernetes_are_told(tmp_path: Path) -> None:
    ssh = settings(tmp_path, {"kind": "ssh", "hosts": ["a", "b"], "workers": 2, "slots": 4})
    told = ssh.arguments()
    assert told["hosts"] == ["a", "a", "b"]
    assert told["worker_options"] == {"nthreads": 4, "n_workers": 2}
    pods = settings(
        tmp_path, {"kind": "kubernetes", "image": "me/rdbench:1", "workers": 3, "namespace": "x"}
    )
    told = pods.arguments()
    assert (told["image"], told["n_workers"], told["namespace"]) == ("me/rdbench:1", 3, "x")


def test_quiet_on_this_side_is_not_told_to_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that SSH starts take this side's configuration, and must say that they listen."""
    config = pytest.importorskip("dask").config
    pytest.importorskip("distributed")
    monkeypatch.setattr("rdbench.engine.executors.cluster.connect.CONNECT_SECONDS", 0.2)
    with config.set({"logging": None}):  # as where nobody has asked for a log
        before = config.serialize(config.global_config)
        with pytest.raises(RdbenchError):
            Target.of("tcp://127.0.0.1:9").connect()
        assert config.serialize(config.global_config) == before


@pytest.mark.parametrize(
    "text", ["", "local:0", "local:many", "local:-1", "somewhere", "absent.yaml"]
)
def test_what_names_no_cluster_is_refused_before_anything_is_started(text: str) -> None:
    with pytest.raises(SpecError, match="cluster"):
        Target.of(text)


def test_a_scheduler_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdbench.engine.executors.cluster.connect.CONNECT_SECONDS", 0.2)
    with pytest.raises(RdbenchError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        Target.of("tcp://127.0.0.1:9").connect()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"workers": 2}, "--workers"),
        ({"device": "cuda:1"}, "--device cuda:1"),
        ({"costs": "again"}, "costs belong to a machine"),
    ],
)
def test_options_that_go_with_one_machine_alone_are_refused(
    options: dict[str, Any], why: str
) -> None:
    with pytest.raises(SpecError, match=why):
        RunOptions(cluster="local:2", **options)
