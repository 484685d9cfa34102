"""The command line as a user meets it: help, errors of one sentence, exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from commands import rdbench

from rdbench.version import __version__

RATE = 16000
SPEC = """
name: small
corpus: {kind: folder, path: clips}
protocol: {sample_rate: 16000, channels: mono, excerpt_seconds: 1.0}
metrics: {default: [si_sdr, lsd]}
systems:
  - {codec: identity}
  - {codec: opus, points: [12, 24]}
costs: {enabled: false}
"""


def started(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "rdbench", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a spec and two clips."""
    clips = tmp_path / "clips"
    clips.mkdir()
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        soundfile.write(clips / f"{name}.wav", 0.1 * generator.standard_normal(RATE), RATE)
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


def test_a_refused_run_leaves_no_process_behind(project: Path) -> None:
    """The server of processes is importing when the codec turns out to lack an option."""
    (project / "spec.yaml").write_text(SPEC.replace("{codec: identity}", "{codec: files}"))
    mark = str(project)
    done = subprocess.Popen(
        [sys.executable, "-m", "rdbench", "run", "spec.yaml", "--out", "out"],
        cwd=project,
        env={**os.environ, "TEST_MARK": mark},
        stderr=subprocess.DEVNULL,
    )
    assert done.wait(60) == 2
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TEST_MARK") == mark:
                left.append(" ".join(process.cmdline()))
    # It takes away the semaphores of the others, and ends by itself.
    assert not [line for line in left if line and "resource_tracker" not in line]


def test_help_lists_the_commands(tmp_path: Path) -> None:
    shown = started("--help", cwd=tmp_path)
    assert shown.returncode == 0
    for command in ("run", "report", "codecs", "metrics"):
        assert command in shown.stdout


def test_the_version_alone_and_with_all_that_a_report_of_a_mistake_needs(tmp_path: Path) -> None:
    assert started("--version", cwd=tmp_path).stdout == f"rdbench {__version__}\n"
    whole = rdbench("--version", "-v", cwd=tmp_path)
    assert whole.returncode == 0
    names = [line.split()[0] for line in whole.stdout.splitlines()]
    assert {"rdbench", "python", "torch", "pesq", "devices:"} <= set(names)
    alone = rdbench("-v", cwd=tmp_path)
    assert alone.returncode == 2
    assert "it goes with --version" in alone.stderr


def test_a_run_prints_its_table_and_ends_with_0_and_its_report_can_be_made_again(
    project: Path,
) -> None:
    done = started("run", "spec.yaml", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "opus" in done.stdout
    folder = project / "results" / "small"
    for name in ("table.md", "table.csv", "manifest.json", "figures/overview_audio.png"):
        assert (folder / name).is_file()
        assert Path(name).suffix == ".json" or Path(name).name in done.stdout
    (folder / "table.md").unlink()
    again = rdbench("report", "results/small", cwd=project)
    assert again.returncode == 0
    assert again.stdout == done.stdout
    assert (folder / "table.md").is_file()
    (folder / "figures" / "overview_audio.png").unlink()
    mended = rdbench("run", "spec.yaml", cwd=project)
    assert mended.stdout == done.stdout
    assert (folder / "figures" / "overview_audio.png").is_file()
    finished = rdbench("run", "spec.yaml", cwd=project)
    assert finished.returncode == 0
    assert "was finished: nothing was measured" in finished.stdout


def test_failed_units_end_with_1_and_keep_the_rest(project: Path) -> None:
    (project / "clips" / "broken.wav").write_bytes(b"RIFF")
    done = rdbench("run", "spec.yaml", cwd=project)
    assert done.returncode == 1
    assert "measurements failed" in done.stderr
    assert "broken.wav" in done.stderr
    assert "Traceback" not in done.stderr
    assert "2/3" in (project / "results" / "small" / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "edit", "sentence"),
    [
        (("run", "absent.yaml"), None, "absent.yaml"),
        (("run", "spec.yaml"), ("si_sdr", "si_sdrr"), "did you mean 'si_sdr'?"),
        (("run", "spec.yaml"), ("codec: opus", "codec: opsu"), "did you mean 'opus'?"),
        (("run", "spec.yaml"), ("points: [12, 24]", "points: [2000]"), "opus"),
        (("run", "spec.yaml"), ("points: [12, 24]", "options: {mood: vbr}"), "mode"),
        (("run", "spec.yaml"), ("path: clips", "path: nowhere"), "nowhere"),
        (("run", "spec.yaml", "--device", "cuda:99"), None, "cuda:99"),
        (("run", "spec.yaml", "--option", "opus"), None, "NAME.KEY=VALUE"),
        (("run", "spec.yaml", "--out", "spec.yaml/x"), None, "spec.yaml"),
        (("run", "spec.yaml", "--out", "clips"), None, "holds files that are not of a run"),
        (("run", "spec.yaml"), ("[si_sdr, lsd]", "[pesq_wb]"), "corpus.domain"),
        (("report", "clips"), None, "clips"),
        (("fit-entropy", "spec.yaml", "--out", "nowhere/t.json"), None, "nowhere/t.json"),
        (("fit-entropy", "spec.yaml", "--out", f"{'n' * 245}.json"), None, "cannot write"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(
    project: Path, arguments: tuple[str, ...], edit: tuple[str, str] | None, sentence: str
) -> None:
    if edit:
        (project / "spec.yaml").write_text(SPEC.replace(*edit))
    done = rdbench(*arguments, cwd=project)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_folder_without_audio_is_named(project: Path) -> None:
    (project / "empty").mkdir()
    (project / "spec.yaml").write_text(SPEC.replace("path: clips", "path: empty"))
    done = rdbench("run", "spec.yaml", cwd=project)
    assert done.returncode == 2
    assert "empty" in done.stderr


LAUNCH = """
import os, signal, sys
signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-m", "rdbench", "run", "spec.yaml"])
"""


def running_under(project: Path, interrupts: str) -> subprocess.Popen[str]:
    """A run that has begun to measure, whose process began with SIGINT treated so."""
    running = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, interrupts], cwd=project, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    assert "clip evaluations" in running.stderr.readline()
    return running


def test_ctrl_c_stops_within_seconds_and_the_run_goes_on_later(project: Path) -> None:
    running = running_under(project, "SIG_DFL")
    running.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, rest = running.communicate(timeout=60)
    # Two seconds are promised on an idle machine; this one may be busy with other tests.
    assert time.monotonic() - began < 20
    assert running.returncode == 130
    assert rest.splitlines()[-1].startswith("rdbench: interrupted; results/small keeps")
    assert rdbench("run", "spec.yaml", "-q", cwd=project).returncode == 0


def test_a_run_in_the_background_of_a_script_is_stopped_by_sigterm_alone(project: Path) -> None:
    """Scripts start such jobs with SIGINT ignored: the Ctrl-C of a terminal is not meant for them.

    The corpus is large enough that the run does not end before both signals came.
    """
    for index in range(100):
        soundfile.write(project / "clips" / f"more_{index}.wav", np.full(RATE, index / 200), RATE)
    running = running_under(project, "SIG_IGN")
    running.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(0.2)
    running.terminate()
    _, rest = running.communicate(timeout=60)
    assert running.returncode == 143
    assert rest.splitlines()[-1].startswith("rdbench: terminated; results/small keeps")
