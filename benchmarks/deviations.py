"""How far off the tests' comparisons of numbers are: measured deviations beside tolerances.

    python benchmarks/deviations.py tests/rate/test_measure.py tests/audio/test_align.py [-k …]

A test says that a number lies within a tolerance; this says where it lies. The tests given are run
as they are, and for each line that compares numbers (`pytest.approx`, `assert_allclose`,
`assert_close`, `allclose`, `torch.equal`, `assert_array_equal`, and `assert x < bound`) the largest
deviation of all its passing comparisons is printed: absolute, and relative to the largest expected
value of that comparison ("–" for a bound, whose left side is taken as it is). Figures of
docs/validity.md are read from here.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
NUMBER = r"(?:tensor\(|np\.float\d+\()?(-?\d[\d.]*(?:e[+-]?\d+)?)(?:, dtype=[\w.]+)?\)?"
BOUND = re.compile(rf"^\(?{NUMBER} (<=?) {NUMBER}")


@dataclass
class Largest:
    """Of all comparisons of one line."""

    comparisons: int = 0
    absolute: float = float("nan")
    relative: float = float("nan")
    bound: str = ""

    def add(self, absolute: float, relative: float, bound: str = "") -> None:
        self.comparisons += 1
        self.absolute = float(np.fmax(self.absolute, absolute))
        self.relative = float(np.fmax(self.relative, relative))
        self.bound = bound or self.bound


class Recorder:
    """A pytest plugin that keeps the largest deviation of every line."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, int, str], Largest] = {}
        self._test = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self._test = item.nodeid.split("::")[-1].split("[")[0]
        return (yield)

    def pytest_assertion_pass(self, item: pytest.Item, lineno: int, orig: str, expl: str) -> None:
        """`assert x < bound`, read from pytest's own account of it."""
        found = BOUND.match(expl)
        if found and "<" in orig and (place := _place(lineno)):
            self._line(place).add(float(found[1]), float("nan"), f"{found[2]} {found[3]}")

    def compared(self, actual: Any, expected: Any, bound: str) -> None:
        """One comparison that passed, at the line of the test that made it."""
        place = _place()
        try:
            one, two = (np.asarray(_plain(side), dtype=np.float64) for side in (actual, expected))
        except (TypeError, ValueError):
            return  # no numbers
        if place is None or one.size == 0 or two.size == 0 or np.isnan(two).all():
            return
        gap = np.where(one == two, 0.0, np.abs(one - two))
        largest = float(np.nanmax(gap, initial=0.0))
        scale = float(np.nanmax(np.abs(two), initial=0.0))
        self._line(place).add(largest, largest / scale if scale else largest, bound)

    def _line(self, place: tuple[str, int]) -> Largest:
        return self.lines.setdefault((*place, self._test), Largest())


def _place(line: int | None = None) -> tuple[str, int] | None:
    """File and line of the test that is comparing; None where something else compares."""
    frame: Any = sys._getframe(2)
    machinery = ("/_pytest/", "/pluggy/", "/torch/", "/numpy/", str(Path(__file__)))
    while frame and any(part in frame.f_code.co_filename for part in machinery):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(ROOT / "tests"):
        return None
    return path.relative_to(ROOT).as_posix(), line or frame.f_lineno


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


@contextlib.contextmanager
def listening(recorder: Recorder) -> Iterator[None]:
    """The functions by which tests compare numbers, each telling the recorder when it passes."""
    import torch

    scalar: Any = type(pytest.approx(0.0))
    own = scalar.__eq__

    def approximately(self: Any, actual: Any) -> bool:
        passed = bool(own(self, actual))
        if passed and not np.isnan(self.expected):
            recorder.compared(actual, self.expected, f"± {self.tolerance:.1e}")
        return passed

    def told(function: Callable[..., Any]) -> Callable[..., Any]:
        def compare(actual: Any, expected: Any, *rest: Any, **options: Any) -> Any:
            result = function(actual, expected, *rest, **options)
            if result is None or result is True:
                known = {"atol", "rtol"} & set(options)
                bound = ", ".join(f"{key} {options[key]:g}" for key in sorted(known))
                recorder.compared(actual, expected, bound or function.__name__)
            return result

        return compare

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scalar, "__eq__", approximately)
        for module, name in (
            (np.testing, "assert_allclose"), (np.testing, "assert_array_equal"),
            (torch.testing, "assert_close"), (torch, "allclose"), (torch, "equal"),
        ):  # fmt: skip
            patch.setattr(module, name, told(getattr(module, name)))
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="+", help="files, node ids and options, as for pytest")
    known, more = parser.parse_known_args()
    recorder = Recorder()
    # Asserts that tell of passing are compiled otherwise than those in pytest's cache.
    with tempfile.TemporaryDirectory() as cache, listening(recorder):
        sys.pycache_prefix = cache
        options = ["-q", "-p", "no:cacheprovider", "-o", "enable_assertion_pass_hook=true"]
        code = pytest.main([*options, *more, *known.tests], plugins=[recorder])
    print(f"{'line':64} {'compared':>8} {'absolute':>9} {'relative':>9}  bound")
    for (path, line, test), one in sorted(recorder.lines.items()):
        relative = "–" if np.isnan(one.relative) else f"{one.relative:.1e}"
        place = f"{path}:{line}"
        print(f"{place:64} {one.comparisons:8} {one.absolute:9.1e} {relative:>9}  {one.bound}")
        print(f"    {test}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
