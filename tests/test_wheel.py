"""The wheel has all that rdbench needs, and does its main job where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.wheel, pytest.mark.xdist_group("wheel")]
BUILT_OF = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy, since a build leaves files beside what it builds."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in BUILT_OF:
        shutil.copy(REPOSITORY / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "rdbench", source / "rdbench", ignore=ignored)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", out]
    call(sys.executable, "-m", "pip", "wheel", *map(str, options), str(source), cwd=source)
    (found,) = out.glob("rdbench-*.whl")
    return found


@pytest.fixture(scope="module")
def commands(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment, which has nothing but the wheel and what it needs.

    That is found where the tests have it; of the rdbench there, which is linked to the checkout by
    a file that Python reads in its own environment alone, nothing is.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    place = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", place))
    needed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "needed.pth").write_text("\n".join(needed) + "\n")
    python = folder / "bin" / "python"
    options = ["--no-deps", "--no-index", "--ignore-installed", "--quiet", str(wheel)]
    call(sys.executable, "-m", "pip", "--python", str(python), "install", *options, cwd=folder)
    return folder / "bin"


def call(*words: str, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    ours = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "rdbench").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    there = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert there == ours


def test_a_benchmark_runs_by_its_name_from_an_installed_wheel(
    commands: Path, tmp_path: Path
) -> None:
    where = "import rdbench; print(rdbench.__file__)"
    assert call(str(commands / "python"), "-c", where, cwd=tmp_path).startswith(
        str(commands.parent)
    )
    command = str(commands / "rdbench")
    assert "quick " in call(command, "specs", cwd=tmp_path)
    shown = call(command, "run", "quick", "--limit", "1", "--costs", "none", cwd=tmp_path)
    assert "VAE (target KL)" in shown
    run = tmp_path / "results" / "quick"
    assert (run / "figures" / "speech_pesq_wb.png").is_file()
    assert (run / "table.md").is_file()
    asked = "import rdbench; print(rdbench.Run('results/quick').failures().shape[0])"
    assert call(str(commands / "python"), "-c", asked, cwd=tmp_path) == "0\n"
