"""Values of options that have a form of their own."""

from __future__ import annotations

from collections.abc import Sequence

from rdbench.types import SpecError


def parse_pairs(items: Sequence[str]) -> list[tuple[str, str]]:
    """SYSTEM/POINT=SYSTEM/POINT, as pairs; raises SpecError."""
    found = []
    for item in items:
        test, equals, other = item.partition("=")
        if not (equals and test and other):
            raise SpecError(f"--pair {item!r} is not of the form SYSTEM/POINT=SYSTEM/POINT")
        found.append((test.strip(), other.strip()))
    return found


def parse_targets(items: Sequence[str]) -> dict[str, list[float]]:
    """METRIC=VALUE, as qualities by metric; raises SpecError."""
    found: dict[str, list[float]] = {}
    for item in items:
        key, _, text = item.partition("=")
        try:
            value = float(text)
        except ValueError:
            raise SpecError(f"--reach {item!r} is not of the form METRIC=VALUE") from None
        found.setdefault(key.strip(), []).append(value)
    return found


def parse_names(items: Sequence[str]) -> dict[str, str]:
    """NAME=MEANING, where the meaning may be empty; raises SpecError."""
    found = {}
    for item in items:
        name, equals, meaning = item.rpartition("=")
        if not (equals and name.strip()):
            raise SpecError(f"--condition {item!r} is not of the form NAME=SYSTEM/POINT")
        found[name.strip()] = meaning.strip()
    return found
