"""The example workflow of a leaderboard's repository: its steps run as the commands they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from submissions import change_rows, fill_in

WORKFLOW = Path(__file__).resolve().parents[2] / "docs/examples/leaderboard-workflow.yml"
SET_UP = ("pip install ./rdbench",)  # needs an index; the rdbench that is tested stands in


@pytest.fixture
def repository(complete: Path, clips: Path, tmp_path: Path) -> Path:
    """A repository with one submission on main, its clips, and a remote of its own."""
    folder = tmp_path / "repository"
    shutil.copytree(complete, folder / "submissions" / "opus_run")
    shutil.copytree(clips, folder / "clips")
    program = tmp_path / "bin" / "rdbench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rdbench "$@"\n')
    program.chmod(0o755)
    remote = tmp_path / "remote.git"
    begin = f"git init -q --bare {remote} && git init -q -b main"
    push = f"git remote add origin {remote} && git push -q -u origin main"
    assert shell(folder, f"{begin} && {COMMIT} && {push}").returncode == 0
    return folder


COMMIT = "git add -A && git -c user.name=a -c user.email=a@b commit -qm change"


def shell(folder: Path, command: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command],  # as GitHub runs it
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PATH": path, **env},
    )  # fmt: skip


def steps(job: str) -> list[dict[str, Any]]:
    content = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    found = [step for step in content["jobs"][job]["steps"] if "run" in step]
    return [step for step in found if not step["run"].startswith(SET_UP)]


def run_job(folder: Path, job: str, **env: str) -> tuple[str, str]:
    """The name of the step that fails, "" where none does, and what was said."""
    said = ""
    for step in steps(job):
        done = shell(folder, step["run"], BASE="origin/main", **env)
        said += done.stdout + done.stderr
        if done.returncode:
            return step["name"], said
    return "", said


def test_a_good_pull_request_passes_and_has_a_site(repository: Path) -> None:
    failed, said = run_job(repository, "check")
    assert failed == "", said
    assert (repository / "site" / "boards" / "opus_run.html").is_file()


def test_a_bad_submission_and_a_record_of_ones_own_fail(repository: Path) -> None:
    fill_in(repository / "submissions" / "opus_run", by="")
    failed, said = run_job(repository, "check")
    assert failed == "Check"
    assert "does not say who submits" in said
    (repository / "submissions" / "opus_run" / "reproduction.json").write_text("{}")
    assert shell(repository, COMMIT).returncode == 0
    failed, said = run_job(repository, "check")
    assert failed == "Refuse records of others"
    assert "only the keepers add records: submissions/opus_run/reproduction.json" in said


def test_a_record_is_kept_whether_or_not_it_came_out_the_same(repository: Path) -> None:
    submission = repository / "submissions" / "opus_run"
    change_rows(submission, lambda r: r.assign(value=r["value"] + (r["key"] == "lsd")))
    assert shell(repository, COMMIT).returncode == 0
    failed, said = run_job(repository, "reproduce", SUBMISSION="opus_run")
    assert failed == "", said
    assert "came out otherwise" in said
    pushed = shell(repository, "git show --stat --format=%s origin/main").stdout
    assert "Reproduce opus_run" in pushed
    assert "reproduction.json" in pushed
