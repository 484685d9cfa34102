"""Which curves are settings or versions of one thing, and so are compared without being asked."""

from __future__ import annotations

from typing import Any

import pytest

from rdbench.report.cards import RunCard, describe


def card(**systems: dict[str, Any]) -> RunCard:
    import pandas as pd

    points = pd.DataFrame(columns=["system", "curve", "kind", "key", "unit", "variant"])
    named = {name: {"curve": name, "headline": "payload", **s} for name, s in systems.items()}
    return describe(points, {"systems": named})


def program(encoder: str, **more: Any) -> dict[str, Any]:
    return {"codec": "command", "family": "command", "details": {"encoder": encoder}, **more}


def files(**more: Any) -> dict[str, Any]:
    return {"codec": "files", "family": "files", **more}


@pytest.mark.parametrize(
    ("one", "two", "related"),
    [
        (program("lame"), program("lame"), True),
        (program("lame"), program("oggenc"), False),
        (program("python3 a.py"), program("python3 b.py"), False),
        (program("lame", label="MP3"), program("shine", label="MP3"), True),
        (files(), files(), False),
        (files(label="Ours"), files(label="Ours"), True),
        (files(), program("lame"), False),
        (files(label="Mimi"), {"codec": "mimi", "family": "mimi", "label": "Mimi"}, True),
        ({"codec": "dac_24khz", "family": "dac"}, {"codec": "dac_44khz", "family": "dac"}, True),
        ({"codec": "opus", "family": "traditional"}, {"codec": "snac", "family": "snac"}, False),
    ],
)  # fmt: skip
def test_others_programs_and_files_are_no_family(
    one: dict[str, Any], two: dict[str, Any], related: bool
) -> None:
    assert card(one=one, two=two).related("one", "two") is related
