"""`rdbench metrics --selftest`: what it compares, and that it can fail."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.metrics import selftest
from rdbench.metrics.selftest import Deviation, compared, deviations
from rdbench.types import Score


def test_every_program_of_ours_is_held_against_its_package() -> None:
    assert dict(compared()) == {
        "stoi": ["torch", "torch_float32"],
        "estoi": ["torch", "torch_float32"],
        "visqol_audio": ["torch"],
        "visqol_speech": ["torch"],
        "visqol_speech_exponential": ["torch"],
    }


def test_the_backends_agree_on_an_embedded_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "compared", lambda: [("stoi", ["torch", "torch_float32"])])
    exact, fast = deviations(limit=1)
    assert exact.holds
    assert fast.holds
    assert exact.pairs == 5
    assert exact.largest <= exact.tolerance == 1e-6
    assert fast.tolerance == 1e-4


def test_a_deviation_or_a_differing_outcome_fails_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = [Score(3.0), Score.undefined("short")]
    found = selftest._deviation("stoi", "torch", [Score(3.1), Score(2.0)], ours, 0.2)
    assert (found.differing, found.holds) == (1, False)
    assert found.largest == pytest.approx(0.1)
    assert not Deviation("stoi", "torch", 1, 0, 0.3, 0.3, 0.2).holds
    assert not Deviation("stoi", "torch", 1, 0, float("nan"), float("nan"), 0.2).holds

    monkeypatch.setattr(selftest, "deviations", lambda: [found])
    outcome = CliRunner().invoke(app, ["metrics", "--selftest"])
    assert outcome.exit_code == 1
    assert "NOT within" in outcome.output
