"""What lies in the current folder is data: no module of it is imported without `--allow-code`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from engine_runs import make_clips

REPOSITORY = Path(__file__).resolve().parents[3]
SPEC = """
name: here
corpus: {kind: folder, path: clips}
protocol: {sample_rate: 16000, channels: mono, excerpt_seconds: 0.2}
metrics: {default: [si_sdr, stoi]}
systems: [{codec: opus, points: [16]}]
costs: {enabled: false}
"""
# Modules that the helpers, or libraries in them, import first or late.
NAMES = (
    "signal", "random", "numpy", "pesq", "torch", "pystoi", "soundfile", "av", "sitecustomize",
    "usercustomize", "resource", "scipy", "numba", "pebble", "pickle", "socket", "selectors",
)  # fmt: skip
TRAP = "open({mark!r}, 'a').write({name!r} + ' ')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of somebody else's: clips, a spec, and code under names that programs import."""
    make_clips(tmp_path / "clips", ["a", "b"])
    (tmp_path / "spec.yaml").write_text(SPEC)
    mark = str(tmp_path / "ran")
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(TRAP.format(mark=mark, name=name))
    for name in ("rdbench", "multiprocessing", "rdbench/engine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(TRAP.format(mark=mark, name=name))
    return tmp_path


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def console_script(folder: Path) -> str:
    """What pip installs as `rdbench`, in a folder of its own."""
    script = folder.parent / f"bin_{folder.name}" / "rdbench"
    script.parent.mkdir()
    script.write_text("import sys\nfrom rdbench.cli.main import entry\nsys.exit(entry())\n")
    return str(script)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_helpers_import_nothing_from_the_current_folder(folder: Path, device: str) -> None:
    arguments = ("run", "spec.yaml", "--out", "run", "--device", device, "--workers", "2")
    done = run(folder, console_script(folder), *arguments)
    assert done.returncode == 0, done.stderr
    assert not (folder / "ran").exists(), (folder / "ran").read_text()


def test_a_module_of_the_current_folder_is_out_of_reach_of_python_m(folder: Path) -> None:
    done = run(folder, "-P", "-m", "rdbench", "run", "spec.yaml", "--out", "run", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert not (folder / "ran").exists(), (folder / "ran").read_text()


def test_settings_of_libraries_in_the_current_folder_are_refused_or_have_no_effect(
    folder: Path,
) -> None:
    """Numba would load pickles from a folder that its settings name."""
    (folder / "matplotlibrc").write_text("backend: nonsense\n")
    done = run(folder, "-P", "-m", "rdbench", "run", "spec.yaml", "--out", "run", "--workers", "1")
    assert done.returncode == 0, done.stderr
    (folder / ".numba_config.yaml").symlink_to("nowhere")
    done = run(folder, "-P", "-m", "rdbench", "status", "run")
    assert done.returncode == 2
    assert ".numba_config.yaml" in done.stderr


WHERE = """
import sys
sys.path[:0] = {inserted!r}
import rdbench
from rdbench.engine.executors.pool import worker_pool
with worker_pool(1) as pool:
    asked = "__import__('rdbench.engine.executors.preload').__file__"
    pool.submit(eval, asked, timeout=60, done=print, lost=print)
    pool.wait()
print(rdbench.__file__)
"""


@pytest.mark.parametrize("how", ["PYTHONPATH", "beside the script", "put on the path"])
def test_helpers_have_the_same_rdbench(tmp_path: Path, how: str) -> None:
    ignored = shutil.ignore_patterns("weights", "embedded", "assets", "__pycache__")
    copy = tmp_path / "checkout"
    shutil.copytree(REPOSITORY / "rdbench", copy / "rdbench", ignore=ignored)
    script = (copy if how == "beside the script" else tmp_path) / "where.py"
    script.write_text(WHERE.format(inserted=[str(copy)] if how == "put on the path" else []))
    path = str(copy) if how == "PYTHONPATH" else ""
    done = run(tmp_path, str(script), PYTHONPATH=path)
    assert done.stdout.splitlines() == [str(copy / "rdbench" / "__init__.py")] * 2, done.stderr
