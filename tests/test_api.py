"""A benchmark from Python: a script without a guard, what a run shows, and what it leaves alone."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rdbench
from rdbench.analysis.compare import bd_rate
from rdbench.store.reader import read_manifest
from rdbench.types import RdbenchError, SpecError, StoreError

SPEC: dict[str, Any] = {
    "name": "tiny",
    "corpus": {"kind": "embedded", "domains": ["speech"]},
    "protocol": {"sample_rate": 16000, "channels": "mono"},
    "metrics": ["si_sdr", "mel_dac_16k"],
    "systems": [
        {"codec": "opus", "points": [6, 12, 24], "label": "Opus"},
        {"codec": "mp3", "points": [8, 16, 32]},
        {"codec": "identity"},
    ],
    "costs": {"enabled": False},
}
STATE = """\
import os, random, sys
import numpy, torch

def state():
    return (
        torch.get_num_threads(), torch.initial_seed(), torch.get_rng_state().tolist(),
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32,
        torch.is_grad_enabled(), torch.get_default_dtype(), random.getstate(),
        numpy.random.get_state()[1].tolist(), dict(os.environ), list(sys.path), os.getcwd(),
    )

torch.set_num_threads(2)
torch.backends.cudnn.allow_tf32 = True
before = state()
"""
SCRIPT = f"""\
{STATE}
import rdbench
print("the script runs")
made = rdbench.run({SPEC!r}, out="tiny", limit=2, workers=1)
made.frame(), made.plot("si_sdr"), made._repr_html_()
rdbench.score(reference=numpy.ones(9000), reconstruction=numpy.ones(9000), sample_rate=16000)
print("changed:", [n for n, (a, b) in enumerate(zip(before, state())) if a != b])
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rdbench.Run:
    """Of a plain script, which has no `__main__` guard."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    # Workers that ran the script again would say so again.
    assert done.stdout == "the script runs\nchanged: []\n", done.stdout + done.stderr
    assert done.stderr == ""
    return rdbench.Run(folder / "tiny")


def test_the_sample_stands_in_the_manifest(run: rdbench.Run) -> None:
    drawn = read_manifest(run.folder)["corpus"]["sample"]
    assert drawn == {"clips": 2, "seed": 0, "per": ["domain", "group"]}


def test_a_run_is_a_table_of_scores_beside_rates(run: rdbench.Run) -> None:
    frame = run.frame()
    assert not frame.duplicated(["system", "point", "variant", "domain", "metric"]).any()
    assert list(dict.fromkeys(frame["system"])) == ["opus", "mp3", "identity"]
    scores = frame[frame["metric"] == "si_sdr"].set_index(["system", "point"])
    rows = run.rows.query("key == 'si_sdr' and system == 'opus' and point == '12'")
    assert scores.loc[("opus", "12"), "value"] == pytest.approx(rows["value"].mean())
    bits = run.rows.query("key == 'payload' and system == 'opus' and point == '12'")
    kbps = bits["value"].sum() / bits["seconds"].sum() / 1000
    assert scores.loc[("opus", "12"), "kbps"] == pytest.approx(kbps)
    assert (scores.loc[("opus", "12"), "rate_kind"], len(rows)) == ("payload", 2)
    assert np.isnan(scores.loc[("identity", "identity"), "kbps"])
    files = run.frame(rate="container").query("metric == 'si_sdr' and system == 'opus'")
    assert (files["kbps"].to_numpy() > scores.loc["opus", "kbps"].to_numpy()).all()


def test_a_run_draws_on_axes_of_others(run: rdbench.Run) -> None:
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert run.plot("mel_dac_16k", ax=ax) is ax
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][:2] == ["Opus", "mp3"]
    assert "payload" in ax.get_xlabel()
    drawn = {str(line.get_gid()): line for line in ax.get_lines()}
    kbps = run.frame().query("metric == 'mel_dac_16k' and system == 'opus'")["kbps"]
    assert np.asarray(drawn["opus/codes"].get_xdata()) == pytest.approx(kbps.to_numpy())


def test_comparisons_take_a_run_where_they_take_a_folder(run: rdbench.Run) -> None:
    own, other = run.bd_rate("opus", metrics=["si_sdr"]), bd_rate(run.folder, anchor="opus")
    assert own.equals(other[other["key"] == "si_sdr"].reset_index(drop=True))
    assert set(run.compare("opus")["key"]) >= {"si_sdr", "mel_dac_16k"}
    assert rdbench.readings(run, at_kbps=[10])["value"].notna().any()


def test_a_run_shows_itself_in_a_notebook_and_on_a_terminal(run: rdbench.Run) -> None:
    assert repr(run) == f"<Run {run.folder}: 66 of 66 rows>"
    page = run._repr_html_()
    assert page.count("data:image/png;base64,") == 1
    assert "<table>" in page
    assert "Opus" in page
    assert run.failures().empty


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda run: run.plot("si_sdrr"), "no value of 'si_sdrr' .* did you mean 'si_sdr'"),
        (lambda run: run.plot("si_sdr", domain="music"), "no value on 'music'; .*speech"),
        (
            lambda run: run.plot("si_sdr", rate="payloads"),
            "no kind of rate; did you mean",
        ),
        (lambda run: run.frame(rate="payloads"), "no kind of rate 'payloads'; did you mean"),
    ],
)
def test_what_a_run_has_not_is_answered(run: rdbench.Run, ask: Any, sentence: str) -> None:
    with pytest.raises(RdbenchError, match=sentence):
        ask(run)


def test_a_run_of_which_everything_failed_raises_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    lyra = {"codec": "lyra", "points": [6], "options": {"models": "./nowhere"}}
    with (
        caplog.at_level(logging.WARNING, "rdbench"),
        pytest.raises(RdbenchError, match=r"all of \d+ rows failed, \d+ of them with: .*nowhere"),
    ):
        rdbench.run(SPEC | {"systems": [lyra]}, limit=1)
    assert "lyra cannot be run" in caplog.text
    failed = rdbench.Run("results/tiny")  # what is known of it is there
    assert set(failed.failures()["system"]) == {"lyra"}


def test_what_cannot_be_asked_is_answered_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="workers is 0, which measures nothing; take 1 or more"):
        rdbench.run(SPEC, out=tmp_path / "none", workers=0)
    assert not (tmp_path / "none").exists()
    with pytest.raises(StoreError, match=r"no manifest\.json"):
        rdbench.Run(tmp_path)


def test_modules_beside_a_spec_are_found_for_a_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rdbench.engine import run as engine

    seen: list[list[str]] = []

    def stop(*_: Any) -> None:
        seen.append(list(sys.path))
        raise RdbenchError("far enough")

    monkeypatch.setattr(engine, "run_benchmark", stop)
    path, before = tmp_path / "spec.yaml", list(sys.path)
    import yaml

    path.write_text(yaml.safe_dump(SPEC))
    for allowed in (False, True):
        with pytest.raises(RdbenchError, match="far enough"):
            rdbench.run(path, allow_code=allowed)
        assert sys.path == before
    assert seen[0] == before
    assert seen[1][0] == str(tmp_path)
