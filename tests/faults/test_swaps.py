"""Inputs that are swapped at every step of a run: no row is ever under the hash of another input.

The long version of these is `python benchmarks/reliability.py --swaps 100`.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_benchmark import Children
from swaps import HOW, TARGETS, AtOpening, Inputs, References, Tally, check, check_next


@pytest.fixture(scope="module")
def children() -> Children:
    return Children()


@pytest.fixture(scope="module")
def references(
    children: Children, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Inputs, References]:
    folder = tmp_path_factory.mktemp("swaps")
    inputs = Inputs.make(folder / "inputs")
    return inputs, References.measure(children, inputs, folder)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_swapped_when_it_is_opened_gives_no_row_under_another_hash(
    children: Children, references: tuple[Inputs, References], tmp_path: Path, target: str
) -> None:
    """Before and after every opening, in whatever process, in place and by renaming."""
    inputs, known = references
    inputs.reset()
    counter = tmp_path / "counter"
    swap = AtOpening(
        str(inputs.path(target)), str(inputs.content(target, "new")), HOW[0], str(counter)
    )
    children.finish(inputs.trial(tmp_path / "counting", swap=swap), tmp_path / "reports")
    openings = len(counter.read_bytes())
    assert openings >= 2  # once to plan, once to measure
    tally = Tally()
    for at in range(1, openings + 1):
        for after in (False, True):
            how = HOW[0] if after else HOW[at % 2]
            what = f"{target} {how} {'after' if after else 'before'} opening {at} of {openings}"
            inputs.reset()
            counter.unlink()
            trial = inputs.trial(tmp_path / "run", swap=replace(swap, at=at, how=how, after=after))
            end = children.finish(trial, tmp_path / "reports")
            assert end["end"] == "finished", (what, end)
            check(trial.folder, known, tally, what)
            if after and at in (1, openings):
                inputs.put(target, "new", HOW[0])  # also where the swap came too late
                check_next(children, trial, known, target, tally, what)
            shutil.rmtree(trial.folder)
    assert not tally.findings
    assert tally.noticed >= 1
