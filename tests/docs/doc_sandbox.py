"""A folder in which the commands of the documentation run as they stand, in seconds.

It looks like a checkout, but for files under the names of our specs, cut to two systems at two
points, two clips and two metrics; its recipe is cut to one step of training, and its published
results to a few systems and metrics.
`.venv/bin` holds commands of the Python that runs the tests, `rdbench` by way of `warm_commands`;
`pip install --editable .` there only makes the entry points of the folder's pyproject.toml known.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from warm_commands import CLIENT

from rdbench.spec import shipped

ROOT = Path(__file__).resolve().parents[2]
METRICS = ["si_sdr", "mel_dac_16k", "mel_dac_44k"]
RESULT_METRICS = {"pesq_wb", "stoi", "si_sdr", "residual_delay"}
RESULT_SYSTEMS = {"opus", "lyra", "mp3", "identity"}

_PIP = """\
import sys, tomllib
from pathlib import Path
assert sys.argv[1:] == ["install", "--editable", "."], "only `pip install --editable .` is known"
project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
info = Path(f"{project['name'].replace('-', '_')}-{project['version']}.dist-info")
info.mkdir(exist_ok=True)
text = f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: {project['version']}\\n"
(info / "METADATA").write_text(text)
groups = project["entry-points"].items()
lines = [f"[{g}]\\n" + "".join(f"{k} = {v}\\n" for k, v in e.items()) for g, e in groups]
(info / "entry_points.txt").write_text("\\n".join(lines))
"""


def make_sandbox(folder: Path) -> None:
    """Fills `folder`."""
    _commands(folder / ".venv" / "bin")
    _program(folder / "old" / "bin" / "python", "")
    _clips(folder / "FOLDER")
    shutil.copytree(folder / "FOLDER", folder / "clips")
    _training(folder / "training")
    for path in shipped.FOLDER.glob("*.yaml"):  # a file here wins over the spec of that name
        _write(folder / path.stem, cut_spec(_read(path)))
    for path in (ROOT / "benchmarks" / "recipes").glob("*.yaml"):
        _write(folder / "benchmarks" / "recipes" / path.name, _cut_recipe(_read(path)))
    (folder / "baselines").mkdir()
    (folder / "checkpoints").mkdir()
    shutil.copy(
        ROOT / "rdbench" / "models" / "weights" / "vae_1k5.safetensors",
        folder / "checkpoints" / "step_1000.safetensors",
    )
    _results(folder / ".published")


def socket_of(folder: Path) -> Path:
    """Where `rdbench` of the sandbox is served."""
    return folder / ".venv" / "served"


def restore(folder: Path) -> None:
    """Puts there again what a page finds: the published results, an installed checkout."""
    for info in folder.glob("*.dist-info"):
        shutil.rmtree(info)
    for name in ("pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, folder)
    for name in (".base", ".test", ".docs"):  # newer than pyproject.toml: nothing to install
        (folder / ".venv" / name).touch()
    for name in ("speech_16k", "vae", "last_week", "now"):
        target = folder / "results" / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder / ".published", target)


def environment(folder: Path) -> dict[str, str]:
    """Of commands that run in the sandbox."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    python = os.pathsep.join([str(folder), str(ROOT)])
    return {**os.environ, **threads, "PATH": path, "PYTHONPATH": python, "COLUMNS": "120"}


def bash(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Runs a script that stops at its first failure."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment(folder),
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def cut_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """The first system and the last that is no anchor, at two points and without passes."""
    systems = [s for s in spec["systems"] if s["codec"] not in ("identity", "lowpass")]
    kept = [systems[0], systems[-1]]
    for system in kept:
        if "points" in system:
            system["points"] = system["points"][:2]
    spec["systems"] = kept
    spec["metrics"] = {"default": METRICS[:2]}
    spec["corpus"] |= {"sample": {"clips": 2}, "domains": ["speech"]}
    spec["costs"], spec["entropy"] = {"enabled": False}, {"enabled": False}
    return spec


def _cut_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    recipe["common"] |= {"steps": 1, "save_every": 1, "precision": "32-true"}
    recipe["common"]["data"]["batch"] = 1
    first = recipe["stages"][0]
    recipe["stages"] = [{**first, "steps": 1}]
    return recipe


def _commands(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder.parent / "pip.py").write_text(_PIP)
    (folder.parent / "client.py").write_text(CLIENT)
    served = f"-I -S {folder.parent / 'client.py'} {socket_of(folder.parent.parent)} rdbench"
    refused = "-c 'raise SystemExit(\"this python installs nothing\")'"
    programs = {
        "python": refused,
        "rdbench": served,
        "pytest": "-m pytest -p no:cacheprovider",
        "pip": str(folder.parent / "pip.py"),
    }
    for name, words in programs.items():
        _program(folder / name, words)


def _program(script: Path, words: str) -> None:
    """One that runs this Python with these words."""
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
    script.chmod(0o755)


def _clips(folder: Path) -> None:
    from rdbench.audio.corpus import embedded_corpus

    folder.mkdir()
    lines = ["file,domain,group"]
    clips = [clip for clip in embedded_corpus().clips if clip.domain == "speech"]
    for clip in clips[:2]:
        shutil.copy(clip.path, folder)
        lines.append(f"{clip.path.name},speech,{clip.group}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def _training(folder: Path) -> None:
    """Clips that are not among those of `_clips`."""
    from rdbench.audio.corpus import embedded_corpus

    folder.mkdir()
    for clip in [clip for clip in embedded_corpus().clips if clip.domain == "speech"][2:4]:
        shutil.copy(clip.path, folder)


def _results(folder: Path) -> None:
    from rdbench.store.manifest import write_manifest
    from rdbench.store.reader import read_manifest, read_rows
    from rdbench.store.schema import Kind, Row
    from rdbench.store.writer import RunWriter
    from rdbench.types import Status

    rows = read_rows(ROOT / "results" / "speech_16k")
    scores = (rows["kind"] != "metric") | rows["key"].isin(RESULT_METRICS)
    rows = rows[rows["system"].isin(RESULT_SYSTEMS) & scores]
    manifest = dict(read_manifest(ROOT / "results" / "speech_16k"))
    for part, kept in (("systems", RESULT_SYSTEMS), ("metrics", RESULT_METRICS)):
        manifest[part] = {k: v for k, v in manifest[part].items() if k in kept}
    plan = (one for one in manifest["plan"] if one["system"] in RESULT_SYSTEMS)
    manifest["plan"] = [_cut_plan(one) for one in plan]
    with RunWriter(folder) as writer:
        for row in rows.to_dict("records"):
            cells = {str(column): value for column, value in row.items()}
            cells |= {"kind": Kind(row["kind"]), "status": Status(row["status"])}
            writer.append([Row(**cells)])
    write_manifest(folder, manifest)


def _cut_plan(entry: dict[str, Any]) -> dict[str, Any]:
    each = [one for one in entry["each"] if one[0] != "metric" or one[1] in RESULT_METRICS]
    return {**entry, "each": each}


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
