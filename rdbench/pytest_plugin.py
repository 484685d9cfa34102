"""A pytest plugin: gate a checkpoint in a test of your own repository.

    @pytest.mark.rdbench(baseline="baselines/vae.csv", config="gate.yaml")
    def test_reconstruction(rdbench):
        rdbench.check("results/vae")

The fixture `rdbench` holds a run against a baseline as `rdbench check` does; the marker gives it
defaults and lets `pytest -m rdbench` choose such tests. Nothing heavy is imported before a test
asks for a check.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import pandas as pd

ARGUMENTS = ("run", "baseline", "config")


class Gate:
    """What the fixture `rdbench` is; paths are relative to the folder that pytest runs in."""

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        self._defaults = dict(defaults)

    def check(
        self,
        run: str | Path | None = None,
        baseline: str | Path | None = None,
        config: str | Path | Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Fails the test unless `run` passes against `baseline`; returns the findings.

        Arguments that are not given come from the marker. The findings are those of
        `rdbench.check`. A regression, failed units, too few groups of clips to judge a loss, and a
        run that is not comparable fail the
        test, each with its own first line.
        """
        run = run or self._defaults.get("run")
        baseline = baseline or self._defaults.get("baseline")
        config = config if config is not None else self._defaults.get("config")
        if run is None or baseline is None:
            raise pytest.UsageError(
                "rdbench.check needs a run and a baseline: pass them, or name them in "
                "@pytest.mark.rdbench(run=…, baseline=…)"
            )
        from rdbench.analysis.gate.check import GateResult, check
        from rdbench.report.text.gate import gate_text
        from rdbench.types import RdbenchError

        try:
            findings = check(run, baseline, config)
        except RdbenchError as error:
            pytest.fail(f"rdbench check: {error}", pytrace=False)
        result = GateResult.of(findings)
        if result.exit_code:
            pytest.fail(gate_text(result), pytrace=False)
        return findings


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line(
        "markers",
        "rdbench(run=None, baseline=None, config=None): holds a run against a baseline with the "
        "fixture `rdbench`",
    )


@pytest.fixture
def rdbench(request: pytest.FixtureRequest) -> Gate:
    """Holds runs against baselines; defaults come from the marker `rdbench`."""
    marker = request.node.get_closest_marker("rdbench")
    defaults = dict(marker.kwargs) if marker else {}
    unknown = [name for name in defaults if name not in ARGUMENTS]
    if unknown or (marker and marker.args):
        raise pytest.UsageError(
            f"@pytest.mark.rdbench takes {', '.join(ARGUMENTS)} by keyword"
            + (f", not {unknown[0]!r}" if unknown else "")
        )
    return Gate(defaults)
