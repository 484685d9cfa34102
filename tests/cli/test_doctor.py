"""`rdbench doctor`: ready on a sound machine, and not where rates or metrics are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.engine import doctor
from rdbench.engine.doctor import Finding, verdict
from rdbench.rate import oracles
from rdbench.rate.oracles import Check


def test_a_sound_machine_is_ready_and_hears_of_every_part() -> None:
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    assert done.output.rstrip().endswith("ready")
    for part in ("versions", "devices", "extras", "weights", "oracles", "metrics"):
        assert f"\n{part}:\n" in f"\n{done.output}"
    assert "pesq_wb: 4.64389 (known value 4.64389" in done.output
    assert "30 checks hold" in done.output


def test_a_broken_oracle_is_named_and_ends_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> Iterator[Check]:
        """Bits of a coin."""
        yield Check("a coin", 1.0, 2.0, 0.01, "bit")

    monkeypatch.setattr(oracles, "ORACLES", (broken,))
    monkeypatch.setattr(doctor, "_metrics", lambda: iter(()))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "! Bits of a coin: a coin is 2 bit, 1 ± 0.01 was expected" in done.output
    assert "not ready:\n- Bits of a coin: do not trust rates made here" in done.output


def test_a_part_that_cannot_be_examined_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dies() -> Iterator[Finding]:
        raise OSError("no such device")
        yield

    monkeypatch.setattr(doctor, "_devices", dies)
    monkeypatch.setattr(doctor, "_oracles", lambda: iter(()))
    monkeypatch.setattr(doctor, "_metrics", lambda: iter(()))
    findings = list(doctor.examine())
    assert "OSError: no such device" in verdict(findings)
    assert {"versions", "extras", "weights"} <= {finding.part for finding in findings}


def test_a_metric_whose_model_can_be_fetched_is_told_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "{name: heard, corpus: {kind: embedded}, protocol: {sample_rate: 16000}, costs: "
        "{enabled: false}, systems: [{codec: identity}], metrics: {default: [snr, {key: cer_basic, "
        "options: {weights: openai/whisper-tiny@abc}}]}}"
    )
    done = CliRunner().invoke(app, ["doctor", "--weights", str(spec)])
    assert done.exit_code == 1
    assert "   metric snr: ready\n" in done.output
    assert " ! metric cer_basic: " in done.output
    assert "`rdbench weights fetch openai/whisper-tiny --revision abc`" in done.output
    assert f"1 of 3 are not ready; `rdbench weights fetch {spec}` fetches what 1 of" in done.output


def test_a_nan_is_never_within_a_tolerance() -> None:
    assert not Check("x", 1.0, float("nan"), 1e9, "").passed
