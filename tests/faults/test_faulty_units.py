"""Codecs and metrics that fail, through the command line: rows, log and exit code of each fault.

docs/reliability.md has the table of these outcomes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from commands import rdbench
from small_benchmark import make_clips

from rdbench.store.reader import read_rows

HERE = Path(__file__).resolve().parent
PLACES = (HERE, HERE / "hooks", HERE.parent / "engine")
CODECS = {
    "Raises": "fakes",
    "NotFinite": "fakes",
    "WrongLength": "fakes",
    "WrongChannels": "faulty_codecs",
    "Mutates": "fakes",
    "NoMemory": "faulty_codecs",
    "Slow": "faulty_codecs",
    "Segfaults": "faulty_codecs",
    "HangsHere": "faulty_codecs",
}


def run(
    folder: Path, systems: Sequence[dict[str, Any]], metrics: Sequence[str]
) -> tuple[subprocess.CompletedProcess[str], pd.DataFrame]:
    make_clips(folder / "clips", count=2)
    spec = {
        "name": "faulty",
        "corpus": {"kind": "folder", "path": "clips"},
        "protocol": {"sample_rate": 16000, "channels": "mono", "excerpt_seconds": 0.5},
        "metrics": {"default": list(metrics)},
        "systems": list(systems),
        "costs": {"enabled": False},
        "timeouts": {"unit_seconds": 6.0},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    path = os.pathsep.join([*map(str, PLACES), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "rdbench", "run", "spec.yaml", "--allow-code", "--out", "run",
         "--workers", "2"],
        cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    return done, read_rows(folder / "run")


@pytest.fixture(scope="module")
def codecs(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[subprocess.CompletedProcess[str], pd.DataFrame, Path]:
    folder = tmp_path_factory.mktemp("codecs")
    systems = [{"codec": "fakes:Quantizer", "name": "Sound"}]
    systems += [{"codec": f"{module}:{name}", "name": name} for name, module in CODECS.items()]
    done, rows = run(folder, systems, ["snr"])
    return done, rows, folder


@pytest.mark.parametrize(
    ("name", "reason", "failing"),
    [
        ("Raises", "Raises|quantizer raised RuntimeError while decoding .*: out of luck", "metric"),
        ("NotFinite", "decoded to samples that are not finite", "metric"),
        ("WrongLength", "decoded to lengths in samples", "metric"),
        ("WrongChannels", "decoded to clips and channels", "metric"),
        ("NoMemory", "out of device memory with a single clip", "all"),
        ("Segfaults", "worker process died", "lower"),
        ("HangsHere", "no answer within 6 s", "lower"),
        ("Slow", "", "none"),
        ("Mutates", "", "none"),
        ("Sound", "", "none"),
    ],
)
def test_a_fault_of_a_codec_has_its_rows_and_costs_no_other(
    codecs: tuple[subprocess.CompletedProcess[str], pd.DataFrame, Path],
    name: str,
    reason: str,
    failing: str,
) -> None:
    _, rows, _ = codecs
    own = rows[rows["system"] == name]
    assert len(own) == 2 * 2 * 3  # clips, points; rate, delay, one metric
    expected = {
        "none": own["unit_key"] == "",
        "all": own["unit_key"] != "",
        "metric": own["kind"] == "metric",
        "lower": own["point"] == "2bit",
    }[failing]
    assert (own[expected]["status"] == "failed").all()
    assert (own[~expected]["status"] == "ok").all()
    assert own[expected]["value"].isna().all()
    assert own[expected]["reason"].str.contains(reason).all()


def test_a_codec_that_changes_its_input_scores_like_one_that_does_not(
    codecs: tuple[subprocess.CompletedProcess[str], pd.DataFrame, Path],
) -> None:
    _, rows, _ = codecs
    honest, changing = (rows[rows["system"] == name]["value"] for name in ("Sound", "Mutates"))
    assert honest.tolist() == changing.tolist()


def test_failed_units_end_with_1_are_logged_and_counted(
    codecs: tuple[subprocess.CompletedProcess[str], pd.DataFrame, Path],
) -> None:
    done, rows, folder = codecs
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    failed = int((rows["status"] == "failed").sum())
    assert f"{failed} measurements failed" in done.stderr
    assert "no answer within 6 s" in done.stderr
    status = json.loads(rdbench("status", "run", "--json", cwd=folder).stdout)
    assert status["counts"]["failed"] == failed
    assert status["counts"]["missing"] == 0
    assert sum(count for _, count in status["reasons"]) == failed
    whole = rdbench("validate", "run", cwd=folder)
    assert whole.returncode == 0
    assert f"{failed} rows have failed" in whole.stdout


def test_a_fault_of_a_metric_has_its_rows_and_the_run_goes_on(tmp_path: Path) -> None:
    systems = [{"codec": "fakes:Quantizer", "name": "Sound"}]
    metrics = ["snr", "fault_raises", "fault_nan", "fault_segfaults"]
    done, rows = run(tmp_path, systems, metrics)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for key, reason in {
        "fault_raises": "fault_raises raised ArithmeticError: no such logarithm",
        "fault_nan": "came out as nan, which is no measurement",
        "fault_segfaults": "worker process died",
    }.items():
        own = rows[rows["key"] == key]
        assert len(own) == 4
        assert (own["status"] == "failed").all()
        assert own["reason"].str.contains(reason).all(), own["reason"].tolist()
    others = rows[~rows["key"].str.startswith("fault_")]
    assert (others["status"] == "ok").all()


def test_a_metric_that_hangs_costs_its_clip_and_point_and_no_more(tmp_path: Path) -> None:
    systems = [{"codec": "fakes:Quantizer", "name": "Sound"}]
    done, rows = run(tmp_path, systems, ["snr", "fault_hangs"])
    assert done.returncode == 1, done.stderr
    hung = rows[rows["key"] == "fault_hangs"]
    assert (hung["status"] == "failed").all()
    assert hung["reason"].str.contains("no answer within 6 s").all()
    assert len(rows[rows["key"] == "snr"]) == len(hung)
