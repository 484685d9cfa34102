"""What is said of a run whose rows were measured with several versions."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from rdbench.analysis.runs import Run
from rdbench.report.text.status import provenance_text


def text(counts: dict[str, int], provenance: Any) -> str:
    names = [name for name, count in counts.items() for _ in range(count)]
    manifest = {"provenance": provenance}
    return provenance_text(Run("run", pd.DataFrame({"provenance": names}), manifest))


OLD = {"versions": {"torch": "2.3.0", "numpy": "1.26"}, "processor": "Xeon", "accelerator": ""}
NEW = {"versions": {"torch": "2.4.0", "numpy": "1.26"}, "processor": "Xeon", "accelerator": ""}


def test_only_what_differs_is_named() -> None:
    assert text({"a": 3}, {"a": OLD, "b": NEW}) == ""
    said = text({"a": 1, "b": 1200}, {"a": OLD, "b": NEW})
    assert said.endswith("versions: 1,200 with torch 2.4.0; 1 with torch 2.3.0.")
    elsewhere = {"a": OLD, "b": OLD | {"processor": "EPYC"}}
    assert "1 with processor Xeon; 1 with processor EPYC" in text({"a": 1, "b": 1}, elsewhere)


def test_a_processor_that_is_not_recorded_is_no_other_version() -> None:
    older = {"versions": OLD["versions"]}
    said = text({"": 5, "a": 2}, {"": older, "a": OLD})
    assert said == "Of 5 of the 7 rows the processor is not recorded."
    both = text({"": 5, "a": 2, "b": 1}, {"": older, "a": OLD, "b": OLD | {"processor": "EPYC"}})
    assert "not all measured on the same machine: 5 with processor not recorded; 2 with" in both
    assert "torch" not in both
    assert text({"": 5, "c": 2}, {"": older, "c": older}) == ""


def test_what_is_not_known_is_said_so() -> None:
    said = text({"": 5, "a": 2}, {"a": OLD})
    assert "5 with versions that are not known; 2 with numpy 1.26, " in said


@pytest.mark.parametrize("damaged", [None, 3, [], {"a": 3, "b": {"versions": 3}}])
def test_a_damaged_manifest_is_no_traceback(damaged: Any) -> None:
    assert "not known" in text({"a": 1, "b": 1}, damaged)


def test_rows_that_do_not_say_are_of_one_kind() -> None:
    assert provenance_text(Run("run", pd.DataFrame({"unit_key": ["a", "b"]}), {})) == ""
    many = {"a": {"versions": {f"p{i}": "1" for i in range(9)}}, "b": OLD}
    assert "numpy 1.26" in text({"a": 1, "b": 1}, many)
    assert "3 others" in text({"a": 1, "b": 1}, many)
