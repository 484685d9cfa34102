"""`rdbench compare`, `check` and `import-scores` as a user meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from commands import rdbench
from terminals import in_a_terminal

from rdbench.analysis.matched import Matched
from rdbench.analysis.paired import PAIR_COLUMNS
from rdbench.analysis.runs import read_run
from rdbench.report.text.matched import verdict
from rdbench.store.schema import SCHEMA_VERSION, Kind, Row
from rdbench.store.writer import RunWriter
from rdbench.types import Status

CURVES = {"opus": ("payload", (6, 9, 12, 18, 30), 9.0), "vae": ("kl", (3, 6, 12, 20), 6.0)}


def make_run(folder: Path, *, seed: int = 0, fall: float = 0.0, fingerprint: str = "abc") -> Path:
    """A run of two curves; `fall` is taken off the VAE's scores."""
    rng = np.random.default_rng(seed)
    with RunWriter(folder) as writer:
        for system, (kind, points, half) in CURVES.items():
            for kbps in points:
                for clip in range(10):
                    quality = 1 + 3.5 * kbps / (kbps + half * (1 + 0.03 * clip))
                    quality += 0.05 * rng.standard_normal() - fall * (system == "vae")
                    where = {
                        "system": system, "curve": system, "point": str(kbps),
                        "variant": "sample" if kind == "kl" else "codes", "clip": f"c{clip}.wav",
                        "domain": "speech", "group": f"g{clip % 7}", "seconds": 4.0,
                        "status": Status.OK, "reason": "",
                    }  # fmt: skip
                    key = f"{system}/{kbps}/{clip}/{seed}/{fall}"
                    writer.append([
                        Row(**where, unit_key=f"{key}/rate", kind=Kind.RATE, key=kind,
                            value=4000.0 * kbps, unit="bit", backend=""),
                        Row(**where, unit_key=f"{key}/pesq", kind=Kind.METRIC, key="pesq_wb",
                            value=quality, unit="MOS-LQO", backend="reference"),
                    ])  # fmt: skip
        writer.write_manifest({
            "schema_version": SCHEMA_VERSION,
            "protocol": {"fingerprint": fingerprint},
            "corpus": {"clips": [
                {"name": f"c{i}.wav", "domain": "speech", "content": f"{i}"} for i in range(10)
            ]},
            "metrics": {"pesq_wb": {"name": "PESQ", "unit": "MOS-LQO", "direction": "higher",
                                    "version": 1}},
            "systems": {
                name: {"label": name.title(), "curve": name, "headline": kind}
                for name, (kind, *_) in CURVES.items()
            },
        })  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "now")


def test_compare_prints_bd_rates_kinds_and_readings(run: Path, tmp_path: Path) -> None:
    done = rdbench(
        "compare", run, "--anchor", "opus", "--at", "6", "--reach", "pesq_wb=3",
        "--json", tmp_path / "c.json", "--markdown", tmp_path / "new" / "c.md", "--all",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = f"rdbench: made the folder {tmp_path / 'new'}, which was not there"
    assert done.stderr.splitlines() == [said]
    for words in ("BD-rate against Opus", "kl : payload", "rates of different kinds",
                  "not measured: vae has no coded rate", "At 6 kbps", "To reach pesq_wb 3",
                  "Holm", "Clips that change most"):  # fmt: skip
        assert words in done.stdout, words
    tables = json.loads((tmp_path / "c.json").read_text())
    assert {"bd", "pairs", "clips", "readings"} == set(tables)
    assert "| metric" in (tmp_path / "new" / "c.md").read_text()


def test_the_first_page_has_bd_rates_and_says_what_more_there_is(run: Path) -> None:
    shown = rdbench("compare", run, "--anchor", "opus", "--at", "6").stdout
    for words in ("BD-rate against Opus", "kl : payload", "At 6 kbps", "More with --all"):
        assert words in shown, words
    assert "Paired differences" not in shown
    assert len(shown.splitlines()) < 20


def test_a_run_is_compared_with_an_earlier_one_by_names(run: Path, tmp_path: Path) -> None:
    worse = make_run(tmp_path / "later", seed=2, fall=0.3)
    done = rdbench("compare", run, worse, "--json", tmp_path / "j.json")
    assert done.returncode == 0, done.stderr
    verdict, *_ = done.stdout.splitlines()
    assert verdict == (
        f"{worse} is worse than {run}: of 9 differences of points on metrics, 0 are better for "
        "sure and 4 worse. Their rates are the same."
    )
    assert "later:" not in done.stdout.replace(str(worse), "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[1] for row in rows if row[:1] == ["vae"]][:4] == ["3", "6", "12", "20"]
    assert any(row[:2] == ["vae", "pesq_wb"] and row[3].startswith("+") for row in rows)
    assert len(json.loads((tmp_path / "j.json").read_text())["pairs"]) == 9
    assert "is better than" in rdbench("compare", worse, run).stdout.splitlines()[0]


def test_what_was_measured_alike_is_the_same(run: Path, tmp_path: Path) -> None:
    again = make_run(tmp_path / "again")
    shown = rdbench("compare", run, again).stdout
    assert shown.splitlines()[0].endswith("are the same: all that both have was measured alike.")
    assert "the same in both: opus, vae" in shown


def test_a_system_that_has_other_points_is_not_called_the_same(run: Path) -> None:
    """Checkpoints of one name and two targets: each VAE's point is named by its own."""
    nothing = pd.DataFrame(columns=list(PAIR_COLUMNS))
    found = Matched(read_run(run), nothing, None, (), ("opus",), ("mine",), ("mine",))
    said = verdict(found, old="last week", new="now")
    assert said.startswith(
        "now and last week cannot be compared in mine: no point of it is in both"
    )


def test_one_run_alone_needs_an_anchor(run: Path) -> None:
    done = rdbench("compare", run)
    assert done.returncode == 2
    assert "compare takes two runs, OLD and NEW, or one curve" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--anchor", "opsu"), "did you mean 'opus'"),
        (("--anchor", "opus", "--metric", "stoi"), "'stoi' was not measured"),
        (("--anchor", "opus", "--pair", "vae/6"), "SYSTEM/POINT=SYSTEM/POINT"),
        (("--anchor", "opus", "--reach", "pesq_wb"), "METRIC=VALUE"),
    ],
)
def test_a_mistake_is_one_sentence(run: Path, arguments: tuple[str, ...], sentence: str) -> None:
    done = rdbench("compare", run, *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_nothing_is_wider_than_the_terminal(run: Path) -> None:
    command = [sys.executable, "-m", "rdbench", "compare", str(run), "--anchor", "opus"]
    code, shown = in_a_terminal(command, 80, os.environ)
    assert code == 0
    assert max(map(len, shown.splitlines())) <= 80


def test_check_passes_the_same_and_fails_the_worse(run: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "baselines" / "vae.csv"
    absent = rdbench("check", run, "--baseline", baseline)
    assert absent.returncode == 2
    assert "--update" in absent.stderr
    made = rdbench("check", run, "--baseline", baseline, "--update")
    assert made.returncode == 0, made.stderr
    assert rdbench("check", run, "--baseline", baseline).returncode == 0
    assert rdbench("check", make_run(tmp_path / "again", seed=2), "--baseline", baseline,
                   "-q").returncode == 0  # fmt: skip
    worse = make_run(tmp_path / "worse", seed=2, fall=0.3)
    done = rdbench(
        "check", worse, "--baseline", baseline, "--junit", tmp_path / "j.xml",
        "--markdown", tmp_path / "j.md", "--json", tmp_path / "j.json",
    )  # fmt: skip
    assert done.returncode == 1
    assert "regression" in done.stdout
    suite = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert int(suite.get("failures", "0")) == len(suite.findall("*/failure")) > 0
    assert "vae" in str(suite.find("*[failure]").get("classname"))  # type: ignore[union-attr]
    assert json.loads((tmp_path / "j.json").read_text())["exit_code"] == 1
    assert "#### Regressions" in (tmp_path / "j.md").read_text()
    updated = rdbench("check", worse, "--baseline", baseline, "--update")
    assert updated.returncode == 0
    assert "regression" in updated.stdout  # what the update changes
    assert rdbench("check", worse, "--baseline", baseline).returncode == 0


def test_another_protocol_or_schema_ends_with_3(run: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "b.csv"
    rdbench("check", run, "--baseline", baseline, "--update", "-q")
    other = make_run(tmp_path / "other", fingerprint="else")
    done = rdbench("check", other, "--baseline", baseline)
    assert done.returncode == 3
    assert "not comparable" in done.stdout
    baseline.write_text(baseline.read_text().replace('"schema": 1', '"schema": 0'))
    old = rdbench("check", run, "--baseline", baseline)
    assert old.returncode == 3
    assert "schema 0" in old.stderr


def test_a_listening_test_becomes_a_metric(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    table = pd.DataFrame([
        (f"{system}/{kbps}", f"c{clip}", f"p{who}", 1 + round(kbps / 10, 2))
        for system, (_, points, _) in CURVES.items()
        for kbps in points for clip in range(10) for who in range(3)
    ], columns=["condition", "clip", "listener", "score"])  # fmt: skip
    table.to_csv(tmp_path / "l.csv", index=False)
    done = rdbench("import-scores", tmp_path / "l.csv", "--run", run)
    assert done.returncode == 0, done.stderr
    assert "3 listeners" in done.stdout
    compared = rdbench("compare", run, "--anchor", "opus", "--metric", "mos")
    assert compared.returncode == 0, compared.stderr
    assert "mos ↑" in compared.stdout


def test_importing_the_package_stays_light() -> None:
    heavy = "['torch', 'pandas', 'numpy', 'scipy', 'matplotlib']"
    code = (
        "import sys, rdbench, rdbench.pytest_plugin; "
        f"found = [m for m in {heavy} if m in sys.modules]; "
        "assert not found, found; assert callable(rdbench.check)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_pytest_plugin_fails_a_regression(run: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "b.csv"
    rdbench("check", run, "--baseline", baseline, "--update", "-q")
    worse = make_run(tmp_path / "worse", seed=2, fall=0.3)
    (tmp_path / "test_gate.py").write_text(
        "import pytest\n"
        f"@pytest.mark.rdbench(baseline={str(baseline)!r})\n"
        f"def test_same(rdbench):\n    assert len(rdbench.check({str(run)!r}))\n"
        f"@pytest.mark.rdbench(run={str(worse)!r}, baseline={str(baseline)!r})\n"
        "def test_worse(rdbench):\n    rdbench.check()\n"
        "def test_nothing(rdbench):\n    rdbench.check()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers",
         "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path / "test_gate.py")],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "2 failed, 1 passed" in done.stdout, done.stdout
    assert "Regressions" in done.stdout
    assert "needs a run and a baseline" in done.stdout


def test_a_gate_begins_with_least_effects(run: Path, tmp_path: Path) -> None:
    config, baseline = tmp_path / "gate.yaml", tmp_path / "b.csv"
    done = rdbench("check", run, "--init", config)
    assert done.returncode == 0, done.stderr
    assert "pesq_wb: {significant: true, absolute: 0.02}   # MOS-LQO" in config.read_text()
    rdbench("check", run, "--baseline", baseline, "--update", "-q")
    little = make_run(tmp_path / "little", fall=0.005)
    assert rdbench("check", little, "--baseline", baseline, "-q").returncode != 0
    done = rdbench("check", little, "--baseline", baseline, "--config", config)
    assert done.returncode == 0, done.stdout
    worse = make_run(tmp_path / "much", fall=0.1)
    assert rdbench("check", worse, "--baseline", baseline, "--config", config).returncode == 1
    again = rdbench("check", run, "--init", config)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert "check needs --baseline FILE" in rdbench("check", run).stderr
