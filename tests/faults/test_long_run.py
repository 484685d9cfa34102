"""A run of many units, killed half-way: memory stays flat, going on is quick, parts stay few.

The slow one is that of docs/reliability.md: `python benchmarks/reliability.py --units 100000`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "reliability.py"


@pytest.fixture(scope="module")
def reliability() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reliability", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reliability"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "count", [3000, pytest.param(100_000, marks=pytest.mark.slow)], ids=["small", "long"]
)
def test_a_long_run_stays_small_and_goes_on_quickly(
    reliability: ModuleType, tmp_path: Path, count: int
) -> None:
    name, table, findings = reliability.units(tmp_path / "run", count)
    assert name == "units"
    assert not findings, findings
    assert any(f"| units | {count:,} of {count:,}, 0 failed |" in line for line in table), table


def test_a_part_replaces_its_own_table_and_no_other(
    reliability: ModuleType, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- measured: a -->\nold\n<!-- end: a -->\nbetween\n"
        "<!-- measured: b -->\nkept\n<!-- end: b -->\n"
    )
    assert reliability.report(page, "a", ["| new |"], [])
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n<!-- measured: a -->\n\n| new |\n\nMeasured ")
    assert text.endswith("between\n<!-- measured: b -->\nkept\n<!-- end: b -->\n")
    assert not reliability.report(page, "b", ["| new |"], ["something"])
    assert "FOUND: something" in page.read_text()
